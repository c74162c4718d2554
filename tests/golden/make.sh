#!/bin/sh
# make.sh PROGRAM OUT: how a golden repository is made: a site after two backups, the recovery key, and what is to be read from
# them. v1 is kept as it was made; it is not made anew.
set -eu
[ $# = 2 ] && [ ! -e "$2" ] || { echo "usage: $0 PROGRAM OUT, OUT not there yet" >&2; exit 2; }
program=$1 out=$2
base=/srv/holdfast-golden
mkdir "$base"
work=$(mktemp -d)
trap 'rm -rf "$base" "$work"' EXIT
export LC_ALL=C
umask 022
. "$(dirname "$0")/describe.sh"

mkdir -p "$out/site" "$out/expected" "$base/etc/empty" "$base/data"
sed "s|@SITE@|$(realpath "$out/site")|" "$(dirname "$0")/plan.yaml" >"$work/plan.yaml"
echo 'listen = 443' >"$base/etc/service.conf"
echo 'unreadable by others' >"$base/etc/private" && chmod 0600 "$base/etc/private"
: >"$base/etc/nothing"
ln -s service.conf "$base/etc/current"
ln "$base/etc/service.conf" "$base/data/hard link"
printf 'x' >"$base/data/$(printf 'n\303\244me')"
yes 'the same line, again and again' | head -c 1500000 >"$base/data/large"
openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>/dev/null | head -c 3000 >"$base/data/noise"
truncate -s 8M "$base/data/sparse" && printf end >>"$base/data/sparse"
setfattr -n user.colour -v blue "$base/etc/service.conf"
mkdir -p "$base/$(printf 'l%.0s' $(seq 1 120))/$(printf 'm%.0s' $(seq 1 120))"
find "$base" -mindepth 1 -exec touch -h -d '2020-02-29 12:00:00.123456789 UTC' {} +
touch -d '2020-02-29 12:00:00 UTC' "$base"

hf() {
	"$program" --root "$work/root" "$@" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
}
hf init "$work/plan.yaml"
hf backup "$work/plan.yaml"
describe "$base" >"$out/expected/files.1"
echo 'listen = 8443' >"$base/etc/service.conf"
rm "$base/etc/nothing"
touch -d '2021-03-01 00:00:00 UTC' "$base/etc/service.conf" "$base/etc" "$base/data"
hf backup "$work/plan.yaml"
describe "$base" >"$out/expected/files.2"
seq 1 2000 | sha256sum | cut -d' ' -f1 >"$out/expected/dump"
cp "$work/root/keys/recovery/golden.key" "$out/golden.key"
"$program" --root "$work/root" snapshots "$work/plan.yaml" --json >"$out/expected/snapshots.json"
chmod -R u=rwX,go=rX "$out"

#!/bin/sh
# files.sh: does time and memory of an unchanged backup hold with many files?
#
#   N=1000000 tests/bench/files.sh      files, 1000 a directory; HOLDFAST=the program, BENCH_DIR=where (default /dev/shm, else build/bench)
#
# Compares `holdfast backup` of a tree in which nothing changed with `find TREE -newer STAMP`, which does nothing but walk and stat.
set -eu
TOP=$(cd "$(dirname "$0")/../.." && pwd)
N=${N:-1000000}
REPS=${REPS:-3}
HOLDFAST=${HOLDFAST:-$TOP/build/release/holdfast}
free_kib() { df -Pk "$1" | awk 'NR == 2 {print $4}'; }
place() {
	# a file of some bytes takes a page and an inode of a tmpfs: 5 KiB; what the run keeps comes on top
	if [ -d /dev/shm ] && [ "$(free_kib /dev/shm)" -gt $((N * 6 + 300000)) ]; then echo /dev/shm; else mkdir -p "$TOP/build/bench" && echo "$TOP/build/bench"; fi
}
T=$(mktemp -d "${BENCH_DIR:-$(place)}/holdfast-files.XXXXXX")
trap 'rm -rf "$T"' EXIT
trap 'exit 130' HUP INT TERM

echo "making $N files in $T"
/usr/bin/python3 - "$T/tree" "$N" <<'PY'
import os, sys
top, n = sys.argv[1], int(sys.argv[2])
for i in range(n):
    folder = f"{top}/{i // 1000:06d}"
    if i % 1000 == 0:
        os.makedirs(folder)
    with open(f"{folder}/{i % 1000:03d}.txt", "wb", buffering=0) as f:
        f.write(b"record %d\n" % i)
PY
mkdir "$T/site"
cat >"$T/plan.yaml" <<PLAN
plan: files
title: Many files
targets: {rto: 1h, rpo: 24h}
sources:
  - {name: tree, paths: ["$T/tree"]}
sites:
  - {name: site, url: "file://$T/site"}
PLAN
sleep 3 # a file of this very moment would rightly be read again
: >"$T/stamp"

# timed NAME COMMAND...: a line with wall and CPU seconds and peak memory
timed() {
	name=$1
	shift
	/usr/bin/time -o "$T/usage" -f '%e %U %S %M' "$@" >"$T/log" 2>&1 || { echo "$name failed"; tail -n 20 "$T/log"; exit 1; }
	awk -v name="$name" '{printf "%-28s %8.2f s  %8.2f s CPU  %6.0f MiB\n", name, $1, $2 + $3, $4 / 1024}' "$T/usage"
	cut -d' ' -f1 "$T/usage" >>"$T/wall-${name%% *}"
}
hf() { timed "$1" "$HOLDFAST" --root "$T/root" --progress none "$2" "$T/plan.yaml"; }
middle() { sort -n "$1" | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

hf init init
hf first backup
for _ in $(seq "$REPS"); do
	timed "find -newer" find "$T/tree" -newer "$T/stamp"
	hf unchanged backup
done
du -sk --apparent-size "$T/site" "$T/root" | awk '{printf "%-28s %8.1f MB\n", ($2 ~ /site$/ ? "site" : "state of the host"), $1 * 1.024 / 1000}'
awk -v a="$(middle "$T/wall-unchanged")" -v b="$(middle "$T/wall-find")" -v n="$N" 'BEGIN {
	printf "unchanged / find: %.2f; %.2f us a file\n", a / b, 1e6 * a / n }'

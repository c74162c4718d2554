#!/bin/sh
# Ten source agents on one S3 repository at once, without a server or a lock of ours, while others restore and verify from it.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root # the server lets root in
needs /usr/sbin/sshd ssh-keygen
[ -n "${HOLDFAST_S3_ENDPOINT:-}" ] || exec "$REPO/tests/with-servers" "$0"
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)
WRITERS="0 1 2 3 4 5 6 7 8 9"
ROUNDS=${ROUNDS:-3}
H=$T/host # the protected hosts, one root for all ten
mkdir -p "$H/sources.d"
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
printf 'restrict,command="%s --root %s" %s\n' "$PROGRAMS/holdfast-source" "$H" "$(cat "$T/ssh/user.pub")" >"$T/ssh/authorized_keys"
export S3_KEY="$HOLDFAST_S3_KEY" S3_SECRET="$HOLDFAST_S3_SECRET"
bucket=many-$(basename "$T" | tr 'A-Z.' 'a-z-')
{
	printf 'plan: many\ntargets: {rto: 1h, rpo: 1h}\nsites:\n'
	printf '  - {name: cloud, url: "s3://%s", endpoint: "%s", region: default, access_key: "env:S3_KEY", secret_key: "env:S3_SECRET"}\n' "$bucket" "$HOLDFAST_S3_ENDPOINT"
	printf 'sources:\n'
	for n in $WRITERS; do
		printf '  - {name: s%s, host: "ssh://root@127.0.0.1:%s", identity: "%s", known_hosts: "%s", paths: ["%s"]}\n' "$n" "$port" "$T/ssh/user" "$T/ssh/known_hosts" "$T/data/s$n"
	done
} >"$T/plan.yaml"
# change NUMBER ROUND: what that host has now; kept beside, for the comparison in the end
change() {
	mkdir -p "$T/data/s$1"
	head -c 3000000 /dev/urandom >"$T/data/s$1/round-$2"
	for f in 1 2 3 4 5 6 7 8 9; do seq "$1$2" "$1$2$f" >"$T/data/s$1/f$f"; done
	mkdir -p "$T/kept/$2"
	cp -a "$T/data/s$1" "$T/kept/$2/s$1"
}
for n in $WRITERS; do
	printf 'name: s%s\npaths: ["%s"]\n' "$n" "$T/data/s$n" >"$H/sources.d/s$n.yaml"
	chmod 644 "$H/sources.d/s$n.yaml"
	change "$n" 0
done
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml" --source s0

note "ten at once, $ROUNDS rounds; a reader restores and verifies meanwhile"
# reader: a machine of its own with the opening key, until the writers are done
mkdir -p "$T/reader/keys/recovery"
cp "$R/keys/recovery/many.key" "$T/reader/keys/recovery/many.key"
chmod 700 "$T/reader/keys" "$T/reader/keys/recovery"
reader() {
	while [ ! -e "$T/written" ]; do
		rm -rf "$T/reader/back"
		"$HOLDFAST" --root "$T/reader" restore "$T/plan.yaml" --source s0 --snapshot 1 --to "$T/reader/back" || return 1
		"$HOLDFAST" --root "$T/reader" verify "$T/plan.yaml" --data || return 1
		echo "through" >>"$T/reader/passes"
	done
}
reader >"$T/reader.out" 2>&1 &
watcher=$!
STARTED="$STARTED $watcher"
# write NUMBER: its rounds, one behind the other
write() {
	for round in $(seq "$ROUNDS"); do
		change "$1" "$round"
		"$HOLDFAST" --root "$R" backup "$T/plan.yaml" --source "s$1" || return 1
	done
}
for n in $WRITERS; do
	write "$n" >"$T/writer-$n.out" 2>&1 &
	eval "writer_$n=$!"
	STARTED="$STARTED $!"
done
for n in $WRITERS; do
	pid=$(eval "echo \$writer_$n")
	got=0
	wait "$pid" || got=$?
	assert_eq $got 0 "writer $n: $(tail -n 5 "$T/writer-$n.out")"
done
touch "$T/written"
got=0
wait $watcher || got=$?
assert_eq $got 0 "reader: $(tail -n 5 "$T/reader.out")"
[ -s "$T/reader/passes" ] || fail "the reader did not get through once"
diff -r "$T/kept/0/s0" "$T/reader/back$T/data/s0" || fail "what was restored meanwhile differs"

note "every snapshot of every source is there and whole"
assert_status 0 hf verify "$T/plan.yaml" --data
assert_status 0 hf snapshots "$T/plan.yaml" --json
assert_eq "$(json 'len(d)' "$T/out")" $((10 * ROUNDS + 1)) "snapshots"
for n in $WRITERS; do
	rm -rf "$T/back"
	assert_status 0 "$HOLDFAST" --root "$T/reader" restore "$T/plan.yaml" --source "s$n" --to "$T/back" --no-verify
	diff -r "$T/kept/$ROUNDS/s$n" "$T/back$T/data/s$n" || fail "source s$n differs"
done
assert_status 0 hf evidence verify "$T/plan.yaml"

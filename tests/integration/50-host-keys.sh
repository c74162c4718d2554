#!/bin/sh
# The protected host writes copies that it cannot read: without the recovery key everything but opening works, and nothing the host
# holds opens an old chunk.
. "$(dirname "$0")/../lib/lib.sh"
needs strace
$PYTHON -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

simple_plan "$T/plan.yaml" one two
head -c 700000 /dev/urandom >"$T/src/random"
for i in $(seq 200); do echo "a secret that nobody may read, number $i" >"$T/src/f$i"; done
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"

# traced FILE COMMAND...: names that the command and its children touch
traced() {
	trace=$1
	shift
	assert_status 0 strace -f --seccomp-bpf -qq -e trace=%file -o "$trace" "$HOLDFAST" --root "$R" "$@"
	[ -s "$trace" ] || fail "nothing was traced"
}

note "backup, verify, replicate, status, snapshots and evidence never touch the recovery key"
echo changed >"$T/src/f1"
for command in backup verify replicate status snapshots "evidence verify"; do
	# shellcheck disable=SC2086 # a command of two words
	traced "$T/trace" $command "$T/plan.yaml"
	assert_lacks "$T/trace" recovery
done
note "the trace would have shown it: ls opens it"
traced "$T/trace" ls "$T/plan.yaml"
assert_contains "$T/trace" "keys/recovery/simple.key"

note "they work with it removed"
mv "$R/keys/recovery" "$T/kit"
echo changed again >"$T/src/f2"
for command in backup verify replicate status snapshots "evidence verify"; do
	# shellcheck disable=SC2086
	assert_status 0 hf $command "$T/plan.yaml"
done
assert_status 0 hf backup "$T/plan.yaml" --full-read

note "nothing that opens a copy does"
for command in "ls" "verify --data" "diff --against 1" "export --output $T/never.tar" "restore --to $T/never"; do
	# shellcheck disable=SC2086
	assert_status 2 hf $command "$T/plan.yaml"
	assert_contains "$T/err" 'opening key'
done
[ ! -s "$T/never.tar" ] || fail "an archive was written"
[ ! -d "$T/never" ] || [ -z "$(find "$T/never" -type f)" ] || fail "files were restored"

note "no file of the host, and nothing derived from its keys, opens a pack; the recovery key does"
$PYTHON "$REPO/tests/lib/host_keys.py" "$R" "$T/sites/one" "$T/kit/simple.key" files || fail "see above"
note "no plaintext lies at a site or with the host"
if grep -rqaF "a secret that nobody may read" "$R" "$T/sites"; then fail "plaintext was found"; fi
echo "the host cannot read its copies"

#!/bin/sh
# The key of a vault's witness, pinned in the plan: another key and no cosignature are told by every run and by evidence verify.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root # the server lets root in
needs /usr/sbin/sshd ssh ssh-keygen ssh-keyscan
VAULT=$(cd "$(dirname "$HOLDFAST")" && pwd)/holdfast-vault
[ -x "$VAULT" ] || fail "no program at $VAULT"

mkdir -p "$T/vault" "$T/src"
echo text >"$T/src/file"
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
ssh-keygen -q -t ed25519 -N '' -C controller -f "$T/key"
# vault OPTION...: how the key starts it
vault() {
	printf 'restrict,command="%s --role controller --prefix ca %s %s" %s\n' "$VAULT" "$*" "$T/vault" "$(cat "$T/key.pub")" >"$T/ssh/authorized_keys"
}
witness=$("$VAULT" --init-key "$T/witness")
vault --witness "$T/witness"
cat >"$T/plan.yaml" <<PLAN
plan: far
targets: {rto: 1h, rpo: 1h}
sites:
  - name: north
    url: "ssh://root@127.0.0.1:$(cat "$T/ssh/port")$T/vault/ca"
    identity: "$T/key"
    known_hosts: "$T/ssh/known_hosts"
    witness: "$witness"
sources:
  - {name: files, paths: ["$T/src"]}
PLAN
findings() {
	json '[[f["severity"], f["title"].split(" key ")[0]] for f in d["findings"] if "witness" in f["title"]]' "$T/out"
}

note "the pinned witness cosigns: nothing is to be told"
assert_status 0 hf init "$T/plan.yaml"
for run in 1 2; do
	echo "run $run" >"$T/src/file"
	assert_status 0 hf backup "$T/plan.yaml" --json
	assert_eq "$(findings)" '[]' "findings of run $run"
done
assert_status 0 hf evidence verify "$T/plan.yaml"

note "its key was exchanged: told, and its cosignature is not taken"
before=$(find "$T/vault" -name '*.cosig' | wc -l)
mv "$T/witness" "$T/witness.old"
other=$("$VAULT" --init-key "$T/witness")
assert_status 0 hf backup "$T/plan.yaml" --json
assert_eq "$(findings)" '[["high", "site north: its witness signs with the"]]' "findings"
assert_contains "$T/out" "$other"
assert_eq "$(find "$T/vault" -name '*.cosig' | wc -l)" "$before" "cosignatures"
assert_status 6 hf evidence verify "$T/plan.yaml"
assert_contains "$T/out" cosignature-missing
assert_status 0 hf verify "$T/plan.yaml" --json
assert_eq "$(findings)" '[["high", "site north: its witness signs with the"]]' "findings of another job"

note "it stops cosigning"
vault
assert_status 0 hf backup "$T/plan.yaml" --json
assert_eq "$(findings)" "[[\"medium\", \"site north has no witness, and the plan pins $witness\"]]" "findings"
assert_status 6 hf evidence verify "$T/plan.yaml"

note "the right one is back: all is well with the next run"
rm -r "$T/witness"
mv "$T/witness.old" "$T/witness"
vault --witness "$T/witness"
assert_status 0 hf backup "$T/plan.yaml" --json
assert_eq "$(findings)" '[]' "findings"
assert_status 0 hf evidence verify "$T/plan.yaml"

note "exchanged on purpose: the new key is pinned, what the old one signed is a note"
"$VAULT" --init-key "$T/witness.new" >"$T/new"
vault --witness "$T/witness.new"
sed -i "s|^    witness: .*|    witness: \"$(cat "$T/new")\"|" "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml" --json
assert_eq "$(findings)" '[]' "findings"
assert_status 0 hf evidence verify "$T/plan.yaml"
assert_contains "$T/out" unknown-witness
echo "the witness was watched"

#!/bin/sh
# Digests as the sites themselves tell them: damage at a vault is found although next to nothing crosses the link, with keys that may read no
# pack; and nowhere does the vault's word pass for a verification.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root # the server lets root in
needs /usr/sbin/sshd ssh ssh-keygen
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)
[ -x "$PROGRAMS/linkproxy" ] || skip "needs $PROGRAMS/linkproxy"

mkdir -p "$T/vault" "$T/src" "$T/sites/disk"
head -c 50000000 /dev/urandom >"$T/src/large"
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
for role in put audit; do
	ssh-keygen -q -t ed25519 -N '' -C $role -f "$T/$role.key"
	printf 'restrict,command="%s --role %s --prefix ca %s" %s\n' "$PROGRAMS/holdfast-vault" $role "$T/vault" "$(cat "$T/$role.key.pub")" >>"$T/ssh/authorized_keys"
done
mkfifo "$T/control"
exec 9<>"$T/control"
# what is begun in the background has no input unless it takes one itself
start sh -c 'exec "$0" --target "127.0.0.1:$1" --control <"$2" >"$3"' "$PROGRAMS/linkproxy" "$(cat "$T/ssh/port")" "$T/control" "$T/answers"
wait_for 10 test -s "$T/answers"
far=$(head -n 1 "$T/answers")
"$REPO/tests/lib/sshd.sh" --pin "$T/ssh" "$far" >"$T/known_hosts"
answered() { [ "$(wc -l <"$T/answers")" -gt "$lines" ]; }
# crossed: bytes that have come from the vault so far
crossed() {
	lines=$(wc -l <"$T/answers")
	echo "bytes down" >&9
	wait_for 10 answered
	tail -n 1 "$T/answers"
}
# plan ROLE [SITE]
plan() {
	printf 'plan: far\ntargets: {rto: 1h, rpo: 1h}\nsources:\n  - {name: files, paths: ["%s"]}\nsites:\n' "$T/src"
	printf '  - {name: north, url: "ssh://root@127.0.0.1:%s%s/vault/ca", identity: "%s", known_hosts: "%s"}\n' "$far" "$T" "$T/$1.key" "$T/known_hosts"
	[ $# = 1 ] || printf '  - {name: %s, url: "file://%s"}\n' "$2" "$T/sites/$2"
}
plan put >"$T/plan.yaml"
plan audit >"$T/audit.yaml"
plan put disk >"$T/mixed.yaml"
latest=$R/results/far/latest.json

assert_status 0 hf init "$T/mixed.yaml"
assert_status 0 hf backup "$T/mixed.yaml"
echo more >"$T/src/small"
assert_status 0 hf backup "$T/mixed.yaml"
stored=$(bytes_below "$T/vault/ca/p")

note "the key that may read no pack asks the site, which finds nothing wrong; packs stay where they are"
hf verify "$T/plan.yaml" >"$T/out" 2>"$T/err" && fail "a key of the role put reads packs"
before=$(crossed)
assert_status 0 hf verify "$T/plan.yaml" --at-site
came=$(($(crossed) - before))
assert_less "$((came * 100))" "$stored" "bytes that came from the vault, a hundred times"
assert_contains "$T/out" "what a site says of itself is no check of a copy"
assert_contains "$T/out" claimed
assert_lacks "$T/out" intact
packs=$(find "$T/vault/ca/p" -type f | wc -l)
assert_eq "$(json '[(c["site"], c["outcome"], c["digests"], c["packs"], c["bytes"], c["snapshots"]) for c in d["extra"]["copies"]]' "$latest")" \
	"[[\"north\", \"claimed\", \"claimed by the site\", $packs, null, 2]]" "what is told of the copy"

note "it counts as no verification: not in the result, the status, the metrics or the evidence"
assert_eq "$(json '[d["kind"], d["coverage"], d["bytes"]["processed"], [s["outcome"] for s in d["sites"]]]' "$latest")" '["site-digests", null, null, ["claimed"]]' "the result"
hf status "$T/plan.yaml" --json >"$T/out" 2>"$T/err" || :
assert_eq "$(json 'd[0]["last_verify"]' "$T/out")" null "last verification"
assert_lacks "$R/metrics/holdfast.prom" 'last_success_timestamp_seconds{plan="far",kind="verify"'
assert_status 0 hf evidence log --json
assert_eq "$(json '[(r["type"], r["body"]["digests"]) for r in d if r["body"].get("digests")]' "$T/out")" '[["site-digests", "claimed by the sites"]]' "the evidence"
assert_status 0 hf verify "$T/mixed.yaml" --site disk
assert_eq "$(json '[d["kind"], [c["digests"] for c in d["extra"]["copies"]]]' "$latest")" '["verify", ["computed here"]]' "the ordinary way"
hf status "$T/plan.yaml" --json >"$T/out" 2>"$T/err" || :
[ "$(json 'd[0]["last_verify"]' "$T/out")" != null ] || fail "a verification is not told"

note "a site that computes no digests is named, and neither read nor left out in silence"
assert_status 2 hf verify "$T/mixed.yaml" --at-site
assert_contains "$T/err" "these sites compute no digests: disk"
assert_status 0 hf verify "$T/mixed.yaml" --at-site --site north
assert_status 2 hf verify "$T/plan.yaml" --at-site --data
assert_status 2 hf verify "$T/plan.yaml" --at-site --repair

note "a flipped byte at the vault is found and named, by the auditor's key, too"
pack=$(largest "$T/vault/ca/p")
corrupt_byte "$pack" 100000
before=$(crossed)
for key in plan audit; do
	assert_status 6 hf verify "$T/$key.yaml" --at-site
	assert_eq "$(json '[(f["kind"], f["object"]) for c in d["extra"]["copies"] for f in c["findings"]]' "$latest")" "[[\"corrupt\", \"${pack#"$T/vault/ca/"}\"]]" "damage found by $key"
	assert_eq "$(json '[(c["outcome"], c["snapshots_broken"]) for c in d["extra"]["copies"]]' "$latest")" '[["damaged", 2]]' "the copy, by $key"
done
came=$(($(crossed) - before))
assert_less "$((came * 100))" "$stored" "bytes that came from the vault, a hundred times"
corrupt_byte "$pack" 100000 # back again
assert_status 0 hf verify "$T/plan.yaml" --at-site

note "a pack that is gone is missing, whatever the site says of the others"
mv "$pack" "$T/away"
assert_status 6 hf verify "$T/plan.yaml" --at-site
assert_eq "$(json '[(c["missing"], c["snapshots_broken"]) for c in d["extra"]["copies"]]' "$latest")" '[[1, 2]]' "what is missing"

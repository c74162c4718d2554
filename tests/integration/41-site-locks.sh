#!/bin/sh
# Locks at a real S3 gateway: what is put is locked as long as the plan says, the audit finds what is too short, and extends it.
. "$(dirname "$0")/../lib/lib.sh"
needs curl
[ -n "${HOLDFAST_S3_ENDPOINT:-}" ] || exec "$REPO/tests/with-servers" "$0"
bucket=locks-$(basename "$T" | tr 'A-Z.' 'a-z-')
export S3_KEY="$HOLDFAST_S3_KEY" S3_SECRET="$HOLDFAST_S3_SECRET"

# plan FILE IMMUTABLE
plan() {
	cat >"$1" <<PLAN
plan: locks
targets: {rto: 1h, rpo: 1h}
sources:
  - {name: files, paths: ["$T/src"]}
sites:
  - {name: cloud, url: "s3://$bucket/ca", endpoint: "$HOLDFAST_S3_TLS_ENDPOINT", ca_file: "$HOLDFAST_S3_CA", region: default,
     access_key: "env:S3_KEY", secret_key: "env:S3_SECRET", immutable: $2}
  - {name: disk, url: "file://$T/disk"}
PLAN
}
locks() { json "d['extra']['locks'][0]['$1']" "$T/out"; }
mkdir -p "$T/src" "$T/disk"
head -c 3000000 /dev/urandom >"$T/src/blob"

note "what is put is locked as long as the plan says"
plan "$T/plan.yaml" 2d
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
assert_status 0 hf site probe "$T/plan.yaml" --site cloud --json
assert_eq "$(json 'd["sites"][0]["class"]' "$T/out")" locked class
assert_status 0 hf site locks "$T/plan.yaml" --json
assert_eq "$(locks missing) $(locks short) $(locks unknown) $(locks extended)" "0 0 0 0" "locks after a backup"
assert_less 10 "$(locks needed)" "objects that have to be locked"
assert_less 5 "$(locks unneeded)" "objects of probes, which need no lock"
assert_eq "$(json '[s["outcome"] for s in d["sites"]]' "$T/out")" '["locked", "none promised"]' outcomes

note "a longer promise: what was put before is too short, and is extended"
plan "$T/plan.yaml" 20d
assert_status 4 hf site locks "$T/plan.yaml" --json
short=$(locks short)
assert_less 10 "$short" "objects locked for too short"
assert_contains "$T/out" cfg/0
assert_contains "$T/out" "k/files/1"
assert_contains "$T/out" "p/files/"
assert_eq "$(json 'd["findings"][0]["severity"]' "$T/out")" high finding
assert_status 0 hf site locks "$T/plan.yaml" --extend --json
assert_eq "$(locks extended) $(locks short) $(locks missing)" "$short 0 0" "after the extension"
assert_status 0 hf site locks "$T/plan.yaml" --json
assert_eq "$(locks short)" 0 "seen again"

note "a lock is never shortened, and what a run under a shorter promise left is found"
plan "$T/plan.yaml" 1d
assert_status 0 hf site locks "$T/plan.yaml" --extend --json
assert_eq "$(locks extended)" 0 "extended to less"
plan "$T/plan.yaml" 20d
assert_status 4 hf site locks "$T/plan.yaml" --json
assert_eq "$(json '{k["key"].split("/")[0] for k in d["extra"]["locks"][0]["keys"]} == {"l"}' "$T/out")" true "only the record of that run is short"
assert_status 0 hf site locks "$T/plan.yaml" --extend
assert_status 0 hf evidence log "$T/plan.yaml"
assert_contains "$T/out" locks
assert_status 0 hf evidence verify "$T/plan.yaml"
echo "locks as they should be"

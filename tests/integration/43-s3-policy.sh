#!/bin/sh
# Credentials that may add and not take away: examples/s3-policy.json at a real gateway. A backup works with them, and nothing that
# would read a pack, or end an object.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs curl
[ -n "${HOLDFAST_S3_ENDPOINT:-}" ] || exec "$REPO/tests/with-servers" "$0"
bucket=policy-$(basename "$T" | tr 'A-Z.' 'a-z-')
mkdir -p "$T/src"
head -c 3000000 /dev/urandom >"$T/src/blob"
for i in 1 2 3 4 5 6 7 8 9; do echo "small $i" >"$T/src/s$i"; done
# The bucket belongs to one user, who makes it; the other one gets what the policy says.
export OWNER_KEY="$HOLDFAST_S3_KEY" OWNER_SECRET="$HOLDFAST_S3_SECRET" PUT_KEY="$HOLDFAST_S3_KEY2" PUT_SECRET="$HOLDFAST_S3_SECRET2"
plan() {
	printf 'plan: policy\ntargets: {rto: 1h, rpo: 1h}\nsources:\n  - {name: files, paths: ["%s"]}\nsites:\n' "$T/src"
	printf '  - {name: cloud, url: "s3://%s/ca", endpoint: "%s", region: default, access_key: "env:%s_KEY", secret_key: "env:%s_SECRET", immutable: 1d}\n' \
		"$bucket" "$HOLDFAST_S3_ENDPOINT" "$1" "$1"
}
plan OWNER >"$T/owner.yaml"
plan PUT >"$T/put.yaml"
signed() {
	curl -s --noproxy '*' -o "$T/s3.out" -w '%{http_code}' --user "$1" --aws-sigv4 aws:amz:default:s3 -H "x-amz-content-sha256: $2" "$3" -X "$4" ${5:+--data-binary "@$5"}
}
sha() { sha256sum "$1" | cut -d' ' -f1; }

note "without a policy the other user has no way in"
assert_status 0 hf init "$T/owner.yaml"
hf backup "$T/put.yaml" >"$T/out" 2>"$T/err" && fail "a backup without a right"
assert_contains "$T/err" "AccessDenied"

note "with it, backups work"
sed "s/BUCKET/$bucket/; s/PREFIX/ca/; s#PUT_PRINCIPAL#arn:aws:iam:::user/other#; s#GET_PRINCIPAL#arn:aws:iam:::user/tests#" "$REPO/examples/s3-policy.json" >"$T/policy.json"
code=$(signed "$OWNER_KEY:$OWNER_SECRET" "$(sha "$T/policy.json")" "$HOLDFAST_S3_ENDPOINT/$bucket?policy=" PUT "$T/policy.json")
case $code in 20?) ;; *) fail "the policy is not taken: $code $(cat "$T/s3.out")" ;; esac
assert_status 0 hf backup "$T/put.yaml"
echo changed >"$T/src/s3"
assert_status 0 hf backup "$T/put.yaml"
assert_status 0 hf status "$T/put.yaml"
assert_status 0 hf evidence verify "$T/put.yaml"

note "nothing is removed with them, and no pack is read"
assert_status 0 hf site probe "$T/put.yaml" --json
assert_eq "$(json 'd["sites"][0]["class"]' "$T/out")" locked "class of the site"
assert_eq "$(json '[p["answer"] for p in d["extra"]["probes"][0]["points"] if p["point"] in ("no_delete", "no_delete_version", "no_shorten")]' "$T/out")" '["yes", "yes", "yes"]' "what a thief cannot do"
hf restore "$T/put.yaml" --to "$T/never" >"$T/out" 2>"$T/err" && fail "packs can be read"
assert_contains "$T/err" "403"

note "the credentials of recovery restore and verify what was put"
assert_status 0 hf restore "$T/owner.yaml" --strip "$(depth "$T/src")" --to "$T/back"
sums "$T/src" >"$T/sums"
sums "$T/back" | cmp - "$T/sums" || fail "what was restored differs"
assert_status 0 hf verify "$T/owner.yaml" --data

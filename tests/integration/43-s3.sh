#!/bin/sh
# A site in a bucket of a real S3 gateway: every job, a thief of its credentials, and a gateway that fails and lies. Run it by
# tests/with-servers.
. "$(dirname "$0")/../lib/lib.sh"
[ -n "${HOLDFAST_S3_ENDPOINT:-}" ] || skip "needs an S3 gateway: tests/with-servers COMMAND"
BUCKET=hf-$(basename "$T" | tr -dc 'A-Za-z0-9' | tr 'A-Z' 'a-z')
thief() {
	"$REPO/tests/lib/s3.py" "$1" "$BUCKET" "$2" >"$T/stolen" || [ "${3:-}" = may-fail ] || fail "$(cat "$T/stolen")"
}

# plan FILE ENDPOINT [MORE]: a directory `here` and the bucket `south`
plan() {
	{
		plan_head s3 here
		printf '  - {name: south, url: "s3://%s/ca", endpoint: "%s", region: default, access_key: "file:%s", secret_key: "file:%s"%s}\n' \
			"$BUCKET" "$2" "$T/secret/access" "$T/secret/secret" "${3:-}"
		printf 'copies: {min: 2}\nsources:\n  - {name: files, paths: ["%s"]}\n' "$T/src"
		# shellcheck disable=SC2016 # the plan's own variable
		printf 'recovery:\n  steps: [{id: files, restore: files, to: "${work}/files"}]\n  checks: [{id: whole, kind: manifest, of: files}]\n'
	} >"$1"
}

# restored_is PLAN SITE: the newest snapshot from that site alone is what is in $T/src
restored_is() {
	rm -rf "$T/restored"
	assert_status 0 hf restore "$1" --site "$2" --strip "$(depth "$T/src")" --to "$T/restored"
	sums "$T/src" >"$T/sums"
	sums "$T/restored" | cmp - "$T/sums" || fail "what site $2 has is not what was backed up"
}

mkdir -p "$T/src" "$T/secret"
printf %s "$HOLDFAST_S3_KEY" >"$T/secret/access"
printf %s "$HOLDFAST_S3_SECRET" >"$T/secret/secret"
chmod 600 "$T"/secret/*
head -c 30000000 /dev/urandom >"$T/src/large"
for i in 1 2 3 4 5 6 7 8 9; do echo "small $i" >"$T/src/s$i"; done
plan "$T/plan.yaml" "$HOLDFAST_S3_ENDPOINT" ', immutable: 1d'

note "init makes a bucket with object lock; what is put there nobody can end"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
assert_status 0 hf site probe "$T/plan.yaml" --site south --json
assert_eq "$(json '[(s["class"], s["immutable_ms"] // 60000) for s in d["sites"]][0]' "$T/out")" '["locked", 1440]' "class of the bucket"
restored_is "$T/plan.yaml" south
echo "one more" >"$T/src/more"
assert_status 0 hf backup "$T/plan.yaml"
assert_status 0 hf verify "$T/plan.yaml" --data
assert_status 0 hf drill "$T/plan.yaml" --site south
assert_status 0 hf status "$T/plan.yaml"
thief versions ca/
grep -v ^ca/probe/ "$T/stolen" >"$T/objects" # of those a few were put by the probe as a thief
while read -r key version; do
	! "$REPO/tests/lib/s3.py" delete-version "$BUCKET" "$key" "$version" >/dev/null || fail "version $version of $key could be deleted"
done <"$T/objects"

note "the machine is lost: the bucket, the plan and the opening key are enough"
cold=$T/cold
mkdir -p "$cold/keys/recovery"
cp "$R/keys/recovery/s3.key" "$cold/keys/recovery/"
chmod 700 "$cold/keys" "$cold/keys/recovery"
grep -v 'name: here\|copies:' "$T/plan.yaml" >"$T/cold.yaml"
assert_status 0 "$HOLDFAST" --root "$cold" restore "$T/cold.yaml" --strip "$(depth "$T/src")" --to "$T/cold-restored"
sums "$T/src" >"$T/sums"
sums "$T/cold-restored" | cmp - "$T/sums" || fail "a cold start restores something else"

note "a thief deletes and overwrites everything: the bytes are still there, and are found"
thief list ca/p/
xargs "$REPO/tests/lib/s3.py" delete "$BUCKET" <"$T/stolen" >"$T/deleted" || fail "not even a marker: $(cat "$T/deleted")"
thief list ca/s/
xargs "$REPO/tests/lib/s3.py" overwrite "$BUCKET" <"$T/stolen" >"$T/deleted" || fail "not overwritten: $(cat "$T/deleted")"
restored_is "$T/plan.yaml" south
assert_status 6 hf verify "$T/plan.yaml" --site south
assert_status 0 hf verify "$T/plan.yaml" --repair --site south
assert_status 0 hf verify "$T/plan.yaml" --data --site south

note "wrong credentials: the other site gets its copy, and no secret is told"
printf 'a wrong secret of ours' >"$T/secret/secret"
echo "another" >"$T/src/another"
assert_status 8 hf backup "$T/plan.yaml"
assert_contains "$T/err" SignatureDoesNotMatch
printf %s "$HOLDFAST_S3_SECRET" >"$T/secret/secret"
assert_status 0 hf replicate "$T/plan.yaml"
restored_is "$T/plan.yaml" south
! grep -rlF -e "$HOLDFAST_S3_SECRET" -e 'a wrong secret of ours' "$R" "$T/sites" "$T/out" "$T/err" || fail "a secret was written down"

note "a gateway that fails at every fifth request, and breaks off: nothing is lost, nothing is done twice"
mkfifo "$T/liar.in" # never ends: the liar is killed instead
start sh -c 'exec "$0" "$1" <>"$2" >"$3"' "$REPO/tests/lib/s3-liar.py" "$HOLDFAST_S3_ENDPOINT" "$T/liar.in" "$T/liar.url"
liar=$!
wait_for 20 grep -q http "$T/liar.url"
LIAR=$(cat "$T/liar.url")
lie() {
	curl -sf --noproxy '*' -d "$1" "$LIAR/-/rules" >/dev/null || fail "the liar does not take $1"
}
acted() {
	curl -sf --noproxy '*' "$LIAR/-/counts" | json 'd["acted"]'
}
plan "$T/lied.yaml" "$LIAR" ', immutable: 1d'
lie '[{"status": 503, "body": "<Error><Code>SlowDown</Code></Error>", "every": 5, "headers": {"Retry-After": "0"}}]'
head -c 20000000 /dev/urandom >"$T/src/large2"
assert_status 0 hf backup "$T/lied.yaml"
[ "$(acted)" -gt 3 ] || fail "the gateway did not fail"
assert_contains "$T/err" "it is tried again"
restored_is "$T/lied.yaml" south
lie '[{"method": "PUT", "path": "/p/", "cut_answer": 0, "times": 2}, {"method": "PUT", "path": "/p/", "cut_request": 5000000, "times": 2}, {"method": "GET", "cut_answer": 100000, "times": 3}]'
head -c 20000000 /dev/urandom >"$T/src/large3"
assert_status 0 hf backup "$T/lied.yaml"
[ "$(acted)" -ge 3 ] || fail "nothing was cut"
restored_is "$T/plan.yaml" south
assert_status 0 hf verify "$T/plan.yaml" --data --site south

note "answers that no patience helps: the run says why, the other site has its copy, replicate catches up"
for answer in '"status": 403, "body": "<Error><Code>ExpiredToken</Code></Error>"' '"status": 400, "body": "<Error><Code>RequestTimeTooSkewed</Code></Error>"' \
	'"status": 301, "body": "<Error><Code>PermanentRedirect</Code><Region>eu-west-1</Region></Error>"' '"status": 200, "body": "<html>log in</html>"' \
	'"status": 501, "body": "<Error><Code>NotImplemented</Code></Error>"'; do
	lie "[{\"after\": 8, $answer}]"
	echo "$answer" >"$T/src/state"
	assert_status 8 hf backup "$T/lied.yaml"
	assert_contains "$T/err" south
	lie '[]'
	assert_status 0 hf replicate "$T/lied.yaml"
	restored_is "$T/lied.yaml" south
done

note "a gateway that takes locks and forgets them is found out"
lie '[{"strip": "x-amz-object-lock-"}]'
assert_status 4 hf site probe "$T/lied.yaml" --site south
lie '[]'
assert_status 0 hf site probe "$T/lied.yaml" --site south

note "the gateway is down: the copy goes to the other site; when it is back, it catches up"
kill -KILL "$liar"
wait_for 20 sh -c "! curl -sf --noproxy '*' $LIAR/-/counts"
echo "down" >"$T/src/state"
assert_status 8 hf backup "$T/lied.yaml"
assert_status 0 hf replicate "$T/plan.yaml"
restored_is "$T/plan.yaml" south
assert_status 0 hf verify "$T/plan.yaml"

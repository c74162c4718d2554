#!/bin/sh
# The link to a distant site breaks in the middle of a backup and of a restore, and comes back: the run goes on where it was.
. "$(dirname "$0")/../lib/lib.sh"
needs sshd ssh-keygen
LINKPROXY=${LINKPROXY:-$(dirname "$HOLDFAST")/linkproxy}
[ -x "$LINKPROXY" ] || skip "needs $LINKPROXY"

mkdir -p "$T/docs" "$T/sites/near" "$T/sites/far"
head -c 60000000 /dev/urandom >"$T/docs/large"
echo small >"$T/docs/small"
start "$REPO/tests/lib/sshd.sh" "$T/sshd"
wait_for 30 test -s "$T/sshd/pid"
start "$LINKPROXY" --target "127.0.0.1:$(cat "$T/sshd/port")" --rate 20000000 --port-file "$T/port"
link=$!
wait_for 30 test -s "$T/port"
"$REPO/tests/lib/sshd.sh" --pin "$T/sshd" "$(cat "$T/port")" >"$T/known_hosts"
far_site() {
	echo "  - {name: far, url: \"sftp://$(id -un)@127.0.0.1:$(cat "$T/port")$T/sites/far\", identity: \"$T/sshd/user\", known_hosts: \"$T/known_hosts\"}"
}
{
	plan_head link near
	far_site
	echo "sources:"
	echo "  - {name: docs, paths: [\"$T/docs\"]}"
} >"$T/plan.yaml"

packs_far() { [ "$(find "$T/sites/far/p" -type f 2>/dev/null | wc -l)" -ge "$1" ]; }
told() { grep -q 'it is tried again' "$T/told"; }
# breaks_and_heals: the link goes away, the run tells that it tries again, the link comes back
breaks_and_heals() {
	kill -USR1 $link
	wait_for 60 told
	kill -USR2 $link
}

note "a backup whose link breaks after the first pack"
assert_status 0 hf init "$T/plan.yaml"
hf backup "$T/plan.yaml" >"$T/out" 2>"$T/told" &
run=$!
wait_for 60 packs_far 1
breaks_and_heals
wait $run || fail "the backup ended with $?: $(cat "$T/told")"
assert_contains "$T/told" 'site far answers again'
assert_status 0 hf verify "$T/plan.yaml" --data
(cd "$T/sites/near/p" && find . -type f | sort) >"$T/near"
(cd "$T/sites/far/p" && find . -type f | sort) >"$T/far"
cmp "$T/near" "$T/far" || fail "the sites do not hold the same packs"

note "a restore whose link breaks in the middle"
mv "$T/sites/near" "$T/sites/away"
hf restore "$T/plan.yaml" --to "$T/back" >"$T/out" 2>"$T/told" &
run=$!
wait_for 60 sh -c "[ -n \"\$(find '$T/back' -type f -size +10000k 2>/dev/null)\" ]"
breaks_and_heals
wait $run || fail "the restore ended with $?: $(cat "$T/told")"
find "$T/back" -name large -exec cmp {} "$T/docs/large" \; | grep . && fail "the restored file differs"
[ -n "$(find "$T/back" -name large)" ] || fail "nothing was restored"

#!/bin/sh
# A source on another host and its distant sites, which it reaches through the controller alone: one of them goes away in the middle of a run;
# what all of them get crosses the link to its host once.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs /usr/sbin/sshd ssh-keygen
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)
LINKPROXY=${LINKPROXY:-$PROGRAMS/linkproxy}
[ -x "$LINKPROXY" ] || skip "needs $LINKPROXY"

H=$T/host # the root of the protected host
mkdir -p "$H/sources.d" "$T/data" "$T/sites/far"
printf 'name: docs\npaths: ["%s"]\n' "$T/data" >"$H/sources.d/docs.yaml"
chmod 644 "$H/sources.d/docs.yaml"
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 30 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
ssh-keygen -q -t ed25519 -N '' -C backup -f "$T/backup.key"
printf 'restrict,command="%s --root %s" %s\n' "$PROGRAMS/holdfast-source" "$H" "$(cat "$T/backup.key.pub")" >>"$T/ssh/authorized_keys"

# proxy NAME OPTION...: a link to the server; its port is then in $T/NAME.port, its process in $!
proxy() {
	name=$1
	shift
	start "$LINKPROXY" --target "127.0.0.1:$port" --port-file "$T/$name.port" "$@"
	wait_for 30 test -s "$T/$name.port"
	"$REPO/tests/lib/sshd.sh" --pin "$T/ssh" "$(cat "$T/$name.port")" >>"$T/ssh/known_hosts"
}
# slow enough for the link to break in the middle
proxy far --rate 20000000
far=$!

{
	plan_head far near
	echo "  - {name: far, url: \"sftp://$(id -un)@127.0.0.1:$(cat "$T/far.port")$T/sites/far\", identity: \"$T/ssh/user\", known_hosts: \"$T/ssh/known_hosts\"}"
	echo "copies: {min: 2}"
	echo "sources:"
	echo "  - {name: docs, host: \"ssh://$(id -un)@127.0.0.1:$port\", identity: \"$T/backup.key\", known_hosts: \"$T/ssh/known_hosts\", paths: [\"$T/data\"]}"
} >"$T/plan.yaml"
latest=$R/results/far/latest.json
# site NAME KEY: a member of what the last result tells of one site
site() {
	json "[s for s in d['sites'] if s['name'] == '$1'][0]['$2']" "$latest"
}
# grown BYTES DIR: that it holds so much
grown() {
	[ "$(bytes_below "$2")" -gt "$1" ]
}
ended() {
	! kill -0 "$1" 2>/dev/null
}

note "a first run brings a copy to each"
head -c 1000000 /dev/urandom >"$T/data/blob"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
for name in near far; do assert_eq "$(site $name outcome)" committed "$name"; done

note "one is cut off in the middle of a run: the agent gives it up after its patience, the other has everything"
head -c 80000000 /dev/urandom >"$T/data/more"
start "$HOLDFAST" --root "$R" backup "$T/plan.yaml" --patience 2s >"$T/cut.out" 2>"$T/cut.err"
run=$!
wait_for 60 grown 18000000 "$T/sites/far"
kill -USR1 "$far"
wait_for 90 ended $run
got=0
wait $run || got=$?
assert_eq $got 8 "status of the run: $(tail -n 5 "$T/cut.err")"
assert_eq "$(site near outcome)" committed near
assert_eq "$(site far outcome)" failed far
assert_eq "$(site far behind)" 1 "snapshots that the site lacks"
assert_contains "$latest" "given up, as nothing arrived there"
assert_status 0 hf verify "$T/plan.yaml" --site near

note "the link heals: the next run catches up"
kill -USR2 "$far"
echo small >"$T/data/small"
assert_status 0 hf backup "$T/plan.yaml"
assert_eq "$(site far behind)" 0 "snapshots that the site lacks"
assert_status 0 hf verify "$T/plan.yaml"

note "what three sites get crosses the link to the source's host once"
mkfifo "$T/link.in"
exec 9<>"$T/link.in" # both ways, so that opening it waits for nobody
# (a shell gives what it starts in the background no input by itself)
# shellcheck disable=SC2016
start sh -c 'exec "$@" <&9' sh "$LINKPROXY" --target "127.0.0.1:$port" --control >"$T/link.out"
lines=0
# link COMMAND: tells the proxy; its answer in $answer
link() {
	lines=$((lines + 1))
	[ -z "$1" ] || printf '%s\n' "$1" >&9
	wait_for 30 answered
	answer=$(sed -n "${lines}p" "$T/link.out")
}
answered() {
	[ "$(wc -l <"$T/link.out")" -ge $lines ]
}
link ""
"$REPO/tests/lib/sshd.sh" --pin "$T/ssh" "$answer" >>"$T/ssh/known_hosts"
mkdir -p "$T/sites/third"
sed "s#127.0.0.1:$port\", identity: \"$T/backup.key#127.0.0.1:$answer\", identity: \"$T/backup.key#
/^  - {name: near/a\\
  - {name: third, url: \"file://$T/sites/third\"}" "$T/plan.yaml" >"$T/three.yaml"
assert_status 0 hf init "$T/three.yaml"
assert_status 0 hf backup "$T/three.yaml" # brings the third what it lacks
before=$(bytes_below "$T/sites/near")
head -c 60000000 /dev/urandom >"$T/data/new"
link "bytes down"
crossed=$answer
assert_status 0 hf backup "$T/three.yaml"
link "bytes down"
crossed=$((answer - crossed))
stored=$(($(bytes_below "$T/sites/near") - before))
for name in near far third; do assert_eq "$(site $name outcome)" committed $name; done
echo "$crossed bytes crossed, $stored were stored at each of three sites"
assert_less 60000000 "$stored" "what was stored"
assert_less "$crossed" $((stored * 6 / 5)) "bytes that crossed"
assert_status 0 hf verify "$T/three.yaml"

#!/bin/sh
# A source agent that is killed at POINTS places of its conversation: the run fails and says so, the next one completes what it began, and
# no copy is harmed.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root
needs /usr/sbin/sshd ssh-keygen
POINTS=${POINTS:-60}
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)
H=$T/host

start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
printf 'restrict,command="%s" %s\n' "$REPO/tests/lib/cut-agent.py $T/cut $PROGRAMS/holdfast-source --root $H" "$(cat "$T/ssh/user.pub")" >"$T/ssh/authorized_keys"
echo 0 >"$T/cut"
mkdir -p "$H/sources.d" "$T/data"
printf 'name: docs\npaths: ["%s"]\n' "$T/data" >"$H/sources.d/docs.yaml"
chmod 644 "$H/sources.d/docs.yaml"
{
	plan_head far north south
	printf 'sources:\n  - {name: docs, host: "ssh://root@127.0.0.1:%s", identity: "%s", known_hosts: "%s", paths: ["/nowhere"]}\n' "$port" "$T/ssh/user" "$T/ssh/known_hosts"
} >"$T/plan.yaml"
latest=$R/results/far/latest.json
change() {
	head -c 300000 /dev/urandom >"$T/data/now"
}

for i in $(seq 50); do echo "file $i" >"$T/data/f$i"; done
change
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
change
assert_status 0 hf backup "$T/plan.yaml"
total=$(cat "$T/cut.moved")
note "$total bytes pass in a run"
assert_less 300000 "$total" "bytes of a run"

failed=0 last=2
for i in $(seq "$POINTS"); do
	change
	echo $((1 + (total - 1) * i / POINTS)) >"$T/cut"
	got=0
	hf backup "$T/plan.yaml" >"$T/out" 2>"$T/err" || got=$?
	case $got in
	0) ;;
	1)
		failed=$((failed + 1))
		assert_eq "$(json 'd["outcome"]' "$latest")" failed "outcome at point $i"
		assert_contains "$T/err" "source 'docs'"
		;;
	*)
		cat "$T/out" "$T/err"
		fail "exit status $got at point $i"
		;;
	esac
	echo 0 >"$T/cut"
	[ $((i % 3)) = 0 ] || continue
	assert_status 0 hf backup "$T/plan.yaml"
	seq=$(json 'd["sources"][0]["seq"]' "$latest")
	assert_less "$last" "$seq" "number of the snapshot behind point $i"
	last=$seq
done
note "$failed of $POINTS runs were ended"
assert_less $((POINTS * 3 / 4)) "$failed" "runs that were ended"

note "one chain, every copy whole, nothing left undecided for the host"
assert_status 0 hf backup "$T/plan.yaml"
assert_status 0 hf verify "$T/plan.yaml" --data
assert_status 0 hf evidence verify "$T/plan.yaml"
assert_eq "$(find "$H/state" -path '*pending/*' | wc -l)" 0 "fates that are still pending"
hf snapshots "$T/plan.yaml" --json >"$T/out"
assert_eq "$(json 'len(set(s["lineage"] for s in d))' "$T/out")" 1 lineages
assert_status 0 hf restore "$T/plan.yaml" --source docs --to "$T/back"
same_tree "$T/data" "$T/back$T/data"
echo "the agent may die anywhere"

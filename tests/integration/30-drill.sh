#!/bin/sh
# Drills: what passes, what must fail and how it is told, isolation, planted faults, a drill that is killed.
. "$(dirname "$0")/../lib/lib.sh"
needs_root

mkdir -p "$T/src/etc"
echo "a certificate" >"$T/src/etc/cert.pem"
head -c 3000000 /dev/urandom >"$T/src/etc/data"
inside="\${work}/files$T/src/etc"
cd "$T" || exit 1

# book FILE: a plan with the steps and checks of standard input
book() {
	{
		plan_head demo north south
		cat <<PLAN
owner: {name: Continuity office, contact: office@example.org}
requirements: [etsi-en-319401-3.2.1]
sources:
  - {name: files, paths: ["$T/src"]}
  - {name: dump, command: [cat, "$T/src/etc/data"]}
PLAN
		cat
	} >"$1"
}
latest=$R/results/demo/latest.json
# of LIST ID KEY: a member of one step or check of the newest result
of() {
	json "[x for x in d['$1'] if x['id'] == '$2'][0]['$3']" "$latest"
}
no_work_left() {
	assert_eq "$(find "$R/work" -mindepth 1 | wc -l)" 0 "what is left of the work directory"
}

book plan.yaml <<PLAN
recovery:
  steps:
    - {id: files, restore: files, to: "\${work}/files"}
    - {id: dump, restore: dump, to: "\${work}/db", as: data.dump}
    - {id: feed, restore: dump, pipe_to: [sh, -c, "cat >piped"], needs: [dump]}
    - {id: start, run: [sh, -c, "tail -f /dev/null >/dev/null 2>&1 & echo \$! >pid"], needs: [files, dump], env: {MODE: "\${work}/x"}}
  checks:
    - {id: manifest, kind: manifest, of: files}
    - {id: manifest-dump, kind: manifest, of: dump}
    - {id: certificate, kind: command, run: [test, -s, "$inside/cert.pem"], needs: [start]}
    - {id: alive, kind: command, run: [sh, -c, "kill -0 \$(cat pid)"], needs: [start]}
    - {id: same, kind: compare, left: [sh, -c, "cksum <piped"], right: [sh, -c, "cksum <db/data.dump"], needs: [feed]}
    - {id: fresh, kind: freshness, of: dump, max_age: 30m}
schedule:
  drills:
    - {name: quarterly, kind: functional, cron: "0 6 1 1,4,7,10 *"}
    - {name: talk, kind: tabletop, cron: "0 9 15 11 *"}
drill: {negative: [corrupt-pack, wrong-key, stale-snapshot]}
PLAN
assert_status 0 hf init plan.yaml
assert_status 0 hf backup plan.yaml

note "a drill that passes, planted faults included"
assert_status 0 hf drill plan.yaml --deviation "the second operator was ill"
assert_eq "$(json 'd["outcome"]' "$latest")" "done" outcome
assert_eq "$(json 'd["rto"]["met"]' "$latest")" true "recovery time"
assert_eq "$(json 'd["rpo"]["met"]' "$latest")" true "recovery point"
assert_eq "$(json 'd["rpo"]["worst_case_ms"]' "$latest")" null "the gap of one snapshot"
assert_eq "$(json 'd["summary"]' "$latest")" '{"checks_failed": 0, "checks_passed": 9, "checks_skipped": 0, "steps_failed": 0, "steps_passed": 4, "steps_skipped": 0}' summary
for id in manifest manifest-dump certificate alive same fresh negative:corrupt-pack negative:wrong-key negative:stale-snapshot; do
	assert_eq "$(of checks $id outcome)" passed "check $id"
done
assert_eq "$(json 'd["extra"]["isolation"]["mount"] and d["extra"]["isolation"]["net"] and d["extra"]["isolation"]["pid"] and d["extra"]["isolation"]["ipc"]' "$latest")" true isolation
assert_eq "$(json 'd["extra"]["cleanup"]["proven"]' "$latest")" true "proven clean-up"
assert_eq "$(json 'd["deviations"]' "$latest")" '["the second operator was ill"]' deviations
assert_eq "$(json 'd["freshness"]["proven_by"]' "$latest")" '["host", "other-sites"]' "proof of freshness"
assert_eq "$(json '[p for p in ("declared", "key_released", "first_byte", "data_restored", "verified", "checks_passed", "service_back") if not d["clocks"][p]]' "$latest")" '[]' "clocks that stand"
assert_eq "$(json 'd["clocks"]["service_lost"]' "$latest")" null "a loss that did not happen"
assert_eq "$(json 'len(set(s["run"] for s in d["sources"]))' "$latest")" 1 "runs restored from"
assert_eq "$(json '"etsi-en-319401-3.2.1:REQ-7.11.2-06" in d["requirements"]' "$latest")" true "requirement touched"
no_work_left
assert_status 0 hf evidence log --json
assert_eq "$(json '[r["type"] for r in d][-2:]' "$T/out")" '["drill-start", "drill"]' "records of a drill"

note "the process that judges never opens the opening key"
if command -v strace >/dev/null; then
	assert_status 0 env ASAN_OPTIONS="detect_leaks=0:${ASAN_OPTIONS:-}" strace -f -o trace -e trace=openat,execve "$HOLDFAST" --root "$R" drill plan.yaml
	judge=$(head -n 1 trace | cut -d' ' -f1)
	grep -q 'recovery/demo.key' trace || fail "nobody opened the key"
	! grep "^$judge " trace | grep -q 'recovery/demo.key' || fail "the controlling process opened the key"
else
	echo "   strace is not installed: left out"
fi

note "scenarios"
assert_status 0 hf drill plan.yaml --scenario wrong-key
assert_eq "$(json '[c["id"] for c in d["checks"]]' "$latest")" '["negative:wrong-key"]' "checks of a planted fault alone"
assert_eq "$(json 'd["rto"]["met"]' "$latest")" null "recovery time that was not measured"
assert_status 0 hf drill plan.yaml --negative-only
assert_eq "$(json 'd["steps"]' "$latest")" '[]' "steps of planted faults"
assert_status 0 hf drill plan.yaml --scenario quarterly --no-negative
assert_eq "$(json 'd["scenario"]' "$latest")" quarterly scenario
assert_eq "$(json 'len(d["checks"])' "$latest")" 6 "checks without planted faults"
assert_status 2 hf drill plan.yaml --scenario talk
assert_contains "$T/err" "tabletop"
assert_status 2 hf drill plan.yaml --scenario nothing
assert_contains "$T/err" "quarterly"
assert_status 2 hf drill plan.yaml --site nowhere

note "from one site alone, and the work directory kept for a look"
assert_status 0 hf drill plan.yaml --no-negative --site south --keep-work
assert_eq "$(json '[s["name"] for s in d["sites"] if s["served_bytes"]]' "$latest")" '["south"]' "who served"
cmp "$(json 'd["extra"]["work"]' "$latest")/db/data.dump" "$T/src/etc/data" || fail "the dump differs"
rm -rf "${R:?}/work"

note "data sets of one run: a newer copy of one source alone is passed over, and that is told"
assert_status 0 hf backup plan.yaml --source files
assert_status 0 hf drill plan.yaml --no-negative
assert_eq "$(json '[s["seq"] for s in d["sources"]]' "$latest")" '[1, 1]' "snapshots restored"
assert_eq "$(json 'len(set(s["run"] for s in d["sources"]))' "$latest")" 1 "runs restored from"
assert_contains "$latest" "the newest run that copied all of them was restored"

note "a restore outside the work directory is refused before anything begins"
book wrong-target.yaml <<PLAN
recovery: {steps: [{id: files, restore: files, to: /srv/live}]}
PLAN
assert_status 2 hf drill wrong-target.yaml
assert_contains "$T/err" "recovery.steps[0].to"
[ ! -e /srv/live ] || fail "/srv/live was made"

note "no freshness check: the planted old snapshot goes unnoticed, and that fails the drill"
book no-fresh.yaml <<PLAN
recovery: {steps: [{id: files, restore: files, to: "\${work}/f"}]}
drill: {negative: [stale-snapshot]}
PLAN
assert_status 1 hf drill no-fresh.yaml
assert_eq "$(of checks negative:stale-snapshot outcome)" failed "planted old snapshot"
assert_contains "$latest" "a planted fault went unnoticed: stale-snapshot"

note "a step that loses a certificate: the check says so, later ones are judged still, needs are honoured"
book loses.yaml <<PLAN
recovery:
  steps:
    - {id: files, restore: files, to: "\${work}/files"}
    - {id: lose, run: [rm, "$inside/cert.pem"], needs: [files]}
    - {id: breaks, run: [sh, -c, "echo it is broken >&2; exit 7"], needs: [lose]}
    - {id: never, run: ["true"], needs: [breaks]}
  checks:
    - {id: manifest, kind: manifest, of: files}
    - {id: certificate, kind: command, run: [test, -s, "$inside/cert.pem"], needs: [lose]}
    - {id: late, kind: manifest, of: files, needs: [lose]}
    - {id: unreached, kind: command, run: ["true"], needs: [never]}
    - {id: differ, kind: compare, left: [echo, one], right: [echo, two], needs: [files]}
drill: {negative: [wrong-key]}
PLAN
assert_status 1 hf drill loses.yaml
assert_contains "$T/err" "certificate"
assert_eq "$(of checks manifest outcome)" passed "manifest before the loss"
assert_eq "$(of checks certificate outcome)" failed "check of the certificate"
assert_eq "$(of checks late outcome)" failed "manifest after the loss"
assert_contains "$latest" "cert.pem"
assert_eq "$(of steps breaks outcome)" failed "a step that breaks"
assert_contains "$latest" "it is broken"
assert_eq "$(of steps never outcome)" skipped "a step whose need broke"
assert_eq "$(of checks unreached outcome)" skipped "a check whose need broke"
assert_eq "$(of checks differ detail)" "left says 'one', right says 'two'" "what differs"
assert_eq "$(of checks negative:wrong-key outcome)" skipped "planted faults of a failed drill"
assert_eq "$(json 'd["clocks"]["service_back"]' "$latest")" null "service back"
assert_eq "$(json 'd["findings"][0]["owner"]' "$latest")" "Continuity office" "owner of a finding"
no_work_left

note "a step that takes too long is ended, with all that it started"
book slow.yaml <<PLAN
recovery: {steps: [{id: slow, run: [sh, -c, "tail -f /dev/null"], timeout: 200ms}]}
PLAN
assert_status 1 hf drill slow.yaml
assert_contains "$T/err" "slow"
no_work_left

note "a target missed, with all else passed, is 4"
sed 's/rto: 1h/rto: 1ms/' plan.yaml >quick.yaml
assert_status 4 hf drill quick.yaml --no-negative
assert_eq "$(json 'd["rto"]["met"]' "$latest")" false "recovery time"
assert_eq "$(json 'd["outcome"]' "$latest")" "done" outcome

note "isolation: files, devices, network, processes, sockets, mounts, keys"
mark=holdfast-drill-$$-outside
echo "$mark" >"$T/src/etc/mark"
cat >listen.py <<'PY'
import os, socket, sys
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen()
u = socket.socket(socket.AF_UNIX); u.bind(sys.argv[2]); u.listen()
a = socket.socket(socket.AF_UNIX); a.bind("\0" + sys.argv[1]); a.listen()
open(sys.argv[3] + ".new", "w").write(str(t.getsockname()[1])); os.rename(sys.argv[3] + ".new", sys.argv[3])
while True: t.accept()
PY
cat >"$T/src/etc/reach.py" <<'PY'
import socket, sys
kind, where = sys.argv[1:]
s = socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX)
s.connect(("127.0.0.1", int(where)) if kind == "tcp" else "\0" + where if kind == "abstract" else where)
PY
start $PYTHON listen.py "$mark" "/run/$mark" "$T/port"
wait_for 10 test -s port
port=$(cat port)
for way in "tcp $port" "abstract $mark" "path /run/$mark"; do
	# shellcheck disable=SC2086
	$PYTHON "$T/src/etc/reach.py" $way || fail "not there from outside: $way"
done
assert_status 0 hf backup plan.yaml
book isolated.yaml <<PLAN
recovery:
  steps:
    - {id: files, restore: files, to: "\${work}/files"}
  checks:
    - {id: etc, kind: command, run: [sh, -c, "! touch /etc/$mark"]}
    - {id: source, kind: command, run: [sh, -c, "! touch $T/src/x"]}
    - {id: copies, kind: command, run: [sh, -c, "! touch $T/sites/north/x"]}
    - {id: remount, kind: command, run: [sh, -c, "! mount -o remount,rw /"]}
    - {id: uncover, kind: command, run: [sh, -c, "! umount $R/keys"]}
    - {id: disks, kind: command, run: [sh, -c, "test -z \"\$(find /dev -type b)\""]}
    - {id: nodes, kind: command, run: [sh, -c, "! mknod node b 254 0"]}
    - {id: sysctl, kind: command, run: [sh, -c, "! sh -c 'echo 1 >/proc/sys/kernel/sysrq'"]}
    - {id: tcp, kind: command, run: [sh, -c, "! $PYTHON $inside/reach.py tcp $port"]}
    - {id: abstract, kind: command, run: [sh, -c, "! $PYTHON $inside/reach.py abstract $mark"]}
    - {id: run, kind: command, run: [sh, -c, "! $PYTHON $inside/reach.py path /run/$mark"]}
    - {id: loopback, kind: command, run: [$PYTHON, -c, "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); socket.create_connection(s.getsockname())"]}
    - {id: processes, kind: command, run: [sh, -c, "! grep -qsF -f $inside/mark /proc/[0-9]*/cmdline"]}
    - {id: keys, kind: command, run: [sh, -c, "test -z \"\$(find $R/keys -type f)\""]}
    - {id: first, kind: command, run: [sh, -c, "! ls -l /proc/1/fd/3"]}
    - {id: work, kind: command, run: [sh, -c, "test \"\$WORK\" = \"\$PWD\" && touch \$HOLDFAST_WORK/x && touch /tmp/$mark.x /run/$mark.x"]}
    - {id: clean, kind: command, run: [sh, -c, "test -z \"\${LEAK:-}\""]}
PLAN
LEAK=1
export LEAK
assert_status 0 hf drill isolated.yaml
[ ! -e "/etc/$mark" ] || fail "the machine's /etc was written to"
[ ! -e "/tmp/$mark.x" ] && [ ! -e "/run/$mark.x" ] || fail "the machine's /tmp or /run was written to"
rm -f "/run/$mark"

note "without root the rehearsal goes into a user namespace, or says that it is not isolated"
if command -v setpriv >/dev/null; then
	mkdir "$T/plain" "$T/plain/src" "$T/plain/site"
	cp "$HOLDFAST" "$T/plain/holdfast"
	echo text >"$T/plain/src/file"
	cat >"$T/plain/plan.yaml" <<PLAN
plan: plain
targets: {rto: 1h, rpo: 1h}
sites: [{name: here, url: "file://$T/plain/site"}]
sources: [{name: files, paths: ["$T/plain/src"]}]
recovery:
  steps: [{id: files, restore: files, to: "\${work}/f"}]
  checks: [{id: bytes, kind: manifest, of: files}, {id: made, kind: command, run: [touch, x]}]
drill: {negative: [corrupt-pack]}
PLAN
	chmod 755 "$T"
	chown -R 65534:65534 "$T/plain"
	plain() { setpriv --reuid 65534 --regid 65534 --clear-groups "$T/plain/holdfast" --root "$T/plain/root" "$@"; }
	assert_status 0 plain init "$T/plain/plan.yaml"
	assert_status 0 plain backup "$T/plain/plan.yaml"
	assert_status 0 plain drill "$T/plain/plan.yaml"
	how=$(json 'd["extra"]["isolation"]["how"]' "$T/plain/root/results/plain/latest.json")
	echo "   $how"
	if [ "$how" = none ]; then
		assert_contains "$T/plain/root/results/plain/latest.json" "was not isolated"
	else
		assert_eq "$how" user-namespace "how it was isolated"
		assert_eq "$(json 'd["extra"]["isolation"]["mount"] and d["extra"]["isolation"]["pid"]' "$T/plain/root/results/plain/latest.json")" true "isolation without root"
	fi
fi

note "a drill that is killed: the next one writes its result first and cleans up behind it"
book stuck.yaml <<PLAN
recovery:
  steps:
    - {id: files, restore: files, to: "\${work}/files"}
    - {id: stuck, run: [sh, -c, "touch stuck; exec tail -f /dev/null"], needs: [files]}
PLAN
start "$HOLDFAST" --root "$R" drill stuck.yaml >stuck.out 2>&1
drill=$!
stuck() { find "$R/work" -name stuck | grep -q .; }
wait_for 20 stuck
assert_status 7 hf drill plan.yaml
assert_contains "$T/err" "another drill"
inner=$(pgrep -P "$drill")
kill -KILL "$drill"
wait "$drill" 2>/dev/null || :
gone() { ! kill -0 "$1" 2>/dev/null; }
wait_for 10 gone "$inner"
[ -n "$(find "$R/work" -mindepth 1)" ] || fail "there is nothing to clean up"
before=$(find "$R/results/demo" -name '*-drill-*' | wc -l)
assert_status 0 hf drill plan.yaml --no-negative
assert_contains "$T/err" "did not end"
assert_eq "$(find "$R/results/demo" -name '*-drill-*' | wc -l)" $((before + 2)) "results written"
assert_eq "$(grep -l '"outcome": *"crashed"' "$R"/results/demo/*-drill-* | wc -l)" 1 "results of a crash"
assert_eq "$(json 'd["outcome"]' "$latest")" "done" "the drill after it"
no_work_left
assert_status 0 hf evidence log --json
assert_eq "$(json '[(r["type"], r["body"].get("outcome")) for r in d][-3:]' "$T/out")" '[["drill", "crashed"], ["drill-start", null], ["drill", "done"]]' "records after a crash"
assert_status 0 hf evidence verify plan.yaml

note "stopped by a signal: it ends soon, says so, and leaves nothing"
start "$HOLDFAST" --root "$R" drill stuck.yaml >stuck.out 2>&1
drill=$!
wait_for 20 stuck
kill -TERM "$drill"
status=0
wait "$drill" || status=$?
assert_eq "$status" 1 "exit status of a drill that was stopped"
assert_eq "$(json 'd["extra"]["error"]["code"]' "$latest")" CANCELLED "why"
no_work_left

note "an installation in memory: its work directory is seen though /dev is made anew"
if [ -d /dev/shm ]; then
	shm=$(mktemp -d /dev/shm/holdfast-test.XXXXXX)
	mv "$R" "$shm/root" # moved, not copied: two installations with one log would be a fork
	assert_status 0 "$HOLDFAST" --root "$shm/root" drill plan.yaml
	assert_eq "$(json 'd["extra"]["isolation"]["mount"]' "$shm/root/results/demo/latest.json")" true "mounts apart"
	mv "$shm/root" "$R"
	rmdir "$shm"
fi

note "damage at one site: the other heals it, and the result says which was bad"
find "$T/sites/north/p" -type f >packs
while read -r pack; do
	for quarter in 1 2 3; do corrupt_byte "$pack" $(($(size_of "$pack") * quarter / 4)); done
done <packs
assert_status 0 hf drill plan.yaml --no-negative
assert_eq "$(json '[s["name"] for s in d["sites"] if s["bad_objects"]]' "$latest")" '["north"]' "the bad site"
assert_eq "$(json '[s["served_bytes"] > 0 for s in d["sites"] if s["name"] == "south"]' "$latest")" '[true]' "the good site served"
assert_contains "$latest" "site 'north' gave"

note "damage and no other copy: 6, with object and site"
mv "$T/sites/south" "$T/sites/away"
assert_status 6 hf drill plan.yaml
assert_contains "$T/err" "north"
assert_contains "$T/err" "p/"
assert_eq "$(json 'd["outcome"]' "$latest")" failed outcome
assert_eq "$(json '[s["outcome"] for s in d["sites"]]' "$latest")" '["damaged", "unreachable"]' sites
no_work_left

note "no site at all: 8, and a result all the same"
mv "$T/sites/north" "$T/sites/north-away"
assert_status 8 hf drill plan.yaml
assert_eq "$(json 'd["extra"]["error"]["code"]' "$latest")" UNREACHABLE "why"

note "every result file is valid"
if $PYTHON -c 'import jsonschema' 2>/dev/null; then
	$PYTHON - "$REPO/docs/format/result.schema.json" "$R"/results/demo/*.json <<'PY' || fail "a result does not fit the schema"
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
for path in sys.argv[2:]:
    jsonschema.validate(json.load(open(path)), schema)
PY
fi
echo "drills do what they must"

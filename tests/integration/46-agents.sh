#!/bin/sh
# Other machines: a protected host, a controller and a recovery host with roots of their own, and SSH between them. Who holds what, and who
# can make whom do what.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root # as everybody at once on this machine; the server lets root in
needs /usr/sbin/sshd ssh-keygen strace
$PYTHON -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)

H=$T/host V=$T/recovery # roots of the protected host and of the recovery host; $R is the controller's
mkdir -p "$H/sources.d" "$V/plans.d" "$T/data"
head -c 3000000 /dev/urandom >"$T/data/blob"
for i in $(seq 100); do echo "a secret that nobody may read, number $i" >"$T/data/f$i"; done

# --- an SSH server whose keys may start one program each ---
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
for who in backup drill signer; do ssh-keygen -q -t ed25519 -N '' -C "$who" -f "$T/$who.key"; done
SOURCE="$PROGRAMS/holdfast-source --root $H"
RECOVERY="$PROGRAMS/holdfast-recovery --root $V"
# allow SOURCE-COMMAND RECOVERY-COMMAND: what the two keys start from now on
allow() {
	printf 'restrict,command="%s" %s\n' "$1" "$(cat "$T/backup.key.pub")" "$2" "$(cat "$T/drill.key.pub")" >"$T/ssh/authorized_keys"
}
allow "$SOURCE" "$RECOVERY"

# the controller's plan: what it says of paths and hooks of `docs` is never to be done
plan_head far north south >"$T/plan.yaml"
cat >>"$T/plan.yaml" <<PLAN
owner: {name: Continuity office, contact: office@example.org}
sources:
  - name: docs
    host: "ssh://root@127.0.0.1:$port"
    identity: "$T/backup.key"
    known_hosts: "$T/ssh/known_hosts"
    paths: ["$T/elsewhere"]
    before: [["touch", "$T/the-controller-was-here"]]
  - {name: here, paths: ["$T/data/f1"]}
recovery:
  target: {host: "ssh://root@127.0.0.1:$port", identity: "$T/drill.key", known_hosts: "$T/ssh/known_hosts"}
  steps:
    - {id: files, restore: docs, to: "\${work}/files"}
    - {id: count, run: ["/bin/sh", "-c", "find files -type f | wc -l >count"], needs: [files]}
  checks:
    - {id: manifest, kind: manifest, of: docs}
    - {id: counted, kind: command, run: ["/bin/sh", "-c", "test \$(cat count) = 102"], needs: [count]}
    - {id: fresh, kind: freshness, of: docs, max_age: 30m}
drill: {negative: [corrupt-pack, wrong-key, stale-snapshot]}
PLAN
latest=$R/results/far/latest.json
# of KEY: a member of what the last result tells of the source docs
of() {
	json "[x for x in d['sources'] if x['name'] == 'docs'][0]['$1']" "$latest"
}

note "a recovery host that has not taken this plan makes no key for it and carries nothing out"
assert_status 1 hf init "$T/plan.yaml"
assert_contains "$T/err" "does not let plan 'far' be carried out"
assert_contains "$T/err" "$V/plans.d/far.sha256"
[ ! -e "$V/keys" ] || fail "keys were made"
(cd "$T" && sha256sum plan.yaml) >"$V/plans.d/far.sha256"
chmod 644 "$V/plans.d/far.sha256"

note "a host that does not know the source does nothing, and says what to write"
assert_status 1 hf init "$T/plan.yaml"
assert_contains "$T/err" "does not know a source 'docs'"
assert_contains "$T/err" "$H/sources.d/docs.yaml"
[ ! -e "$H/keys" ] || fail "keys were made"

note "what others can write to decides nothing"
cat >"$H/sources.d/docs.yaml" <<SOURCE
name: docs
paths: ["$T/data"]
before: [["sh", "-c", "echo before >>$T/hooks"]]
after: [["sh", "-c", "echo after >>$T/hooks"]]
SOURCE
chmod 666 "$H/sources.d/docs.yaml"
assert_status 1 hf init "$T/plan.yaml"
assert_contains "$T/err" "may be written by others"
chmod 644 "$H/sources.d/docs.yaml"

note "keys are made where they belong, after all these beginnings, and init can be run again"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf init "$T/plan.yaml"
[ -f "$H/keys/sources/far.docs.1.key" ] || fail "no keys on the protected host"
[ ! -e "$R/keys/sources/far.docs.1.key" ] || fail "the controller has the source's keys"
[ -f "$V/keys/recovery/far.key" ] || fail "no opening key on the recovery host"
assert_eq "$(find "$R/keys/recovery" "$H" -name far.key | wc -l)" 0 "opening keys elsewhere"
# the root key is taken away, as the guide says
mv "$R/keys/root.key" "$T/root.key"

note "backup: the host's own description counts, not the paths and hooks of the controller's plan"
assert_status 0 hf backup "$T/plan.yaml"
assert_eq "$(of outcome)" "done" outcome
assert_eq "$(of host)" "ssh://root@127.0.0.1:$port" host
assert_eq "$(of files)" 101 files
assert_eq "$(of copies)" 2 copies
assert_eq "$(tr '\n' ' ' <"$T/hooks")" "before after " "hooks of the host"
[ ! -e "$T/the-controller-was-here" ] || fail "a command of the controller was run"
assert_status 0 hf verify "$T/plan.yaml"

note "the agent on the protected host touches no site and no opening key, and connects to nobody"
allow "strace -f -qq -e trace=%file,connect -o $T/trace $SOURCE" "$RECOVERY"
echo more >"$T/data/more"
assert_status 0 hf backup "$T/plan.yaml"
assert_eq "$(of seq)" 2 seq
assert_less "$(of added_bytes)" 100000 "bytes sent by the second run"
assert_contains "$T/trace" "$H/sources.d/docs.yaml"
assert_contains "$T/trace" '"more"'
for what in "$T/sites" "$R" recovery AF_INET; do assert_lacks "$T/trace" "$what"; done
allow "$SOURCE" "$RECOVERY"
assert_eq "$(cd "$H/keys" && find . -type f | sort | tr '\n' ' ')" "./root.pub ./sources/far.docs.1.key " "keys of the protected host"
if grep -rqaF "$T/sites" "$H"; then fail "the protected host knows where the sites are"; fi
if find "$H/keys" "$H/state" "$V/keys" -perm /077 -type f ! -name root.pub | grep -q .; then fail "secrets that others can read"; fi

note "nothing that the controller or the protected host holds opens a copy; the recovery host's key does"
for root in "$R" "$H"; do
	$PYTHON "$REPO/tests/lib/host_keys.py" "$root" "$T/sites/north" "$V/keys/recovery/far.key" docs || fail "see above"
done
if grep -rqaF "a secret that nobody may read" "$R" "$H" "$T/sites"; then fail "plaintext was found"; fi

note "a dry run over there writes nothing anywhere"
find "$T/sites" -type f | sort >"$T/before"
assert_status 0 hf backup "$T/plan.yaml" --dry-run
find "$T/sites" -type f | sort >"$T/after"
cmp -s "$T/before" "$T/after" || fail "a dry run wrote to a site"

note "a controller that is interrupted stops its agent; one that is killed leaves none behind"
cp "$H/sources.d/docs.yaml" "$T/docs.yaml"
sed -i "s#echo before >>$T/hooks#echo \\$\\$ >$T/hook.pid; exec sleep 1000#" "$H/sources.d/docs.yaml"
for signal in TERM KILL; do
	rm -f "$T/hook.pid"
	start "$HOLDFAST" --root "$R" backup "$T/plan.yaml" --source docs >"$T/out" 2>"$T/err"
	controller=$!
	wait_for 20 test -s "$T/hook.pid"
	kill -"$signal" "$controller"
	got=0
	wait "$controller" 2>/dev/null || got=$?
	[ "$got" != 0 ] || fail "an interrupted run says that it is done"
	wait_for 20 sh -c "! kill -0 $(cat "$T/hook.pid") 2>/dev/null"
done
cp "$T/docs.yaml" "$H/sources.d/docs.yaml"
assert_status 0 hf backup "$T/plan.yaml"

note "a drill over there, planted faults included"
assert_status 0 hf drill "$T/plan.yaml"
assert_eq "$(json 'd["outcome"]' "$latest")" "done" outcome
assert_eq "$(json 'd["summary"]["checks_passed"]' "$latest")" 6 "checks that passed"
assert_eq "$(json 'd["extra"]["recovery_host"]' "$latest")" "ssh://root@127.0.0.1:$port" "recovery host"
assert_eq "$(json 'd["extra"]["isolation"]["net"] and d["extra"]["isolation"]["mount"]' "$latest")" true isolation
assert_eq "$(json 'd["extra"]["cleanup"]["proven"]' "$latest")" true "proven clean-up"
assert_eq "$(json 'd["rto"]["met"] and d["rpo"]["met"]' "$latest")" true targets
assert_eq "$(json '[p for p in ("declared", "key_released", "first_byte", "data_restored", "verified", "checks_passed", "service_back") if not d["clocks"][p]]' "$latest")" '[]' "clocks that stand"
assert_eq "$(find "$V/work" -mindepth 1 | wc -l)" 0 "what is left of the work directory"

note "the runbook of another version of the plan is not carried out, whatever the controller says"
sed "s#wc -l >count#wc -l >count; touch $V/ran#" "$T/plan.yaml" >"$T/other.yaml"
assert_status 1 hf drill "$T/other.yaml" --no-negative
assert_contains "$T/err" "does not list this version of the plan"
[ ! -e "$V/ran" ] || fail "it was carried out"

note "a restore over there goes below one directory"
assert_status 0 hf restore "$T/plan.yaml" --source docs --to back
same_tree "$T/data" "$V/restored/back$T/data"
assert_eq "$(json 'd["checks"][0]["outcome"]' "$latest")" passed "manifest check"
for to in /root/elsewhere ../elsewhere .ssh; do
	assert_status 2 hf restore "$T/plan.yaml" --source docs --to "$to"
	assert_contains "$T/err" "no place to restore to"
done

note "damage at a site is met, healed from the other one and told"
pack=$(largest "$T/sites/north/p/docs")
corrupt_byte "$pack" 1000000
assert_status 0 hf drill "$T/plan.yaml" --no-negative
assert_eq "$(json '[(s["name"], s["outcome"]) for s in d["sites"]]' "$latest")" '[["north", "damaged"], ["south", "served"]]' "who served"
corrupt_byte "$pack" 1000000

note "a plan signed by somebody whom the host knows describes a source; any other signature does not"
mv "$H/sources.d/docs.yaml" "$T/docs.yaml"
signed=$T/signed.yaml
sed "s#$T/elsewhere#$T/data#" "$T/plan.yaml" >"$signed"
ssh-keygen -q -Y sign -f "$T/signer.key" -n holdfast-plan@v1 "$signed" 2>/dev/null
assert_status 1 hf backup "$signed" --source docs
assert_contains "$T/err" "does not know a source 'docs'"
printf 'office namespaces="holdfast-plan@v1",valid-before="20200101Z" %s\n' "$(cat "$T/signer.key.pub")" >"$H/allowed_signers"
assert_status 1 hf backup "$signed" --source docs
assert_contains "$T/err" "nobody may sign"
printf 'office namespaces="holdfast-plan@v1",valid-before="20990101Z" %s\n' "$(cat "$T/signer.key.pub")" >"$H/allowed_signers"
assert_status 0 hf backup "$signed" --source docs
[ -e "$T/the-controller-was-here" ] || fail "the hook of a signed plan was not run"
echo "# changed behind the signature" >>"$signed"
assert_status 1 hf backup "$signed" --source docs
assert_contains "$T/err" "by nobody who may give it"
mv "$T/docs.yaml" "$H/sources.d/docs.yaml"

note "another installation's controller gets no word in"
R2=$T/root2
sed "s#$T/sites#$T/sites2#" "$T/plan.yaml" >"$T/foreign.yaml"
mkdir -p "$T/sites2/north" "$T/sites2/south"
(cd "$T" && sha256sum foreign.yaml) >>"$V/plans.d/far.sha256"
assert_status 2 "$HOLDFAST" --root "$R2" init "$T/foreign.yaml"
assert_contains "$T/err" "opens another repository"
mv "$V/keys/recovery/far.key" "$T/far.key"
assert_status 1 "$HOLDFAST" --root "$R2" init "$T/foreign.yaml"
assert_contains "$T/err" "this host belongs to another installation"
mv "$T/far.key" "$V/keys/recovery/far.key"

note "a missing program, another program and a stranger's key are told, with what to do"
allow "$T/none/holdfast-source" "$RECOVERY"
assert_status 1 hf backup "$T/plan.yaml" --source docs
assert_contains "$T/err" "scp -P $port $PROGRAMS/holdfast-source root@127.0.0.1:/usr/local/bin/"
allow "$RECOVERY" "$RECOVERY"
assert_status 2 hf backup "$T/plan.yaml" --source docs
assert_contains "$T/err" "answers as 'holdfast-recovery'"
allow "echo Welcome to this host" "$RECOVERY"
assert_status 1 hf backup "$T/plan.yaml" --source docs
assert_contains "$T/err" "Welcome to this host"
: >"$T/ssh/authorized_keys"
assert_status 1 hf backup "$T/plan.yaml" --source docs
assert_contains "$T/err" "source 'docs'"
assert_eq "$(of outcome)" failed "the source"
assert_eq "$(json 'd["outcome"]' "$latest")" failed "the run"
allow "$SOURCE" "$RECOVERY"

note "all of it is in the evidence"
assert_status 0 hf backup "$T/plan.yaml"
assert_status 0 hf evidence verify "$T/plan.yaml"
assert_status 0 hf verify "$T/plan.yaml"
if $PYTHON -c 'import jsonschema' 2>/dev/null; then
	$PYTHON - "$REPO/docs/format/result.schema.json" "$R"/results/far/*.json <<'PY' || fail "a result does not fit the schema"
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
for path in sys.argv[2:]:
    jsonschema.validate(json.load(open(path)), schema)
PY
fi
echo "each holds what it must, and no more"

#!/bin/sh
# Other machines: a protected host, a controller and a recovery host with roots of their own, and SSH between them. Who holds what, and who
# can make whom do what.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root # as everybody at once on this machine; the server lets root in
needs sshd ssh-keygen strace
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)

H=$T/host V=$T/recovery # roots of the protected host and of the recovery host; $R is the controller's
mkdir -p "$H/sources.d" "$V" "$T/data"
head -c 3000000 /dev/urandom >"$T/data/blob"
for i in $(seq 100); do echo "a secret that nobody may read, number $i" >"$T/data/f$i"; done

# --- an SSH server whose keys may start one program each ---
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
for who in backup drill; do ssh-keygen -q -t ed25519 -N '' -C "$who" -f "$T/$who.key"; done
allow() {
	printf 'restrict,command="%s" %s\n' "$PROGRAMS/holdfast-source --root $H" "$(cat "$T/backup.key.pub")"
	printf 'restrict,command="%s" %s\n' "$PROGRAMS/holdfast-recovery --root $V" "$(cat "$T/drill.key.pub")"
}
allow >"$T/ssh/authorized_keys"

plan() {
	plan_head far north south
	cat <<PLAN
sources:
  - {name: docs, host: "ssh://root@127.0.0.1:$port", identity: "$T/backup.key", known_hosts: "$T/ssh/known_hosts", paths: ["$T/elsewhere"]}
  - {name: here, paths: ["$T/data/f1"]}
PLAN
}
plan >"$T/plan.yaml"
# of KEY: a member of what is told of the source docs in the last result
of() {
	json "[x for x in d['sources'] if x['name'] == 'docs'][0]['$1']" "$R/results/far/latest.json"
}

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

note "keys are made on the protected host; only their public half comes back"
assert_status 0 hf init "$T/plan.yaml"
[ -f "$H/keys/sources/far.docs.1.key" ] || fail "no keys on the host"
[ ! -e "$R/keys/sources/far.docs.1.key" ] || fail "the controller has the source's keys"
assert_status 0 hf init "$T/plan.yaml"

note "backup: the host's own description counts, not the paths of the controller's plan"
assert_status 0 hf backup "$T/plan.yaml"
assert_eq "$(of outcome)" done outcome
assert_eq "$(of host)" "ssh://root@127.0.0.1:$port" host
assert_eq "$(of files)" 101 files
assert_eq "$(of copies)" 2 copies
assert_eq "$(tr '\n' ' ' <"$T/hooks")" "before after " "hooks on the host"
assert_status 0 hf evidence verify "$T/plan.yaml"
assert_status 0 hf verify "$T/plan.yaml"
echo more >"$T/data/more"
assert_status 0 hf backup "$T/plan.yaml"
assert_eq "$(of seq)" 2 seq
assert_less "$(of added_bytes)" 100000 "bytes sent by the second run"

# --- the recovery host ---
cat >>"$T/plan.yaml" <<PLAN
owner: {name: Continuity office, contact: office@example.org}
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
mkdir -p "$V/keys/recovery" "$V/plans.d"
chmod 700 "$V/keys"
mv "$R/keys/recovery/far.key" "$V/keys/recovery/"
rmdir "$R/keys/recovery"
latest=$R/results/far/latest.json

note "a recovery host that has not taken this plan does not carry it out"
assert_status 1 hf drill "$T/plan.yaml"
assert_contains "$T/err" "does not let plan 'far' be carried out"
assert_contains "$T/err" "$V/plans.d/far.sha256"
(cd "$T" && sha256sum plan.yaml) >"$V/plans.d/far.sha256"
chmod 644 "$V/plans.d/far.sha256"

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

note "a restore over there"
assert_status 0 hf restore "$T/plan.yaml" --source docs --to back
same_tree "$T/data" "$V/restored/back$T/data"
assert_eq "$(json 'd["checks"][0]["outcome"]' "$latest")" passed "manifest check"
assert_status 2 hf restore "$T/plan.yaml" --source docs --to /root/elsewhere
assert_contains "$T/err" "no place to restore to"
assert_status 0 hf evidence verify "$T/plan.yaml"

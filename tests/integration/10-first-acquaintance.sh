#!/bin/sh
# The commands a newcomer tries first, as the manual has them: they work as they stand, their JSON parses, their exit status is right.
. "$(dirname "$0")/../lib/lib.sh"

mkdir -p "$T/docs/deep" "$T/sites"
echo one >"$T/docs/one.txt"
head -c 300000 /dev/urandom >"$T/docs/deep/two.bin"
ln -s one.txt "$T/docs/link"
cat >"$T/plan.yaml" <<PLAN
plan: first
targets: {rto: 1h, rpo: 1h}
sources:
  - {name: docs, paths: ["$T/docs"]}
sites:
  - {name: here, url: "file://$T/sites/here"}
recovery:
  steps:
    - {id: docs, restore: docs, to: "\${work}/docs"}
  checks:
    - {id: bytes, kind: manifest, of: docs}
PLAN
inside=${T#/}/docs
cd "$T" || exit

note "commands that need no installation"
assert_status 0 "$HOLDFAST" version
assert_status 0 "$HOLDFAST" version --json
json 'd["version"]' "$T/out" >/dev/null
assert_status 0 "$HOLDFAST" help
for word in init backup restore drill evidence; do assert_contains "$T/out" "$word"; done
assert_status 0 "$HOLDFAST" backup --help
assert_status 0 hf plan check plan.yaml
assert_status 0 hf plan check plan.yaml --json
json 'len(d)' "$T/out" >/dev/null
assert_status 0 hf plan show plan.yaml
assert_status 0 hf plan new mine --template files --output mine.yaml
assert_contains mine.yaml 'plan: mine'

note "before init a backup says what to do"
assert_status 2 hf backup plan.yaml
assert_contains "$T/err" 'hint:'
assert_contains "$T/err" 'holdfast init'

note "init, twice"
assert_status 0 hf init plan.yaml
assert_contains "$T/out" keep_offline
sums "$R/keys" >keys.before
assert_status 0 hf init plan.yaml
sums "$R/keys" >keys.after
cmp keys.before keys.after || fail "a second init changed keys"
[ -z "$(find "$R/keys" -type f ! -name '*.pub' -perm /077)" ] || fail "a key is readable by others"

note "backup and snapshots"
assert_status 0 hf backup plan.yaml
assert_status 0 hf backup plan.yaml --json
assert_eq "$(json 'd["outcome"]' "$T/out")" "done" "outcome of a backup"
assert_status 0 hf snapshots plan.yaml --json
assert_eq "$(json '[s["seq"] for s in d]' "$T/out")" "[1, 2]" "sequence numbers"
for key in source seq id time files bytes added skipped; do json "d[0][\"$key\"]" "$T/out" >/dev/null; done
assert_eq "$(json 'd[0]["source"]' "$T/out")" docs source
assert_eq "$(json 'd[0]["files"]' "$T/out")" 2 files
assert_eq "$(json 'd[0]["bytes"]' "$T/out")" 300004 bytes

note "ls and diff"
assert_status 0 hf ls plan.yaml --source docs
assert_contains "$T/out" "$inside/deep/two.bin"
assert_status 0 hf ls plan.yaml --json "$inside/deep"
assert_eq "$(json 'sorted(e["path"].split("/docs/")[1] for e in d)' "$T/out")" '["deep", "deep/two.bin"]' "listed paths"
echo changed >"$T/docs/one.txt"
assert_status 0 hf backup plan.yaml
assert_status 0 hf diff plan.yaml --against 2 --json
assert_eq "$(json '[e["change"] for e in d if e["path"].endswith("one.txt")]' "$T/out")" '["modified"]' "diff"

note "restore, whole and in part"
assert_status 0 hf restore plan.yaml --source docs --snapshot latest --to whole
diff -r docs "whole/$inside" || fail "the restored tree differs"
assert_eq "$(readlink "whole/$inside/link")" one.txt "symbolic link"
assert_status 0 hf restore plan.yaml --source docs --snapshot latest --to part "$inside/deep" --json
assert_eq "$(json 'd["outcome"]' "$T/out")" "done" "outcome of a restore"
assert_eq "$(find part -type f | wc -l)" 1 "files restored in part"
assert_status 0 hf restore plan.yaml --snapshot 1 --strip "$(depth "$T/docs")" --to old
assert_eq "$(cat old/one.txt)" one "content of the first snapshot"
assert_status 2 hf restore plan.yaml --to whole

note "export"
assert_status 0 hf export plan.yaml --source docs --snapshot latest --output docs.tar
mkdir untar && tar -C untar -xf docs.tar
diff -r docs "untar/$inside" || fail "the exported archive differs"

note "verify, status, evidence"
assert_status 0 hf verify plan.yaml
assert_status 0 hf verify plan.yaml --data
assert_status 0 hf verify plan.yaml --data --json
assert_eq "$(json 'd["outcome"]' "$T/out")" "done" "outcome of verify"
assert_status 0 hf replicate plan.yaml

note "drill"
assert_status 0 hf drill plan.yaml
assert_status 0 hf drill plan.yaml --json
assert_eq "$(json 'd["rto"]["met"]' "$T/out")" true "recovery time met"
json 'd["outcome"]' "$R/results/first/latest.json" >/dev/null
[ -s "$R/metrics/holdfast.prom" ] || fail "no metrics"
assert_eq "$(find "$R/work" -mindepth 1 | wc -l)" 0 "what a drill leaves behind"
assert_status 0 hf status plan.yaml --json
json 'len(d)' "$T/out" >/dev/null
assert_status 0 hf evidence log --json
json 'd[0]["seq"]' "$T/out" >/dev/null
assert_status 0 hf evidence verify
assert_status 0 hf evidence verify plan.yaml --json
json 'd' "$T/out" >/dev/null

note "every result file is valid"
if $PYTHON -c 'import jsonschema' 2>/dev/null; then
	$PYTHON - "$REPO/docs/format/result.schema.json" "$R"/results/first/*.json <<'PY' || fail "a result does not fit the schema"
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
for path in sys.argv[2:]:
    jsonschema.validate(json.load(open(path)), schema)
PY
fi

note "mistakes give exit status 2 and say where"
assert_status 2 "$HOLDFAST"
assert_status 2 hf no-such-command
assert_status 2 hf backup
assert_status 2 hf backup plan.yaml --no-such-option
assert_status 2 hf backup missing.yaml
assert_status 2 hf backup plan.yaml --source nothing
assert_status 2 hf restore plan.yaml --snapshot 99 --to nowhere
assert_status 2 hf ls plan.yaml --source nothing --json
json 'd["error"]' "$T/out" >/dev/null
sed 's/targets:/tragets:/' plan.yaml >wrong.yaml
assert_status 2 hf plan check wrong.yaml
assert_contains "$T/out" "wrong.yaml:2:1"
assert_contains "$T/out" targets

note "damage gives exit status 6 and is named"
pack=$(largest "$T/sites/here/p")
corrupt_byte "$pack" 100
assert_status 6 hf verify plan.yaml
assert_contains "$T/out" "${pack##*/}"
echo "all as the manual has it"

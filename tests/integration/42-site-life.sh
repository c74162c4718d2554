#!/bin/sh
# The life of sites: probed and held to what the plan says of them, behind and caught up, damaged and repaired from each other.
. "$(dirname "$0")/../lib/lib.sh"
$PYTHON -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

# row SITE FIELD: of the last `status --json`
row() {
	json "[s for s in d[0]['sites'] if s['name'] == '$1'][0]['$2']" "$T/out"
}

# site_row SITE FIELD: of the last result
site_row() {
	json "[s for s in d['sites'] if s['name'] == '$1'][0].get('$2')" "$T/out"
}

simple_plan "$T/plan.yaml" one two
sed -i '/name: two/s/}$/, immutable: 35d}/' "$T/plan.yaml"
echo 'copies: {min: 1}' >>"$T/plan.yaml"
head -c 3000000 /dev/urandom >"$T/src/large"
for i in 1 2 3 4 5 6 7 8 9; do echo "small $i" >"$T/src/s$i"; done

note "init probes each site once and says what is weaker than the plan"
assert_status 0 hf init "$T/plan.yaml"
assert_contains "$T/err" "site 'two' keeps objects unchanged for no time, and the plan says 35 d"
assert_lacks "$T/err" "site 'one'"
assert_status 0 hf init "$T/plan.yaml"
assert_eq "$(find "$R/results" -name '*-probe-*' | wc -l)" 1 "probes after two runs of init"
assert_status 0 hf backup "$T/plan.yaml" --json
assert_eq "$(json 'd["findings"][0]["severity"]' "$T/out")" high "finding of a backup"
assert_contains "$T/err" "the plan says 35 d"
assert_lacks "$T/err" "site probe"

note "site probe: class and points, a result, metrics, evidence; status and plan check go by it"
assert_status 4 hf site probe "$T/plan.yaml" --json
assert_eq "$(site_row one class) $(site_row one outcome) $(site_row two outcome)" "mutable done weak" "probed sites"
assert_eq "$(json '[p["answer"] for p in d["extra"]["probes"][0]["points"] if p["point"] in ("create_only", "one_winner", "read_after_write", "list_after_write")]' "$T/out")" \
	'["yes", "yes", "yes", "yes"]' "points"
assert_contains "$R/metrics/holdfast.prom" 'holdfast_site_class{plan="simple",site="one",class="mutable"} 1'
assert_contains "$R/metrics/holdfast.prom" 'holdfast_site_immutable{plan="simple",site="two"} 0'
assert_status 0 hf evidence log "$T/plan.yaml"
assert_contains "$T/out" probe
assert_status 0 hf plan check "$T/plan.yaml"
assert_contains "$T/out" "site 'two' does not lock objects as long as the plan says"
assert_status 1 hf status "$T/plan.yaml" --json
assert_eq "$(row two weak) $(row one weak) $(row one class)" "true false mutable" "sites in status"
assert_contains "$T/out" '"weak site"'
assert_status 0 hf site probe "$T/plan.yaml" --site one
assert_contains "$R/metrics/holdfast.prom" 'holdfast_site_class{plan="simple",site="two",class="mutable"} 1'
assert_status 2 hf site probe "$T/plan.yaml" --site nowhere
assert_contains "$T/err" "one, two"

note "an old probe is warned of"
for f in "$R"/results/simple/*-probe-*; do
	$PYTHON - "$f" <<'PY'
import json, os, sys
d = json.load(open(sys.argv[1]))
d["finished"] = "2020" + d["finished"][4:]
os.chmod(sys.argv[1], 0o644)
json.dump(d, open(sys.argv[1], "w"))
PY
done
assert_status 0 hf backup "$T/plan.yaml"
assert_contains "$T/err" "its last probe is older than 7 days"

note "a site without locks is told where the plan promises them"
assert_status 4 hf site locks "$T/plan.yaml"
assert_contains "$T/out" "site 'two' has no locks"
sed -i 's/, immutable: 35d//' "$T/plan.yaml"
assert_status 0 hf site locks "$T/plan.yaml"
assert_status 0 hf site probe "$T/plan.yaml"

note "a site is away: how far it is behind is known through every run"
mv "$T/sites/two" "$T/two.away"
for run in 3 4 5; do
	echo "run $run" >"$T/src/s$run"
	assert_status 0 hf backup "$T/plan.yaml" --json
	assert_eq "$(site_row two behind) $(site_row two outcome)" "$((run - 2)) unreachable" "backlog after run $run"
done
assert_contains "$R/metrics/holdfast.prom" 'holdfast_site_behind{plan="simple",site="two"} 3'
assert_status 0 hf evidence log "$T/plan.yaml" --json
assert_eq "$(json '[r for r in d if r["type"] == "backup"][-1]["body"]["sites"][1]["behind"]' "$T/out")" 3 "backlog in the evidence"
assert_status 1 hf status "$T/plan.yaml" --json
assert_eq "$(row two behind) $(row two reachable) $(row two newest_seq)" "3 false 2" "a site that is away in status"
assert_less 0 "$(row two behind_ms)" "age of its newest against the newest"
rm "$R/state/simple/.sites.json"
assert_status 1 hf status "$T/plan.yaml" --json
assert_eq "$(row two behind)" null "a backlog that nobody knows"

note "it is back: the next run brings it up to date behind itself, oldest first"
mv "$T/two.away" "$T/sites/two"
assert_status 0 hf backup "$T/plan.yaml" --json --no-replicate
assert_eq "$(site_row two behind) $(site_row two outcome)" "null behind" "a run that leaves it behind"
assert_status 0 hf status "$T/plan.yaml" --json
assert_eq "$(row two behind)" 4 "found by asking"
sed -i 's/copies: {min: 1}/copies: {min: 2}/' "$T/plan.yaml"
echo "run 7" >"$T/src/s7"
sums "$T/src" >"$T/sums.7"
assert_status 0 hf backup "$T/plan.yaml" --json
assert_eq "$(site_row two behind) $(site_row two outcome) $(json 'd["sources"][0]["copies"]' "$T/out")" "0 committed 2" "caught up within the run"
assert_eq "$(json 'd["extra"]["replicated"]["snapshots"]' "$T/out")" 5 "snapshots brought"
assert_status 0 hf snapshots "$T/plan.yaml" --site two --json
assert_eq "$(json '[s["seq"] for s in d]' "$T/out")" "[1, 2, 3, 4, 5, 6, 7]" "snapshots at the site that was away"
echo "run 8" >"$T/src/s8"
assert_status 0 hf backup "$T/plan.yaml" --json
assert_eq "$(json 'd["sites"] == [dict(s, outcome="committed", behind=0) for s in d["sites"]] and "replicated" not in d["extra"]' "$T/out")" true "the run after it"
assert_status 0 hf status "$T/plan.yaml"
assert_status 0 hf verify "$T/plan.yaml" --data

# flip_each DIR [PATTERN]: a byte in the middle of every file
flip_each() {
	find "$1" -type f -name "${2:-*}" >"$T/files"
	while read -r file; do
		chmod u+w "$file"
		corrupt_byte "$file" $(($(size_of "$file") / 2))
	done <"$T/files"
	[ -s "$T/files" ] || fail "nothing to damage in $1"
}

# whole_alone: with site one gone, snapshots are restored from two
whole_alone() {
	assert_status 0 hf verify "$T/plan.yaml" --site two
	assert_status 0 hf verify "$T/plan.yaml" --site two --data
	mv "$T/sites/one" "$T/one.gone"
	rm -rf "$R/state/simple/files/index"
	for snapshot in 7 latest; do
		rm -rf "$T/restored"
		assert_status 0 hf restore "$T/plan.yaml" --site two --snapshot $snapshot --strip "$(depth "$T/src")" --to "$T/restored"
		sums "$T/restored" | cmp - "$T/sums.$snapshot" || fail "snapshot $snapshot differs"
	done
	mv "$T/one.gone" "$T/sites/one"
	# and by who has read the format page only
	assert_status 0 "$PYTHON" -B "$REPO/tests/reader/holdfast_reader.py" --site "$two" --key "$R/keys/recovery/simple.key" verify
}

# objects FILE: digests of what lies at site two, but for the evidence
objects() {
	find "$two" -type f ! -path "$two/l/*" -exec sha256sum {} + | sort >"$1"
}

# repaired WHAT: damage was done to site two
repaired() {
	note "repair: $1"
	objects "$T/before"
	assert_status 6 hf verify "$T/plan.yaml" --site two
	assert_status 0 hf verify "$T/plan.yaml" --repair --site two
	objects "$T/after"
	comm -23 "$T/before" "$T/after" >"$T/changed"
	assert_empty "$T/changed" "changed or removed by the repair"
	whole_alone
	echo "after $1" >"$T/src/s9"
	sums "$T/src" >"$T/sums.latest"
	assert_status 0 hf backup "$T/plan.yaml" --json
	assert_eq "$(site_row two outcome)" committed "a backup after the repair"
	assert_status 0 hf verify "$T/plan.yaml"
}
two=$T/sites/two
sums "$T/src" >"$T/sums.latest"

flip_each "$two/p"
repaired "every pack is damaged"
find "$two/p" -type f | awk 'NR % 2' | xargs rm
repaired "every other pack is gone"
rm -r "$two/p"
repaired "all packs are gone"
flip_each "$two/w" fate
repaired "every fate is damaged"
find "$two/w" -name fate | awk 'NR % 3 == 1' | xargs rm
repaired "fates are gone"
flip_each "$two/w" open
repaired "every intent is damaged"
flip_each "$two/s"
repaired "every copy of a snapshot is damaged"
flip_each "$two/i" 'm.*'
repaired "every merged index is damaged"
flip_each "$two/r"
repaired "every receipt is damaged"

note "repair: configuration and keys, which have no other name"
flip_each "$two/cfg"
assert_status 6 hf verify "$T/plan.yaml" --site two
assert_status 0 hf verify "$T/plan.yaml" --repair
whole_alone
rm "$two/cfg/0"
assert_status 0 hf verify "$T/plan.yaml" --repair
flip_each "$two/k"
assert_status 0 hf verify "$T/plan.yaml" --repair
whole_alone

note "what is whole nowhere stays told"
flip_each "$two/p"
flip_each "$T/sites/one/p"
assert_status 6 hf verify "$T/plan.yaml" --repair
assert_contains "$T/err" "whole at no site"
assert_status 0 hf evidence verify "$T/plan.yaml"
echo "sites lived as they should"

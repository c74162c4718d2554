#!/bin/sh
# The demonstration runs, twice, and what it leaves serves to show that its drill fails when it must.
. "$(dirname "$0")/../lib/lib.sh"
needs openssl sqlite3
R=$T/demo

note "it runs, and runs again"
for run in 1 2; do
	began=$(date +%s)
	assert_status 0 "$REPO/examples/demo.sh" "$HOLDFAST" "$R"
	echo "run $run: $(($(date +%s) - began)) s"
	for text in '280 valid, 20 revoked' '317 valid, 23 revoked' '1106 km away' 'drill of demo' 'recovery time' 'recovery point' 'slowest path' \
		'negative:corrupt-pack' 'negative:wrong-key' 'negative:stale-snapshot' 'SITES' "$R/results/demo/latest.json" "$R/metrics/holdfast.prom" \
		"$R/log"; do
		assert_contains "$T/out" "$text"
	done
	assert_lacks "$T/out" 'FAILED '
	assert_lacks "$T/out" 'The demonstration ends here'
done
assert_eq "$(json 'd["outcome"]' "$R/results/demo/latest.json")" "done" "outcome of the drill"
assert_eq "$(json 'd["rto"]["met"] and d["rpo"]["met"]' "$R/results/demo/latest.json")" true "targets met"
json '" ".join(sorted(c["id"] for c in d["checks"] if c["outcome"] == "passed"))' "$R/results/demo/latest.json" >"$T/passed"
for check in ca-bytes document-bytes certificates revocations index-and-registry fresh; do assert_contains "$T/passed" $check; done
assert_eq "$(find "$R/work" -mindepth 1 | wc -l)" 0 "what the drill leaves behind"
assert_status 2 "$REPO/examples/demo.sh" "$HOLDFAST" "$T"
assert_contains "$T/err" 'not made by this script'

# variant NAME SED...: the plan, changed; only the authority and its register, which makes the drills short
plan=$R/plans/demo.yaml
variant() {
	sed "/restore: documents/d; /of: documents/d; $2" "$plan" >"$T/$1.yaml"
	variant_plan=$T/$1.yaml
}

note "a certificate removed by a step makes the drill fail, and the check is named"
lost=$(awk -F '\t' '$1 == "V" {print $4; exit}' "$R/ca/issuing/index.txt")
variant lost "s|^  checks:|    - {id: lose, run: [\"rm\", \"\${work}/ca/issuing/newcerts/$lost.pem\"], needs: [issue]}\n&|; s|verify-certs.sh\"\], needs: \[issue\]|verify-certs.sh\"], needs: [lose]|"
assert_status 1 hf drill "$variant_plan" --no-negative --json
assert_eq "$(json '[c["id"] for c in d["checks"] if c["outcome"] == "failed"]' "$T/out")" '["certificates"]' "checks that failed"
assert_eq "$(json 'd["outcome"]' "$T/out")" failed outcome

note "a recovery time of 1 ms is missed: exit status 4"
variant hasty 's|rto: 5m|rto: 1ms|'
assert_status 4 hf drill "$variant_plan" --no-negative --json
assert_eq "$(json 'd["rto"]["met"]' "$T/out")" false "recovery time met"
assert_eq "$(json 'd["outcome"]' "$T/out")" "done" outcome

note "one byte of a pack flipped at one site: the drill passes, is served from the other, and says so"
pack=$(largest "$R/sites/berlin/p/documents")
corrupt_byte "$pack" $(($(size_of "$pack") / 2))
assert_status 0 hf drill demo --no-negative --json
assert_eq "$(json 'd["outcome"]' "$T/out")" "done" outcome
assert_eq "$(json '[s["name"] for s in d["sites"] if s["bad"]]' "$T/out")" '["berlin"]' "sites with damage"
json '[s["bad"] for s in d["sites"] if s["name"] == "berlin"]' "$T/out" >"$T/bad"
assert_contains "$T/bad" "${pack##*/}"
assert_eq "$(json '[s["served_bytes"] > 0 for s in d["sites"] if s["name"] == "helsinki"]' "$T/out")" '[true]' "served by the good site"

note "the good site removed as well: the drill fails and names object and site"
mv "$R/sites/helsinki" "$T/helsinki.away"
assert_status 6 hf drill demo --no-negative --json
assert_contains "$T/err" "${pack##*/}"
assert_contains "$T/err" berlin
assert_eq "$(json 'd["outcome"]' "$T/out")" failed outcome

note "the good site back: verify finds the damage"
mv "$T/helsinki.away" "$R/sites/helsinki"
assert_status 6 hf verify demo
assert_contains "$T/out" "${pack##*/}"
assert_status 0 hf evidence verify demo
note "the metrics are those that Prometheus takes"
needs promtool
promtool check metrics <"$R/metrics/holdfast.prom" || fail "promtool refuses the metrics"
echo "the drill passes and fails as it must"

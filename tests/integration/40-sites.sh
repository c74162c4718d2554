#!/bin/sh
# Sites come and go, the machine is lost, and a backup is killed at any moment: what was committed stays whole at every site.
# KILLS=200 kills more often.
. "$(dirname "$0")/../lib/lib.sh"
KILLS=${KILLS:-10}

# restored_is SITE SNAPSHOT SUMS: that snapshot, from that site alone, has these digests
restored_is() {
	rm -rf "$T/restored"
	assert_status 0 hf restore "$T/plan.yaml" --no-verify --site "$1" --snapshot "$2" --strip "$(depth "$T/src")" --to "$T/restored"
	sums "$T/restored" >"$T/sums.restored"
	cmp "$3" "$T/sums.restored" || fail "snapshot $2 from site $1 differs"
}

simple_plan "$T/plan.yaml" one two
echo 'copies: {min: 2}' >>"$T/plan.yaml"
head -c 3000000 /dev/urandom >"$T/src/large"
for i in 1 2 3 4 5 6 7 8 9; do echo "small $i" >"$T/src/s$i"; done
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
sums "$T/src" >"$T/sums.1"

note "a site is away for three runs: the copies go to the other, and the exit status says so"
mv "$T/sites/two" "$T/two.away"
for run in 2 3 4; do
	echo "run $run" >"$T/src/s$run"
	assert_status 8 hf backup "$T/plan.yaml"
	sums "$T/src" >"$T/sums.$run"
	[ ! -e "$T/sites/two" ] || fail "a site that is away was made anew"
done
assert_contains "$T/err" two
assert_status 1 hf status "$T/plan.yaml"
restored_is one 4 "$T/sums.4"

note "back again: replicate catches up, oldest first"
mv "$T/two.away" "$T/sites/two"
assert_status 0 hf replicate "$T/plan.yaml"
assert_status 0 hf snapshots "$T/plan.yaml" --site two --json
assert_eq "$(json '[s["seq"] for s in d]' "$T/out")" "[1, 2, 3, 4]" "snapshots at the site that was away"
find "$T/sites/two/s" -type f -printf '%f %T@\n' | sort | cut -d' ' -f2 >"$T/arrival"
sort -n -c "$T/arrival" || fail "snapshots arrived out of order"
for run in 1 2 3 4; do restored_is two $run "$T/sums.$run"; done
assert_status 0 hf status "$T/plan.yaml"
assert_status 0 hf verify "$T/plan.yaml" --data
assert_status 0 hf replicate "$T/plan.yaml"

note "the next backup goes to both, and what came by replication is used"
before=$(bytes_below "$T/sites/two")
echo "run 5" >"$T/src/s5"
assert_status 0 hf backup "$T/plan.yaml"
sums "$T/src" >"$T/sums.5"
assert_less $(($(bytes_below "$T/sites/two") - before)) 1000000 "bytes added at the site that was away"
restored_is two 5 "$T/sums.5"

note "the machine is lost: one site, the plan and the opening key are enough"
cold=$T/cold
mkdir -p "$cold/keys/recovery"
cp "$R/keys/recovery/simple.key" "$cold/keys/recovery/"
chmod 700 "$cold/keys" "$cold/keys/recovery"
grep -v 'name: one\|copies:' "$T/plan.yaml" >"$T/cold.yaml"
mv "$T/sites/one" "$T/one.lost"
mv "$R" "$T/root.lost"
assert_status 0 "$HOLDFAST" --root "$cold" restore "$T/cold.yaml" --strip "$(depth "$T/src")" --to "$T/cold-restored"
sums "$T/cold-restored" | cmp - "$T/sums.5" || fail "a cold start restores something else"
assert_status 0 "$HOLDFAST" --root "$cold" ls "$T/cold.yaml" --json
assert_status 0 "$HOLDFAST" --root "$cold" export "$T/cold.yaml" --snapshot 2 --output "$T/cold.tar"
assert_status 0 "$HOLDFAST" --root "$cold" verify "$T/cold.yaml" --data
mv "$T/one.lost" "$T/sites/one"
mv "$T/root.lost" "$R"

note "backups killed at $KILLS moments"
took=250
i=0
while [ $i -lt "$KILLS" ]; do
	i=$((i + 1))
	echo $i >"$T/src/state"
	head -c 400000 /dev/urandom >"$T/src/new-$((i % 7))"
	sums "$T/src" >"$T/sums.k$i"
	# a moment between the start and a little more than the time that the last whole run took
	$PYTHON - "$i" "$took" "$HOLDFAST" --root "$R" backup "$T/plan.yaml" >>"$T/killed" <<'PY' || fail "could not kill a run"
import random, subprocess, sys
rnd = random.Random(int(sys.argv[1]))
child = subprocess.Popen(sys.argv[3:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    child.wait(timeout=rnd.random() * int(sys.argv[2]) * 0.0011)
    print("ended by itself", child.returncode)
except subprocess.TimeoutExpired:
    child.kill()
    child.wait()
    print("killed")
PY
	assert_status 0 hf backup "$T/plan.yaml" --json
	took=$(json 'd["duration_ms"] + 20' "$T/out")
done
sort "$T/killed" | uniq -c
grep -q killed "$T/killed" || fail "no run was killed"

note "what was committed restores bit for bit at each site"
for site in one two; do
	assert_status 0 hf snapshots "$T/plan.yaml" --site $site --json
	json '"\n".join(str(s["seq"]) for s in d if s["seq"] > 5)' "$T/out" >"$T/seqs"
	assert_less $((KILLS - 1)) "$(wc -l <"$T/seqs")" "committed snapshots at $site"
	while read -r seq; do
		rm -rf "$T/restored"
		assert_status 0 hf restore "$T/plan.yaml" --no-verify --site $site --snapshot "$seq" --strip "$(depth "$T/src")" --to "$T/restored"
		sums "$T/restored" | cmp - "$T/sums.k$(cat "$T/restored/state")" || fail "snapshot $seq from $site differs from every state there was"
	done <"$T/seqs"
done

note "one chain without a fork, and evidence that holds"
assert_status 0 hf snapshots "$T/plan.yaml" --json
assert_eq "$(json 'len({s["lineage"] for s in d})' "$T/out")" 1 lineages
assert_eq "$(json '[s["seq"] for s in d] == list(range(1, len(d) + 1))' "$T/out")" true "sequence without a gap"
assert_status 0 hf verify "$T/plan.yaml" --data
assert_status 0 hf evidence verify "$T/plan.yaml"
echo "sites as they should be"

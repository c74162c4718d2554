#!/bin/sh
# Golden repositories stay readable: by the independent reader, and by the program on a machine that has nothing but the plan,
# a site and the recovery key.
. "$(dirname "$0")/../lib/lib.sh"
. "$REPO/tests/golden/describe.sh"
needs tar
$PYTHON -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

# described DIR EXPECTED: what was recovered into DIR is what was there
described() {
	describe "$1/srv/holdfast-golden" >"$T/described"
	diff "$2" "$T/described" >"$T/diff" || :
	assert_empty "$T/diff" "$1 is not $2"
}

for golden in "$REPO"/tests/golden/v[0-9]*; do
	note "$(basename "$golden")"
	expected=$golden/expected
	rm -rf "$T/site" "$R"
	cp -R "$golden/site" "$T/site"
	mkdir -p "$R/keys/recovery"
	install -m 600 "$golden/golden.key" "$R/keys/recovery/golden.key"
	sed "s|@SITE@|$T/site|" "$REPO/tests/golden/plan.yaml" >"$T/plan.yaml"
	reader() {
		$PYTHON -B "$REPO/tests/reader/holdfast_reader.py" --site "$golden/site" --key "$golden/golden.key" "$@"
	}

	# the independent reader
	assert_status 0 reader verify
	assert_empty "$T/err" "the reader has complaints"
	reader list --json >"$T/list"
	for members in seq:seq digest:id files:files bytes:bytes added:added; do
		assert_eq "$(json "sorted((s['source'], s['${members%:*}']) for s in d)" "$T/list")" \
			"$(json "sorted((s['source'], s['${members#*:}']) for s in d)" "$expected/snapshots.json")" "$members"
	done
	lineage=$(json 'next(s["lineage"] for s in d if s["source"] == "files")' "$T/list")
	for seq in 1 2; do
		mkdir "$T/tar.$seq"
		reader extract "files/$lineage/$seq" "$T/$seq.tar"
		tar --extract --file "$T/$seq.tar" --directory "$T/tar.$seq" --preserve-permissions --warning=no-unknown-keyword
		described "$T/tar.$seq" "$expected/files.$seq"
		assert_contains "$T/$seq.tar" "SCHILY.xattr.user.colour=blue"
	done
	reader extract dump "$T/dump.tar"
	assert_eq "$(tar --extract --to-stdout --warning=no-unknown-keyword --file "$T/dump.tar" dump | sha256sum | cut -d' ' -f1)" "$(cat "$expected/dump")" dump

	# the program, from nothing
	hf snapshots "$T/plan.yaml" --json >"$T/ours"
	same="sorted((s['source'], s['seq'], s['id'], s['time'], s['files'], s['bytes'], s['added']) for s in d)"
	assert_eq "$(json "$same" "$T/ours")" "$(json "$same" "$expected/snapshots.json")" snapshots
	assert_status 0 hf restore "$T/plan.yaml" --source files --snapshot 1 --to "$T/restored.1"
	described "$T/restored.1" "$expected/files.1"
	assert_status 0 hf restore "$T/plan.yaml" --source files --to "$T/restored.2"
	described "$T/restored.2" "$expected/files.2"
	assert_status 0 hf restore "$T/plan.yaml" --source dump --to "$T/restored.dump"
	assert_eq "$(sha256sum <"$T/restored.dump/dump" | cut -d' ' -f1)" "$(cat "$expected/dump")" dump
	hf export "$T/plan.yaml" --source files --snapshot 2 --output "$T/ours.tar" >/dev/null
	cmp "$T/ours.tar" "$T/2.tar" || fail "the program and the reader make different archives of one snapshot"
	assert_status 0 hf verify "$T/plan.yaml" --data
	rm -rf "$T"/tar.* "$T"/restored.* "$T"/*.tar
done

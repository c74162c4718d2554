#!/bin/sh
# Each kind of object that lies at a site, damaged and removed there in turn: what a check finds, that a repair puts it again (or says why not) without
# touching what was there, and that all is well behind it.
. "$(dirname "$0")/../lib/lib.sh"
$PYTHON -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

simple_plan "$T/plan.yaml" one two
assert_status 0 hf init "$T/plan.yaml"
for n in 1 2 3; do # the first one shares nothing with the others
	[ $n = 3 ] || head -c 300000 /dev/urandom >"$T/src/large"
	echo "run $n" >"$T/src/small"
	assert_status 0 hf backup "$T/plan.yaml"
done
two=$T/sites/two

# Nothing here makes snapshots expire: the log's key signs that the first one has, at both sites.
EXPIRED=$($PYTHON - "$T" <<'PY'
import base64, glob, hashlib, json, os, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
T = sys.argv[1]
key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(open(T + "/root/keys/log.key").read().strip()))
public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
for fate in glob.glob(T + "/sites/*/w/files/*/fate"):
    _, length, rest = open(fate, "rb").read().split(b"\n", 2)
    snapshot = rest[:int(length.split()[1])]
    signed = json.loads(snapshot.split(b"\n")[1])
    if signed["seq"] != 1:
        continue
    attempt = fate.split("/")[-2]
    expire = {"approval": "0" * 64, "attempt": attempt, "repository": signed["repository"], "snapshot": hashlib.sha256(snapshot).hexdigest(),
              "source": "files", "time": "2026-01-31T23:59:59.000Z", "v": 1}
    text = b"holdfast1 expire\n" + json.dumps(expire, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    at = fate.replace("/w/", "/x/").removesuffix("/fate")
    os.makedirs(os.path.dirname(at), exist_ok=True)
    open(at, "wb").write(text + b"sig " + public.encode() + b" " + base64.b64encode(key.sign(text)) + b"\n")
print(attempt)
PY
)
assert_status 0 hf verify "$T/plan.yaml" --data
assert_eq "$(ls "$T/sites/one/x/files")" "$EXPIRED" "expiry at the other site"
cp -a "$T/sites" "$T/sites.good"
cp -a "$R" "$T/root.good"

# start_anew: as it was before any damage
start_anew() {
	rm -rf "$T/sites" "$R"
	cp -a "$T/sites.good" "$T/sites"
	cp -a "$T/root.good" "$R"
}

# the objects of a site, each with its digest
objects() {
	(cd "$two" && find . -type f -exec sha256sum {} + | sort)
}

# put_again MEMBER: how many of them the last repair put, of all sites and sources
put_again() {
	$PYTHON - "$T/repaired" "$1" <<'PY'
import json, sys
extra, member = json.load(open(sys.argv[1]))["extra"], sys.argv[2]
n = sum(c["repaired"].get(member, 0) for c in extra["copies"]) + sum(s.get(member, 0) for s in extra["evidence"]["sites"])
if member == "configurations":
    n += sum(s["put"] for s in extra.get("configurations", []))
print(n)
PY
}

# check KIND STATUS: digests, data or evidence
check() {
	case $1 in
	digests) assert_status "$2" hf verify "$T/plan.yaml" ;;
	data) assert_status "$2" hf verify "$T/plan.yaml" --data ;;
	evidence) assert_status "$2" hf evidence verify "$T/plan.yaml" ;;
	esac
}

# round NAME OBJECT flip|rm CHECK STATUS MEMBER
round() {
	start_anew
	[ -f "$two/$2" ] || fail "$1: there is no $2"
	chmod u+w "$two/$2"
	case $3 in
	flip) corrupt_byte "$two/$2" $(($(size_of "$two/$2") / 2)) ;;
	rm) rm "$two/$2" ;;
	esac
	objects >"$T/before"
	check "$4" "$5"
	assert_status 0 hf verify "$T/plan.yaml" --repair --data --json
	cp "$T/out" "$T/repaired"
	[ "$6" = - ] || assert_less 0 "$(put_again "$6")" "$1, $3: $6 put again"
	objects >"$T/after"
	comm -23 "$T/before" "$T/after" >"$T/changed"
	assert_empty "$T/changed" "$1, $3: changed or removed by the repair"
	check data 0
	check evidence 0
	assert_status 0 hf evidence verify "$T/plan.yaml" --json
	assert_eq "$(json '[c["state"] for l in d["logs"] for c in l["copies"]]' "$T/out")" '["complete", "complete", "complete"]' "$1, $3: copies of the log"
	assert_status 0 "$PYTHON" -B "$REPO/tests/reader/holdfast_reader.py" --site "$two" --key "$R/keys/recovery/simple.key" verify
}

# first PATTERN [WITHOUT]: the first object that fits, but for those whose name has WITHOUT
first() {
	(cd "$two" && find . -type f -path "./$1" ! -path "*${2:-//}*" | sort | head -n 1 | cut -c3-)
}
# A session that is needed: its number stands in the header of each of its packs.
sid=$(od -An -tx1 -j12 -N16 "$two/$(first 'p/files/*' "$EXPIRED")" | tr -d ' \n')
lineage=$(ls "$two/s/files")
log=$(ls "$two/l")
newest=$(cd "$two/l/$log/checkpoint" && for f in *[0-9]; do echo "$f"; done | tail -n 1)

# name, object; for damage and for loss: which check sees it with which status, what is put again
while read -r name object flip_check flip_status flip_put rm_check rm_status rm_put; do
	note "$name"
	round "$name" "$object" flip "$flip_check" "$flip_status" "$flip_put"
	round "$name" "$object" rm "$rm_check" "$rm_status" "$rm_put"
done <<TABLE
configuration     cfg/0                                    digests 8 configurations  digests 8 configurations
keys              k/files/1                                data 6 keys               digests 6 keys
envelope          $(first "e/files/$sid/*")                digests 6 mended          digests 6 envelopes
pack              $(first 'p/files/*' "$EXPIRED")          digests 6 packs           digests 6 packs
index             $(first 'i/files/*' "$EXPIRED")          data 6 index_objects      data 6 index_objects
expired-index     $(first "i/files/$EXPIRED.*")            data 6 mended             data 0 -
intent            $(first 'w/files/*/open' "$EXPIRED")     digests 6 mended          digests 6 mended
fate              $(first 'w/files/*/fate' "$EXPIRED")     digests 6 snapshots       digests 6 snapshots
expired-fate      w/files/$EXPIRED/fate                    digests 6 mended          digests 0 -
copy              s/files/$lineage/0000000002              digests 6 mended          digests 6 copies
expired-copy      s/files/$lineage/0000000001              digests 6 mended          digests 0 -
receipt           r/files/$lineage/0000000002              digests 6 mended          digests 0 receipts
expiry            x/files/$EXPIRED                         digests 6 expiries        digests 0 -
log-key           l/$log/key                               evidence 6 beside         evidence 6 put
log-records       $(first 'l/*/records/*')                 evidence 6 beside         evidence 6 put
log-checkpoint    $(first 'l/*/checkpoint/*' sshsig)       evidence 6 beside         evidence 0 put
log-newest        l/$log/checkpoint/$newest                evidence 6 beside         evidence 0 put
log-sshsig        $(first 'l/*/checkpoint/*.sshsig')       evidence 6 beside         evidence 6 put
TABLE

note "a run that publishes past a damaged checkpoint is not held up by it"
start_anew
chmod u+w "$two/l/$log/checkpoint/$newest"
corrupt_byte "$two/l/$log/checkpoint/$newest" 100
assert_status 0 hf backup "$T/plan.yaml"
assert_status 0 hf evidence verify "$T/plan.yaml" --json
assert_eq "$(json '[f["code"] for l in [d] for f in l["findings"]]' "$T/out")" '["replaced"]' "findings"

note "an expiry that is gone where its packs are, too"
start_anew
for site in one two; do rm -r "$T/sites/$site/p/files/$EXPIRED"; done
check digests 0
rm "$two/x/files/$EXPIRED"
check digests 6
assert_status 0 hf verify "$T/plan.yaml" --repair --json
cp "$T/out" "$T/repaired"
assert_eq "$(put_again expiries)" 1 "expiries put again"
check data 0

note "the word that something is mended is damaged itself"
start_anew
rm "$two/$(first 'w/files/*/open' "$EXPIRED")"
assert_status 0 hf verify "$T/plan.yaml" --repair
chmod u+w "$two/$(first 'b/*')"
corrupt_byte "$two/$(first 'b/*')" 100
check digests 6
assert_status 0 hf verify "$T/plan.yaml" --repair
check data 0

note "what is whole nowhere is told with the reason, in words and in the result"
start_anew
for site in one two; do
	chmod u+w "$T/sites/$site/x/files/$EXPIRED"
	corrupt_byte "$T/sites/$site/x/files/$EXPIRED" 100
done
assert_status 6 hf verify "$T/plan.yaml" --repair --site two
assert_contains "$T/out" "two, files: not repaired: no other site has x/files/$EXPIRED whole: its attempt does not count as expired there"
assert_contains "$T/out" "its attempt does not count as expired"
echo "every kind was repaired or told"

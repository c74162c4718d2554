#!/bin/sh
# A reader written from the format page alone lists and extracts what the program backed up, and refuses what was changed.
. "$(dirname "$0")/../lib/lib.sh"
needs rsync tar setfattr
$PYTHON -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"

site=north
reader() {
	$PYTHON -B "$REPO/tests/reader/holdfast_reader.py" --site "$T/sites/$site" --key "$R/keys/recovery/simple.key" "$@"
}

# refused NAME: the reader finds damage, and says so in plain words
refused() {
	assert_status 6 reader verify
	assert_contains "$T/err" "holdfast_reader: "
	assert_lacks "$T/err" Traceback
	note "$1: $(tail -n 1 "$T/err" | cut -c1-110)"
}

# extracted SNAPSHOT: into $T/back
extracted() {
	rm -rf "$T/back" "$T/out.tar"
	mkdir "$T/back"
	reader extract "$1" "$T/out.tar"
	tar --extract --file "$T/out.tar" --directory "$T/back" --preserve-permissions --acls --xattrs --xattrs-include='*' \
		--warning=no-unknown-keyword
}

# --- a tree with one of everything ---
simple_plan "$T/plan.yaml" north south
long=$(printf 'n%.0s' $(seq 1 240))
mkdir -p "$T/src/deep/$long/$long" "$T/src/empty" "$T/src/a"
seq 1 200000 >"$T/src/numbers"
head -c 3000000 /dev/urandom >"$T/src/random"
: >"$T/src/nothing"
echo named >"$T/src/deep/$long/$long/file"
printf 'x' >"$T/src/$(printf 'tab\tand\nline, and \377 byte')"
echo below >"$T/src/a/z" && echo beside >"$T/src/a.b"
ln "$T/src/numbers" "$T/src/a/same numbers"
ln -s ../nowhere "$T/src/a/link"
ln -s "$long" "$T/src/long link"
truncate -s 50M "$T/src/sparse"
printf middle | dd of="$T/src/sparse" bs=1 seek=20000000 conv=notrunc status=none
truncate -s 1M "$T/src/hole only"
mkfifo "$T/src/pipe"
chmod 0751 "$T/src/a" && chmod 0604 "$T/src/random"
setfattr -n user.colour -v 'blue = or
green' "$T/src/numbers"
touch -d '1999-12-31 23:59:59.123456789' "$T/src/nothing"
touch -h -d '2001-01-01 00:00:01' "$T/src/a/link"

hf init "$T/plan.yaml" >"$T/init.out"
assert_status 0 hf backup "$T/plan.yaml"
cp -a --sparse=always "$T/src" "$T/first"
echo changed >>"$T/src/numbers" && rm -r "$T/src/empty" && echo new >"$T/src/a/new"
assert_status 0 hf backup "$T/plan.yaml"

# --- what was backed up is there ---
assert_status 0 reader verify
assert_empty "$T/err" "the reader has complaints"
reader list --json >"$T/list"
assert_eq "$(json 'len(d)' "$T/list")" 2 snapshots
hf snapshots "$T/plan.yaml" --json >"$T/ours"
for members in seq:seq digest:id files:files bytes:bytes added:added skipped:unchanged; do
	assert_eq "$(json "sorted(s['${members%:*}'] for s in d)" "$T/list")" "$(json "sorted(s['${members#*:}'] for s in d)" "$T/ours")" "$members"
done
name=$(json '"{source}/{lineage}".format(**d[0])' "$T/list")

extracted "$name/1"
same_tree "$T/first" "$T/back$T/src"
extracted files
same_tree "$T/src" "$T/back$T/src"
assert_less "$(du -k "$T/back$T/src/sparse" | cut -f1)" 1024 "blocks of the sparse file"
assert_eq "$(stat -c %i "$T/back$T/src/numbers")" "$(stat -c %i "$T/back$T/src/a/same numbers")" "hard links"
reader entries files >"$T/entries"
assert_eq "$(wc -l <"$T/entries")" "$(find "$T/src" -printf x | wc -c)" entries

# --- what replication makes of an empty site is the same format ---
chmod -R u+w "$T/sites/south"
rm -rf "$T/sites/south" && mkdir "$T/sites/south"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf replicate "$T/plan.yaml"
site=south
assert_status 0 reader verify
assert_eq "$(grep -c '^files/' "$T/out")" 2 "snapshots replicated"
extracted files
same_tree "$T/src" "$T/back$T/src"
site=north

# --- every object of the site, one byte changed: refused ---
chmod -R u+w "$T/sites/north"
(cd "$T/sites/north" && find cfg k e i p w s r -type f -size +0 | sort) >"$T/objects"
assert_less 15 "$(wc -l <"$T/objects")" objects
while read -r object; do
	at=$(($(size_of "$T/sites/north/$object") * 2 / 3))
	corrupt_byte "$T/sites/north/$object" $at
	refused "$object"
	corrupt_byte "$T/sites/north/$object" $at
done <"$T/objects"

# no archive is left behind by an extraction that ended early
pack=$(largest "$T/sites/north/p")
corrupt_byte "$pack" $(($(size_of "$pack") / 2))
rm -f "$T/out.tar"
assert_status 6 reader extract files "$T/out.tar"
assert_contains "$T/err" "$(basename "$pack")"
[ ! -e "$T/out.tar" ] || fail "an archive of a damaged snapshot"
corrupt_byte "$pack" $(($(size_of "$pack") / 2))
mv "$pack" "$T/pack"
assert_status 6 reader extract files "$T/out.tar"
assert_contains "$T/err" "is missing"
mv "$T/pack" "$pack"

# --- forgeries: well made in every way but the right to sign ---
forge() {
	$PYTHON - "$T/sites/north" "$@" <<'END'
import base64, glob, os, re, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
site, how, seq = sys.argv[1], sys.argv[2], sys.argv[3]
path = glob.glob(f"{site}/s/files/*/{int(seq):010d}")[0]
old = open(path, "rb").read()
head, line, sig = old.split(b"\n")[:3]
key = Ed25519PrivateKey.generate()
public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex().encode() if how == "stranger" else sig.split()[1]
if how == "edited":
    line = re.sub(rb'"plan_digest":"..', b'"plan_digest":"00', line)
    new = head + b"\n" + line + b"\n" + sig + b"\n"
else:
    text = head + b"\n" + line + b"\n"
    new = text + b"sig " + public + b" " + base64.b64encode(key.sign(text)) + b"\n"
assert new != old
fates = [f for f in glob.glob(f"{site}/w/files/*/fate") if old in open(f, "rb").read()]
assert len(fates) == 1
fate = open(fates[0], "rb").read().replace(b"snapshot %d\n" % len(old), b"snapshot %d\n" % len(new)).replace(old, new)
for p, data in ((path, new), (fates[0], fate)):
    open(p, "wb").write(data)
END
}
cp -a "$T/sites/north" "$T/kept"
for how in stranger borrowed edited; do
	forge $how 2
	refused "snapshot forged: $how"
	assert_contains "$T/err" sign
	assert_status 6 reader extract files "$T/out.tar"
	rm -rf "$T/sites/north" && cp -a "$T/kept" "$T/sites/north"
done

# a pack list that is not the signed one
fate=$(grep -l '^packs full' "$T"/sites/north/w/files/*/fate)
sed -i 's/^packs full 1$/packs full 0/; /^[0-9a-f]\{64\}$/d; s/^packs full [2-9]$/packs full 0/' "$fate"
refused "pack list cut"
rm -rf "$T/sites/north" && cp -a "$T/kept" "$T/sites/north"

# another root: nothing of the site is believed
sed -i 's/"root":"../"root":"00/' "$R/keys/recovery/simple.key"
refused "another root"

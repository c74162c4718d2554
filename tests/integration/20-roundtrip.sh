#!/bin/sh
# Everything a tree can hold comes back as it was, by restore and by export: compared by rsync, getfacl and GNU tar.
# FILES=100000 makes the tree larger.
. "$(dirname "$0")/../lib/lib.sh"
needs_root
needs rsync setfacl getfacl tar strace
FILES=${FILES:-2000}

tree=$T/src/tree
mkdir -p "$T/src"
$PYTHON "$REPO/tests/lib/make-tree.py" "$tree" "$FILES"
simple_plan "$T/plan.yaml" one two
strip=$(depth "$T/src")
assert_status 0 hf init "$T/plan.yaml"

acls() {
	# in the order of names: getfacl -R goes by that of the directory
	(cd "$1" && find . ! -type l -print0 | sort -z | xargs -0 getfacl -n -P) >"$2"
}

note "restore with all metadata"
assert_status 0 hf backup "$T/plan.yaml"
assert_less "$(bytes_below "$T/sites/one")" $((40000000 + FILES * 2500)) "bytes at a site: holes are not stored"
assert_status 0 hf restore "$T/plan.yaml" --metadata full --strip "$strip" --site one --to "$T/restored"
same_tree "$tree" "$T/restored/tree"
acls "$tree" "$T/acl.a"
acls "$T/restored/tree" "$T/acl.b"
cmp "$T/acl.a" "$T/acl.b" || fail "access lists differ"
for name in sparse hole hole-ends sparse-many; do
	assert_eq "$(stat -c %s "$T/restored/tree/$name")" "$(stat -c %s "$tree/$name")" "size of $name"
	assert_less "$(stat -c %b "$T/restored/tree/$name")" "$(($(stat -c %b "$tree/$name") + 64))" "blocks of $name"
done
assert_eq "$(stat -c '%i' "$T/restored/tree/links/first")" "$(stat -c '%i' "$T/restored/tree/links/again-4")" "inode of a hard link"
assert_eq "$(stat -c '%h' "$T/restored/tree/links/first")" 6 "links of a group"

note "what was restored is synced once, not file by file"
synced() { # NAME...: calls of a restore
	strace -f --seccomp-bpf -qq -e trace="$1" -o "$T/trace" "$HOLDFAST" --root "$R" restore "$T/plan.yaml" --metadata full --strip "$strip" --no-verify --to "$T/synced" >/dev/null
	rm -rf "$T/synced"
	grep -c "$2" "$T/trace" || :
}
assert_eq "$(synced syncfs '= 0$')" 1 "calls of syncfs"
assert_less "$(synced fsync,fdatasync,sync_file_range '= 0$')" 100 "files synced by themselves: records of the restore, not what it makes"

note "the exported archive, extracted by GNU tar"
assert_status 0 hf export "$T/plan.yaml" --output "$T/all.tar"
mkdir "$T/untar"
tar -C "$T/untar" --strip-components="$strip" --numeric-owner --xattrs --xattrs-include='*' --acls -xpf "$T/all.tar" 2>"$T/tar.err" || {
	cat "$T/tar.err"
	fail "GNU tar could not extract"
}
# blanks and letters beyond ASCII in names of attributes stand escaped in the archive, and GNU tar leaves them so; the restore above
# has compared that file
same_tree "$tree" "$T/untar/tree" --exclude=/xattr-odd --exclude=/hole --exclude=/sparse
acls "$T/untar/tree" "$T/acl.c"
cmp "$T/acl.a" "$T/acl.c" || fail "access lists differ in the archive"
rm -rf "$T/untar" "$T/all.tar"

note "safe metadata: no owners, no set-id bits, no devices, no attributes"
assert_status 3 hf restore "$T/plan.yaml" --strip "$strip" --to "$T/safe"
[ -z "$(find "$T/safe" \( -perm /6000 -o -type b -o -type c -o ! -user root \))" ] || fail "safe metadata restored what it must not"
assert_empty_xattr=$(getfattr -h -R -d -m - "$T/safe" 2>/dev/null | grep -c '^user\.\|^trusted\.' || :)
assert_eq "$assert_empty_xattr" 0 "extended attributes"
rm -f "$T"/safe/tree/hole "$T"/restored/tree/hole # a digest of nothing takes a while
sums "$T/restored" >"$T/sum.a"
sums "$T/safe" >"$T/sum.b"
cmp "$T/sum.a" "$T/sum.b" || fail "content differs"
rm -rf "$T/safe"

note "the other site holds the same"
rm -rf "$T/restored"
assert_status 0 hf restore "$T/plan.yaml" --metadata full --strip "$strip" --site two --to "$T/restored"
same_tree "$tree" "$T/restored/tree" --exclude=/hole --exclude=/sparse

note "what changes or vanishes while it is read is counted, and the exit status is 3"
mkdir "$T/live"
head -c 200000000 /dev/zero | tr '\0' 'a' >"$T/live/0-large"
echo stays >"$T/live/1-stays"
echo goes >"$T/live/2-goes"
{
	plan_head live live-site
	printf 'sources:\n  - {name: live, paths: ["%s"]}\n' "$T/live"
} >"$T/live.yaml"
assert_status 0 hf init "$T/live.yaml"
# the first file is large: once it is open the directory has been listed, and there is time to change what was found
assert_status 3 $PYTHON - "$T/live" "$HOLDFAST" --root "$R" backup "$T/live.yaml" --json <<'PY'
import os, subprocess, sys
live = sys.argv[1]
child = subprocess.Popen(sys.argv[2:])
def is_open():
    folder = f"/proc/{child.pid}/fd"
    for fd in os.listdir(folder):
        try:
            if os.readlink(f"{folder}/{fd}") == f"{live}/0-large":
                return True
        except OSError:
            pass
    return False
while not is_open():
    if child.poll() is not None:
        sys.exit("the backup ended before the file was seen open")
os.unlink(f"{live}/2-goes")
with open(f"{live}/0-large", "ab") as f:
    f.write(b"more")
sys.exit(child.wait())
PY
for code in changed vanished; do
	assert_eq "$(json "d['sources'][0]['notes']['$code']" "$T/out")" 1 "items noted as $code"
done
assert_status 0 hf restore "$T/live.yaml" --strip "$(depth "$T/live")" --to "$T/live-restored"
assert_eq "$(cat "$T/live-restored/1-stays")" stays "a file beside the changing one"

note "what cannot be read is counted too"
mkdir -p "$T/other/src" "$T/other/site"
echo open >"$T/other/src/open"
echo closed >"$T/other/src/closed"
printf 'plan: other\ntargets: {rto: 1h, rpo: 1h}\nsources:\n  - {name: files, paths: ["%s"]}\nsites:\n  - {name: one, url: "file://%s"}\n' \
	"$T/other/src" "$T/other/site" >"$T/other/plan.yaml"
chmod 711 "$T"
chown -R 65534:65534 "$T/other"
chown 0:0 "$T/other/src/closed"
chmod 600 "$T/other/src/closed"
cp "$HOLDFAST" "$T/other/holdfast"
nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$T/other/holdfast" --root "$T/other/root" "$@"
}
assert_status 0 nobody init "$T/other/plan.yaml"
assert_status 3 nobody backup "$T/other/plan.yaml" --json
assert_eq "$(json "d['sources'][0]['notes']['unreadable']" "$T/out")" 1 "items noted as unreadable"
assert_status 0 nobody restore "$T/other/plan.yaml" --strip "$(depth "$T/other/src")" --to "$T/other/restored"
assert_eq "$(cat "$T/other/restored/open")" open "the file beside it"

note "a source that is not there at all fails, and names it"
sed "s,$T/live\",$T/not-there\"," "$T/live.yaml" >"$T/gone.yaml"
assert_status 1 hf backup "$T/gone.yaml"
assert_contains "$T/err" "$T/not-there"
echo "round trip of $(find "$tree" | wc -l) entries"

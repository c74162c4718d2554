#!/bin/sh
# What has not changed is neither opened nor sent again.
. "$(dirname "$0")/../lib/lib.sh"
needs strace
FILES=${FILES:-3000}

simple_plan "$T/plan.yaml" one
$PYTHON - "$T/src" "$FILES" <<'PY'
import os, random, sys
rnd = random.Random(1)
for i in range(int(sys.argv[2])):
    d = f"{sys.argv[1]}/d{i // 500}"
    os.makedirs(d, exist_ok=True)
    open(f"{d}/f{i}", "wb").write(rnd.randbytes(rnd.randrange(1, 6000)))
PY
assert_status 0 hf init "$T/plan.yaml"
# a file of this very moment is rightly read again: the clock must have left it behind
: >"$T/newest"
older_than_moment() {
	[ $(($(date +%s) - $(stat -c %Z "$T/newest"))) -gt 3 ]
}
wait_for 30 older_than_moment
assert_status 0 hf backup "$T/plan.yaml"

# trace ARGUMENTS...: a backup; which regular files of the source it opened, by their last component, goes to $T/opened
trace() {
	assert_status 0 strace -f --seccomp-bpf -qq -e trace=open,openat,openat2 -o "$T/trace" "$HOLDFAST" --root "$R" backup "$T/plan.yaml" "$@"
	grep -E '"([^"]*/)?f[0-9]+"' "$T/trace" >"$T/opened" || :
}

note "a second backup of $FILES unchanged files"
before=$(bytes_below "$T/sites/one")
trace
[ -s "$T/trace" ] || fail "nothing was traced"
assert_empty "$T/opened" "files opened although unchanged"
assert_less $(($(bytes_below "$T/sites/one") - before)) 65536 "bytes added by an unchanged backup"

note "the trace would have shown it: with --full-read every file is opened"
trace --full-read
opened=$(wc -l <"$T/opened")
assert_less $((FILES - 1)) "$opened" "files opened by a full read"
assert_less $(($(bytes_below "$T/sites/one") - before)) 131072 "bytes added by a full read"

note "one small file changes"
before=$(bytes_below "$T/sites/one")
head -c 1024 /dev/urandom >"$T/src/d0/f7"
assert_status 0 hf backup "$T/plan.yaml" --json
assert_less $(($(bytes_below "$T/sites/one") - before)) 1048576 "bytes added by one changed file"
assert_status 0 hf restore "$T/plan.yaml" --strip "$(depth "$T/src")" --to "$T/restored"
diff -r "$T/src" "$T/restored" || fail "the restored tree differs"

note "a change that keeps size and time is seen by its inode's change time"
touch -r "$T/src/d1/f501" "$T/stamp"
size=$(size_of "$T/src/d1/f501")
head -c "$size" /dev/urandom >"$T/src/d1/f501"
touch -r "$T/stamp" "$T/src/d1/f501"
assert_status 0 hf backup "$T/plan.yaml"
rm -rf "$T/restored"
assert_status 0 hf restore "$T/plan.yaml" --strip "$(depth "$T/src")" --to "$T/restored"
cmp "$T/src/d1/f501" "$T/restored/d1/f501" || fail "an old version was restored"
echo "unchanged files stay closed"

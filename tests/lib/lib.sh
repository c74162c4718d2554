# shellcheck shell=sh
# lib.sh: what the integration tests share. A test begins with:
#
#   #!/bin/sh
#   . "$(dirname "$0")/../lib/lib.sh"
#
# and then has: set -eu; $T, a fresh directory, removed at the end; $R, the root of an installation in it; $HOLDFAST, the
# program; stop-at-exit for everything begun with start(). Each assertion prints what it saw when it fails, and ends the test.
set -eu
REPO=$(cd "$(dirname "$0")/../.." && pwd)
HOLDFAST=${HOLDFAST:-$REPO/build/release/holdfast}
PYTHON=${PYTHON:-/usr/bin/python3}
T=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-test.XXXXXX")
R=$T/root
STARTED=
export LC_ALL=C NO_COLOR=1
unset HOLDFAST_ROOT

# --- beginning and end ---

# what a test has to put away itself redefines this
test_end() {
	:
}

at_exit() {
	status=$?
	trap - EXIT HUP INT TERM
	for pid in $STARTED; do kill -KILL "$pid" 2>/dev/null || :; done
	[ -z "$STARTED" ] || wait 2>/dev/null || :
	test_end || :
	chmod -R u+rwx "$T" 2>/dev/null || :
	if [ -n "${KEEP:-}" ]; then echo "kept $T"; else rm -rf "$T"; fi
	exit $status
}
trap at_exit EXIT
trap 'exit 130' HUP INT TERM

fail() {
	printf 'FAILED: %s\n' "$*"
	exit 1
}

note() {
	printf -- '-- %s\n' "$*"
}

skip() {
	printf 'SKIP: %s\n' "$*"
	exit 0
}

needs_root() {
	[ "$(id -u)" = 0 ] || skip "needs root"
}

# needs PROGRAM...: skips when one is not installed
needs() {
	for program in "$@"; do
		command -v "$program" >/dev/null || skip "needs $program"
	done
}

# start COMMAND...: in the background; $! is its process; killed at the end at the latest
start() {
	"$@" &
	STARTED="$STARTED $!"
}

# wait_for SECONDS COMMAND...: until the command succeeds; fails the test after SECONDS
wait_for() {
	wait_limit=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $wait_limit ] || fail "still not so: $*"
		sleep 0.02 # the pause of a poll; what is waited for is the condition
	done
}

# --- assertions ---

# assert_status N COMMAND...: runs it; its output is then in $T/out and $T/err
assert_status() {
	want=$1 got=0
	shift
	"$@" >"$T/out" 2>"$T/err" || got=$?
	[ "$got" = "$want" ] && return
	printf 'FAILED: exit status %s instead of %s: %s\n' "$got" "$want" "$*"
	tail -n 40 "$T/out" "$T/err"
	exit 1
}

assert_eq() {
	[ "$1" = "$2" ] || fail "${3:-differs}: '$1' is not '$2'"
}

# assert_contains FILE TEXT
assert_contains() {
	grep -qF -- "$2" "$1" && return
	printf 'FAILED: not found: %s\nin:\n' "$2"
	head -c 8000 "$1"
	exit 1
}

assert_lacks() {
	grep -qF -- "$2" "$1" || return 0
	printf 'FAILED: found: %s\nin:\n' "$2"
	head -c 8000 "$1"
	exit 1
}

# assert_less A B WHAT
assert_less() {
	[ "$1" -lt "$2" ] || fail "$3: $1 is not below $2"
}

assert_empty() {
	[ ! -s "$1" ] && return
	printf 'FAILED: %s:\n' "${2:-not empty}"
	head -n 10 "$1"
	exit 1
}

# --- JSON ---

# json EXPRESSION [FILE]: a Python expression over the document d; the value as text, true and false as JSON has them
json() {
	$PYTHON -c 'import json, sys
d = json.load(open(sys.argv[2]) if len(sys.argv) > 2 else sys.stdin)
v = eval(sys.argv[1])
print(v if isinstance(v, str) else json.dumps(v))' "$@"
}

# --- an installation ---

# hf ARGUMENTS...: the program on this test's root
hf() {
	"$HOLDFAST" --root "$R" "$@"
}

# plan_head NAME SITE...: the beginning of a plan with sites beneath $T/sites; append `sources:` and what follows
plan_head() {
	printf 'plan: %s\ntargets: {rto: 1h, rpo: 1h}\nsites:\n' "$1"
	shift
	for site in "$@"; do
		mkdir -p "$T/sites/$site"
		printf '  - {name: %s, url: "file://%s"}\n' "$site" "$T/sites/$site"
	done
}

# simple_plan FILE SITE...: one source `files` of $T/src
simple_plan() {
	simple_file=$1
	shift
	mkdir -p "$T/src"
	{
		plan_head simple "$@"
		printf 'sources:\n  - {name: files, paths: ["%s"]}\n' "$T/src"
	} >"$simple_file"
}

# depth PATH: number of its components, for --strip
depth() {
	printf '%s' "${1#/}" | awk -F/ '{print NF}'
}

# --- files ---

# corrupt_byte FILE OFFSET: flips all bits of one byte, counted from 0
corrupt_byte() {
	$PYTHON -c 'import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
at = int(sys.argv[2])
os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 0xff]), at)' "$1" "$2"
}

# largest DIR: the largest regular file beneath
largest() {
	find "$1" -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-
}

size_of() {
	stat -c %s "$1"
}

# bytes_below DIR: sum of the sizes of regular files
bytes_below() {
	find "$1" -type f -printf '%s\n' | awk '{s += $1} END {print s + 0}'
}

# sums DIR: a line for every regular file with its digest, in a fixed order
sums() {
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 -r sha256sum)
}

# same_tree A B [RSYNC OPTION...]: everything rsync sees is equal: content, owners, times, modes, links, extended attributes, ACLs
same_tree() {
	same_a=$1 same_b=$2
	shift 2
	rsync -aHAXSn --checksum --delete --itemize-changes "$@" "$same_a/" "$same_b/" >"$T/rsync.out"
	assert_empty "$T/rsync.out" "$same_a and $same_b differ"
}

[ -x "$HOLDFAST" ] || fail "no program at $HOLDFAST"

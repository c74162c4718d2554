#!/bin/sh
# A pack whose description is longer than the piece of its end that is read at first: thousands of small chunks that compress well.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
mkdir -p "$T/src"
$PYTHON -c 'import sys
for n in range(160000):
    sys.stdout.write("%d %s\n" % (n, "x" * 1000))' >"$T/src/pages"
{
	plan_head chunks north
	printf 'sources:\n  - {name: files, paths: ["%s"], cut: fixed}\n' "$T/src"
} >"$T/plan.yaml"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
assert_status 0 hf verify "$T/plan.yaml" --data
assert_status 0 hf restore "$T/plan.yaml" --to "$T/back"
cmp "$T/src/pages" "$T/back$T/src/pages"

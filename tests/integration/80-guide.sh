#!/bin/sh
# docs/guide.md, followed line by line: every block of commands runs as it stands, in a directory of the test's own.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"

mkdir "$T/bin" "$T/guide"
ln -s "$HOLDFAST" "$T/bin/holdfast"
awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$(dirname "$0")/../../docs/guide.md" | sed "s#/srv/holdfast-guide#$T/guide#g; s#srv/holdfast-guide#${T#/}/guide#g" > "$T/guide.sh"
[ "$(wc -l < "$T/guide.sh")" -gt 50 ] || fail "the guide has lost its commands"
[ -d /usr/share/doc/libc6 ] || mkdir -p /usr/share/doc/libc6
PATH=$T/bin:$PATH sh -eux "$T/guide.sh" || fail "the guide does not hold what it says"

#!/bin/sh
# docs/guide.md, followed line by line: every block of commands runs as it stands, in a directory of the test's own. An SSH server of the
# test stands in for the guide's hosts, the gateway of tests/with-servers for its S3 service.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs /usr/sbin/sshd ssh ssh-keygen ssh-keyscan
[ -n "${HOLDFAST_S3_ENDPOINT:-}" ] || exec "$REPO/tests/with-servers" "$0"
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)

mkdir "$T/bin" "$T/guide" "$T/copies" "$T/vault"
ln -s "$HOLDFAST" "$T/bin/holdfast"
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
export S3_ACCESS_KEY="$HOLDFAST_S3_KEY" S3_SECRET_KEY="$HOLDFAST_S3_SECRET"
# what stands for the names that the guide uses
{
	printf 's#@\\(far\\|vault\\)\\.example\\.org#@127.0.0.1:%s#\n' "$port"
	printf 's#\\(ssh-keyscan .*\\) far\\.example\\.org vault\\.example\\.org#\\1 -p %s 127.0.0.1#\n' "$port"
	printf 's#://\\(copies\\|vault\\)@#://%s@#\n' "$(id -un)"
	printf 's#/\\(home/copies\\|srv/vault\\)/\\.ssh/#%s/ssh/#\n' "$T"
	printf 's#/srv/vault/store#%s/vault#\n' "$T"
	printf 's#/srv/copies#%s/copies#\n' "$T"
	printf 's#"holdfast-vault #"%s/holdfast-vault #\n' "$PROGRAMS"
	printf 's#example-office#guide-%s#\n' "$(basename "$T" | tr 'A-Z.' 'a-z-')"
	printf 's#https://s3\\.example\\.org#%s#\n' "$HOLDFAST_S3_TLS_ENDPOINT"
	printf 's#/etc/ssl/certs/ca-certificates\\.crt#%s#\n' "$HOLDFAST_S3_CA"
	printf 's#region: eu-central-1#region: default#\n'
	printf 's#/srv/holdfast-guide#%s/guide#g\n' "$T"
	printf 's#srv/holdfast-guide#%s/guide#g\n' "${T#/}"
} >"$T/names"
awk '/^```sh$/ { on = 1; next } /^```$/ { on = 0 } on' "$REPO/docs/guide.md" | sed -f "$T/names" >"$T/guide.sh"
[ "$(wc -l <"$T/guide.sh")" -gt 80 ] || fail "the guide has lost its commands"
grep -n 'example\.org[^}]' "$T/guide.sh" | grep -v 'contact\|deputies' && fail "a name of the guide that nothing stands for"
[ -d /usr/share/doc/libc6 ] || mkdir -p /usr/share/doc/libc6
PATH=$T/bin:$PATH sh -eux "$T/guide.sh" || fail "the guide does not hold what it says"

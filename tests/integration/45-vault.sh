#!/bin/sh
# A site behind a vault: holdfast-vault as the forced command of SSH keys on a real server, one key a role. What each key can do, and that
# nothing that was put there can be changed or removed with any of them.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root # the server lets root in
needs /usr/sbin/sshd ssh ssh-keygen sftp scp ssh-keyscan
VAULT=$(cd "$(dirname "$HOLDFAST")" && pwd)/holdfast-vault
[ -x "$VAULT" ] || fail "no program at $VAULT"

mkdir -p "$T/vault" "$T/src"
head -c 3000000 /dev/urandom >"$T/src/large"
for i in 1 2 3 4 5 6 7 8 9; do echo "small $i" >"$T/src/s$i"; done
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
for role in put get audit controller; do ssh-keygen -q -t ed25519 -N '' -C "$role" -f "$T/$role.key"; done
witness=$("$VAULT" --init-key "$T/witness")
# allow PUT-COMMAND: the keys and what they start
allow() {
	printf 'restrict,command="%s" %s\n' "$1" "$(cat "$T/put.key.pub")" >"$T/ssh/authorized_keys"
	for role in get audit controller; do
		printf 'restrict,command="%s --role %s --prefix ca %s" %s\n' "$VAULT" $role "$T/vault" "$(cat "$T/$role.key.pub")" >>"$T/ssh/authorized_keys"
	done
}
allow "$VAULT --role put --prefix ca --witness $T/witness $T/vault"
# a plan whose site is reached with the key of a role
plan_for() {
	cat <<PLAN
plan: far
targets: {rto: 1h, rpo: 1h}
sites:
  - name: north
    url: "ssh://root@127.0.0.1:$port$T/vault/ca"
    identity: "$T/$1.key"
    known_hosts: "$T/ssh/known_hosts"
sources:
  - {name: files, paths: ["$T/src"]}
PLAN
}
plan_for put >"$T/plan.yaml"
plan_for get >"$T/get.yaml"
plan_for audit >"$T/audit.yaml"
plan_for controller >"$T/controller.yaml"

note "backups with the key that may put, restores with the one that may get"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
sums "$T/src" >"$T/sums.1"
echo changed >"$T/src/s3"
assert_status 0 hf backup "$T/plan.yaml"
sums "$T/src" >"$T/sums.2"
assert_status 0 hf status "$T/plan.yaml"
# restored_is SNAPSHOT SUMS
restored_is() {
	rm -rf "$T/restored"
	assert_status 0 hf restore "$T/get.yaml" --no-verify --snapshot "$1" --strip "$(depth "$T/src")" --to "$T/restored"
	sums "$T/restored" >"$T/sums.restored"
	cmp "$2" "$T/sums.restored" || fail "snapshot $1 differs"
}
restored_is 1 "$T/sums.1"
restored_is 2 "$T/sums.2"
assert_status 0 hf verify "$T/get.yaml" --data
assert_status 0 hf verify "$T/controller.yaml"

note "the site checks itself, and says what is damaged"
assert_status 0 "$VAULT" --verify --prefix ca "$T/vault"
assert_eq "$(json 'len(d["damaged"])' "$T/out")" 0 "damaged objects"
assert_less 1 "$(json 'd["checked"]' "$T/out")" "objects with a digest"

note "the witness has cosigned what was published"
cosig=$(find "$T/vault/ca/l" -name '*.cosig' | sort | tail -n 1)
assert_eq "$(sed -n 's/^key //p' "$cosig")" "$witness" "key of the witness"

note "what the key of the backup may not do: read packs, and anything that is no vault"
sums "$T/vault/ca" | sort >"$T/before"
# all that was there is there as it was; evidence may have come
unchanged() {
	sums "$T/vault/ca" | sort >"$T/after"
	comm -23 "$T/before" "$T/after" >"$T/lost"
	assert_empty "$T/lost" "changed or removed at the site"
}
assert_status 1 hf restore "$T/plan.yaml" --no-verify --to "$T/never"
assert_contains "$T/err" "may not get p/"
[ ! -e "$T/never/s1" ] || fail "a restore with the key that may only put"
by_ssh() {
	ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i "$T/put.key" -o "UserKnownHostsFile=$T/ssh/known_hosts" -p "$port" "$@"
}
pack=$(largest "$T/vault/ca/p")
# refused COMMAND...: as a remote command; the vault answers in its place
refused() {
	: | timeout 60 ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i "$T/put.key" -o "UserKnownHostsFile=$T/ssh/known_hosts" -p "$port" \
		root@127.0.0.1 "$@" >"$T/out" 2>"$T/err" || :
	grep -qF HFWIRE "$T/out" || fail "no vault answered to: $*"
	assert_contains "$T/err" "which is not what this key is for"
}
refused rm -f "$pack"
refused "sh -c 'echo hello >$T/hello'"
refused "$VAULT --role get $T/vault"
refused "chmod -R 777 $T/vault; rm -rf $T/vault"
[ ! -e "$T/hello" ] || fail "a command was run"
echo "rm $pack" >"$T/batch"
if timeout 60 sftp -F none -o BatchMode=yes -o IdentitiesOnly=yes -i "$T/put.key" -o "UserKnownHostsFile=$T/ssh/known_hosts" -P "$port" -b "$T/batch" \
	root@127.0.0.1 >"$T/out" 2>&1; then fail "sftp works with the key"; fi
if timeout 60 scp -F none -O -o BatchMode=yes -o IdentitiesOnly=yes -i "$T/put.key" -o "UserKnownHostsFile=$T/ssh/known_hosts" -P "$port" \
	"$T/src/s1" "root@127.0.0.1:$pack" >"$T/out" 2>&1; then fail "scp works with the key"; fi
# a forwarding that is asked for and refused ends ssh
if : | by_ssh -o ExitOnForwardFailure=yes -R 0:127.0.0.1:22 root@127.0.0.1 >"$T/out" 2>"$T/err"; then fail "a port was forwarded"; fi
: | by_ssh -W "127.0.0.1:$port" root@127.0.0.1 >"$T/out" 2>"$T/err" && fail "a connection was forwarded"
assert_contains "$T/err" prohibited
by_ssh -tt root@127.0.0.1 </dev/null >"$T/out" 2>&1 && fail "there is a terminal"
assert_lacks "$T/out" '$ '
unchanged

cp "$T/after" "$T/after.put"
note "the other roles write nothing; the auditor reads what is in the clear"
assert_status 0 hf snapshots "$T/audit.yaml"
for role in get audit; do
	hf backup "$T/$role.yaml" >"$T/out" 2>"$T/err" && fail "role $role can back up"
	assert_contains "$T/err" "may not put"
done
unchanged
cmp "$T/after" "$T/after.put" || fail "a role that may not put has put something"

note "the probe tries what a thief of the key would: nothing of it works"
assert_status 0 hf site probe "$T/plan.yaml" --json
cp "$T/out" "$T/probe"
assert_contains "$T/probe" append-only

note "a connection that dies in the middle is made anew"
head -c 40000000 /dev/urandom >"$T/src/more"
allow "/bin/sh -c 'echo \$\$ >>$T/pids; exec $VAULT --role put --prefix ca --witness $T/witness $T/vault'"
# busy NTH: the NTH vault has received a megabyte
busy() {
	pid=$(sed -n "$1p" "$T/pids") && [ -n "$pid" ] && [ "$(awk '/rchar/ {print $2}' "/proc/$pid/io")" -gt 1000000 ]
}
{ plan_for put | sed '/^sources:/,$d' && printf '    bandwidth: {limit: 16MiB/s}\n' && plan_for put | sed -n '/^sources:/,$p'; } >"$T/slow.yaml"
start hf backup "$T/slow.yaml" >"$T/out" 2>"$T/err"
backup=$!
for nth in 1 2 3; do
	wait_for 30 busy $nth
	kill -KILL "$(sed -n ${nth}p "$T/pids")" 2>/dev/null || :
done
wait $backup || fail "the backup did not outlive its connections"
sums "$T/src" >"$T/sums.3"
allow "$VAULT --role put --prefix ca --witness $T/witness $T/vault"
restored_is 3 "$T/sums.3"
unchanged

note "a vault that is not there is told with the command that brings it"
allow "$T/no-such-vault --role put --prefix ca $T/vault"
hf backup "$T/plan.yaml" >"$T/out" 2>"$T/err" && fail "a backup without a vault"
assert_contains "$T/err" "holdfast-vault"
assert_contains "$T/err" "scp "
allow "echo this is another program"
hf backup "$T/plan.yaml" >"$T/out" 2>"$T/err" && fail "a backup to another program"
assert_contains "$T/err" "this is another program"

note "a disk that is not mounted is not replaced by an empty directory"
allow "$VAULT --role put --prefix ca --witness $T/witness $T/vault"
mv "$T/vault" "$T/away"
hf backup "$T/plan.yaml" >"$T/out" 2>"$T/err" && fail "a backup to a site that is away"
assert_contains "$T/err" "is not there"
[ ! -e "$T/vault" ] || fail "a place was made"
mv "$T/away" "$T/vault"

note "a full disk is told, and nothing half-written is visible"
mkdir "$T/small"
mount -t tmpfs -o size=2m none "$T/small" || fail "cannot mount"
trap 'umount "$T/small"; at_exit' EXIT
cp -a "$T/vault/ca" "$T/small/ca" 2>/dev/null || { find "$T/small" -mindepth 1 -delete; }
allow "$VAULT --role put --prefix ca $T/small"
rm -rf "$T/small/ca"
R2=$T/root2
sed "s|$T/vault/ca|$T/small/ca|" "$T/plan.yaml" >"$T/small.yaml"
"$HOLDFAST" --root "$R2" init "$T/small.yaml" >"$T/out" 2>"$T/err" || fail "init at the small disk: $(cat "$T/err")"
"$HOLDFAST" --root "$R2" backup "$T/small.yaml" >"$T/out" 2>"$T/err" && fail "3 MB fit into 2 MB"
assert_contains "$T/err" "No space left on device"
assert_status 0 "$VAULT" --verify --prefix ca "$T/small"
assert_eq "$(json 'len(d["damaged"])' "$T/out")" 0 "half-written objects"

note "damage at the site: its own check names the object"
corrupt_byte "$pack" 1000
assert_status 6 "$VAULT" --verify --prefix ca "$T/vault"
assert_eq "$(json 'd["damaged"][0]["key"]' "$T/out")" "${pack#"$T/vault/ca/"}" "damaged object"

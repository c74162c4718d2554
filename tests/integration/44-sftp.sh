#!/bin/sh
# A site behind a real sshd: every job, what a thief of its key could do, host keys that are not the pinned ones, a server that is away.
. "$(dirname "$0")/../lib/lib.sh"
needs sshd ssh-keygen

mkdir -p "$T/src" "$T/sites/here"
head -c 20000000 /dev/urandom >"$T/src/large"
for i in 1 2 3 4 5 6 7 8 9; do echo "small $i" >"$T/src/s$i"; done
server() {
	start "$REPO/tests/lib/sshd.sh" "$T/sshd"
	SERVER=$!
	wait_for 30 test -s "$T/sshd/pid"
}
server

# plan FILE KNOWN_HOSTS: a directory `here` and the server's directory `far`
plan() {
	{
		plan_head sftp here
		printf '  - {name: far, url: "sftp://%s@127.0.0.1:%s%s/far/ca", identity: "%s", known_hosts: "%s"}\n' \
			"$(id -un)" "$(cat "$T/sshd/port")" "$T" "$T/sshd/user" "$2"
		printf 'copies: {min: 2}\nsources:\n  - {name: files, paths: ["%s"]}\n' "$T/src"
	} >"$1"
}
restored_is() {
	rm -rf "$T/restored"
	assert_status 0 hf restore "$1" --site "$2" --strip "$(depth "$T/src")" --to "$T/restored"
	sums "$T/src" >"$T/sums"
	sums "$T/restored" | cmp - "$T/sums" || fail "what site $2 has is not what was backed up"
}
plan "$T/plan.yaml" "$T/sshd/known_hosts"

note "a host key that nobody pinned: nothing is sent, nothing is learned, and the fingerprint is told"
: >"$T/empty"
plan "$T/unknown.yaml" "$T/empty"
assert_status 8 hf init "$T/unknown.yaml"
assert_contains "$T/err" "no host key is pinned"
assert_contains "$T/err" "$(ssh-keygen -lf "$T/sshd/host_ed25519.pub" | cut -d' ' -f2)"
assert_empty "$T/empty"
[ ! -e "$T/far" ] || fail "something was made at a host that is not known"
rm -rf "$R" "$T/sites/here"
mkdir "$T/sites/here"

note "init makes the directory; backup, verify and restore"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
assert_status 0 hf verify "$T/plan.yaml" --data
restored_is "$T/plan.yaml" far
[ -z "$(ls "$T/far/ca/.t")" ] || fail "remains of puts"

note "the probe finds out that who has the key may overwrite and remove"
assert_status 0 hf site probe "$T/plan.yaml" --site far --json
assert_eq "$(json 'd["extra"]["probes"][0]["class"]' "$T/out")" mutable "class of a plain SFTP site"
assert_eq "$(json '[p["answer"] for p in d["extra"]["probes"][0]["points"] if p["point"] in ("create_only", "one_winner", "read_after_write", "list_after_write")]' "$T/out")" \
	'["yes", "yes", "yes", "yes"]' "points"

note "another key at the same place: refused, and the other site goes on"
mv "$T/sshd/known_hosts" "$T/right"
sed "s| [A-Za-z0-9+/=]*\$| $(cut -d' ' -f2 "$T/sshd/user.pub")|" "$T/right" >"$T/sshd/known_hosts"
echo "run 2" >"$T/src/s2"
assert_status 8 hf backup "$T/plan.yaml"
assert_contains "$T/err" "not the one that is pinned"
mv "$T/right" "$T/sshd/known_hosts"

note "a server that is away: the backup goes to the other site, and replicate catches up"
kill "$SERVER"
echo "run 3" >"$T/src/s3"
assert_status 8 hf backup "$T/plan.yaml"
server
assert_status 0 hf replicate "$T/plan.yaml"
restored_is "$T/plan.yaml" far

note "the machine is lost: the site, the plan and the opening key are enough"
cold=$T/cold
mkdir -p "$cold/keys/recovery"
cp "$R/keys/recovery/sftp.key" "$cold/keys/recovery/"
chmod 700 "$cold/keys" "$cold/keys/recovery"
mv "$T/sites/here" "$T/gone"
grep -v 'name: here\|copies:' "$T/plan.yaml" >"$T/cold.yaml"
mv "$R" "$T/lost"
R=$cold
restored_is "$T/cold.yaml" far

#!/bin/sh
# Four kinds of site in one plan: a vault, plain SFTP, S3 with Object Lock, a directory. One is cut off in the middle of a run; then each
# alone has to give everything back, to a machine that remembers nothing.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root # the server lets root in
needs /usr/sbin/sshd ssh sftp curl
[ -n "${HOLDFAST_S3_ENDPOINT:-}" ] || exec "$REPO/tests/with-servers" "$0"
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)

# --- the places ---
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
ssh-keygen -q -t ed25519 -N '' -C vault -f "$T/vault.key"
mkdir -p "$T/sites/vault" "$T/sites/sftp" "$T/sites/disk" "$T/src"
printf 'restrict,command="%s --role controller %s" %s\n' "$PROGRAMS/holdfast-vault" "$T/sites/vault" "$(cat "$T/vault.key.pub")" >>"$T/ssh/authorized_keys"
start "$PROGRAMS/linkproxy" --target "127.0.0.1:$port" --port-file "$T/proxy.port"
link=$!
wait_for 10 test -s "$T/proxy.port"
far=$(cat "$T/proxy.port")
"$REPO/tests/lib/sshd.sh" --pin "$T/ssh" "$far" >>"$T/ssh/known_hosts"
bucket=four-$(basename "$T" | tr 'A-Z.' 'a-z-')
export S3_KEY="$HOLDFAST_S3_KEY" S3_SECRET="$HOLDFAST_S3_SECRET"

# plan FILE SITE...: with those of the four sites
plan() {
	plan_file=$1
	shift
	{
		printf 'plan: four\ntargets: {rto: 1h, rpo: 1h}\ncopies: {min: %d}\nsources:\n  - {name: files, paths: ["%s"]}\nsites:\n' $# "$T/src"
		for site in "$@"; do
			case $site in
			vault) printf '  - {name: vault, url: "ssh://root@127.0.0.1:%s/vault", identity: "%s", known_hosts: "%s"}\n' "$port" "$T/vault.key" "$T/ssh/known_hosts" ;;
			sftp) printf '  - {name: sftp, url: "sftp://root@127.0.0.1:%s%s", identity: "%s", known_hosts: "%s"}\n' "$far" "$T/sites/sftp" "$T/ssh/user" "$T/ssh/known_hosts" ;;
			cloud) printf '  - {name: cloud, url: "s3://%s/ca", endpoint: "%s", ca_file: "%s", region: default, access_key: "env:S3_KEY", secret_key: "env:S3_SECRET", immutable: 2d}\n' \
				"$bucket" "$HOLDFAST_S3_TLS_ENDPOINT" "$HOLDFAST_S3_CA" ;;
			disk) printf '  - {name: disk, url: "file://%s"}\n' "$T/sites/disk" ;;
			esac
		done
	} >"$plan_file"
}
plan "$T/plan.yaml" vault sftp cloud disk
latest=$R/results/four/latest.json
# site NAME KEY: a member of what the last result tells of one site
site() {
	json "[s for s in d['sites'] if s['name'] == '$1'][0]['$2']" "$latest"
}

note "a first run brings a copy to each"
head -c 20000000 /dev/urandom >"$T/src/blob"
for i in $(seq 200); do seq "$i" 3000 >"$T/src/f$i"; done
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"
for name in vault sftp cloud disk; do assert_eq "$(site $name outcome)" committed "$name"; done

note "one is cut off in the middle of a run: the others have it, and that is told"
head -c 80000000 /dev/urandom >"$T/src/more"
start "$HOLDFAST" --root "$R" backup "$T/plan.yaml" --patience 3s >"$T/cut.out" 2>"$T/cut.err"
run=$!
partly() { [ "$(bytes_below "$T/sites/sftp")" -gt 30000000 ]; }
wait_for 30 partly
kill -USR1 "$link"
got=0
wait $run || got=$?
assert_eq $got 8 "status of the run: $(tail -n 5 "$T/cut.err")"
for name in vault cloud disk; do assert_eq "$(site $name outcome)" committed "$name"; done
assert_eq "$(site sftp outcome)" failed sftp
assert_eq "$(site sftp behind)" 1 "snapshots that the site lacks"
assert_status 8 hf backup "$T/plan.yaml" --patience 3s
assert_eq "$(site sftp outcome)" unreachable sftp
got=0
hf status "$T/plan.yaml" >"$T/out" 2>&1 || got=$?
[ $got != 0 ] || fail "all is well with a site away"
assert_contains "$T/out" sftp

note "the link heals: the next run catches up"
kill -USR2 "$link"
echo small >"$T/src/small"
assert_status 0 hf backup "$T/plan.yaml"
assert_eq "$(site sftp behind)" 0 "snapshots that the site lacks"
assert_status 0 hf verify "$T/plan.yaml"

note "the backup's own credentials cannot do harm at the vault and the locked bucket, and can at plain SFTP"
assert_status 0 hf site probe "$T/plan.yaml"
class() { json "[s for s in d['extra']['probes'] if s['site'] == '$1'][0]['class']" "$latest"; }
assert_eq "$(class vault)" append-only vault
assert_eq "$(class cloud)" locked cloud
assert_eq "$(class sftp)" mutable sftp
victim=$(cd "$T/sites/vault" && find p -type f | head -n 1)
ssh_vault() { ssh -F none -i "$T/vault.key" -p "$port" -o BatchMode=yes -o UserKnownHostsFile="$T/ssh/known_hosts" root@127.0.0.1 "$@" </dev/null >"$T/ssh.out" 2>&1; }
ssh_vault rm -rf "$T/sites/vault/p" || :
printf 'rm %s\n' "$T/sites/vault/$victim" | sftp -q -F none -b - -i "$T/vault.key" -P "$port" -o UserKnownHostsFile="$T/ssh/known_hosts" root@127.0.0.1 >"$T/ssh.out" 2>&1 || :
[ -s "$T/sites/vault/$victim" ] || fail "the key of the vault removed an object"
signed() { curl -s -o "$T/s3.out" -w '%{http_code}' --cacert "$HOLDFAST_S3_CA" --user "$S3_KEY:$S3_SECRET" --aws-sigv4 aws:amz:default:s3 -H "x-amz-content-sha256: $(sha256sum </dev/null | cut -d' ' -f1)" "$@"; }
signed "$HOLDFAST_S3_TLS_ENDPOINT/$bucket?prefix=ca%2Fp%2F&versions=" >"$T/code"
assert_eq "$(cat "$T/code")" 200 "a list of versions"
key=$(grep -o '<Key>[^<]*' "$T/s3.out" | head -n 1 | cut -c6-)
version=$(grep -o '<VersionId>[^<]*' "$T/s3.out" | head -n 1 | cut -c12-)
case $key in ca/p/*) ;; *) fail "no pack in the list of versions: $(head -c 500 "$T/s3.out")" ;; esac
assert_eq "$(signed -X DELETE "$HOLDFAST_S3_TLS_ENDPOINT/$bucket/$key?versionId=$version")" 403 "deleting a locked version"

note "damage at the vault is repaired from the others, by what its key may put"
damaged() {
	find "$T/sites/vault" "$@" -type f | while read -r file; do
		chmod u+w "$file"
		corrupt_byte "$file" $(($(size_of "$file") / 2))
	done
}
damaged -path "*/w/*" -name fate
damaged -path "*/$(basename "$victim")"
damaged -path "*/cfg/*"
assert_status 6 hf verify "$T/plan.yaml" --site vault
assert_status 0 hf verify "$T/plan.yaml" --repair --site vault
assert_status 0 hf verify "$T/plan.yaml"
assert_status 6 "$PROGRAMS/holdfast-vault" --verify "$T/sites/vault" # the damaged pack stays where it is
assert_eq "$(json 'len(d["damaged"])' "$T/out")" 1 "objects that the vault finds damaged"

note "each alone, with all others gone, gives everything back to a machine that knows nothing"
cp "$R/keys/recovery/four.key" "$T/opening.key"
for name in vault sftp cloud disk; do
	new=$T/cold-$name
	plan "$T/only-$name.yaml" $name
	mkdir -p "$new/keys/recovery"
	cp "$T/opening.key" "$new/keys/recovery/four.key"
	chmod 700 "$new/keys" "$new/keys/recovery"
	for other in vault sftp disk; do [ $other = $name ] || mv "$T/sites/$other" "$T/gone-$other"; done
	assert_status 0 "$HOLDFAST" --root "$new" restore "$T/only-$name.yaml" --source files --snapshot latest --to "$T/back-$name"
	same_tree "$T/src" "$T/back-$name$T/src"
	assert_status 0 "$HOLDFAST" --root "$new" verify "$T/only-$name.yaml" --data
	for other in vault sftp disk; do [ $other = $name ] || mv "$T/gone-$other" "$T/sites/$other"; done
	rm -rf "$T/back-$name" "$new"
done

#!/bin/sh
# Four kinds of site, each with less room than a run needs: a directory, plain SFTP and a vault on small disks, a bucket with a quota. The site
# that has room gets its copy, each full one is told with the reason, nothing half-written is there, and with more room they catch up.
# Run it by tests/with-servers.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS:-}" ]; then exec env OWN_MOUNTS=1 unshare -m "$0"; fi
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root # mounts, and the server lets root in
needs /usr/sbin/sshd ssh sftp curl radosgw-admin
[ -n "${HOLDFAST_S3_DIR:-}" ] || skip "needs an S3 gateway of its own: tests/with-servers COMMAND"
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)
SMALL=25 LARGE=200 # MB of room
mkdir -p "$T/src" "$T/sites/roomy"
test_end() { umount "$T"/sites/disk "$T"/sites/sftp "$T"/sites/vault 2>/dev/null; }
for name in disk sftp vault; do
	mkdir "$T/sites/$name"
	mount -t tmpfs -o size=${SMALL}m none "$T/sites/$name" || fail "cannot mount"
done
WHO=full$(basename "$T" | tr -dc 'A-Za-z0-9' | tr 'A-Z' 'a-z')
BUCKET=hf-$WHO
admin() { radosgw-admin -c "$HOLDFAST_S3_DIR/ceph.conf" -n client.admin --log-file /dev/null "$@" >"$T/admin.out" 2>&1 || fail "radosgw-admin $*: $(cat "$T/admin.out")"; }
export S3_KEY=$WHO S3_SECRET=lasting
admin user create --uid "$WHO" --display-name "$WHO" --access-key "$S3_KEY" --secret "$S3_SECRET"
admin quota set --quota-scope=bucket --uid "$WHO" --max-size ${SMALL}000000
admin quota enable --quota-scope=bucket --uid "$WHO"
start "$REPO/tests/lib/sshd.sh" "$T/ssh"
wait_for 10 test -s "$T/ssh/pid"
port=$(cat "$T/ssh/port")
ssh-keygen -q -t ed25519 -N '' -C vault -f "$T/vault.key"
printf 'restrict,command="%s --role controller %s" %s\n' "$PROGRAMS/holdfast-vault" "$T/sites/vault" "$(cat "$T/vault.key.pub")" >>"$T/ssh/authorized_keys"
cat >"$T/plan.yaml" <<PLAN
plan: full
targets: {rto: 1h, rpo: 1h}
copies: {min: 5}
sources:
  - {name: files, paths: ["$T/src"]}
sites:
  - {name: roomy, url: "file://$T/sites/roomy"}
  - {name: disk, url: "file://$T/sites/disk"}
  - {name: sftp, url: "sftp://root@127.0.0.1:$port$T/sites/sftp", identity: "$T/ssh/user", known_hosts: "$T/ssh/known_hosts"}
  - {name: vault, url: "ssh://root@127.0.0.1:$port/vault", identity: "$T/vault.key", known_hosts: "$T/ssh/known_hosts"}
  - {name: cloud, url: "s3://$BUCKET/ca", endpoint: "$HOLDFAST_S3_ENDPOINT", region: default, access_key: "env:S3_KEY", secret_key: "env:S3_SECRET"}
PLAN
latest=$R/results/full/latest.json
# site NAME KEY: a member of what the last result tells of one site
site() { json "[s for s in d['sites'] if s['name'] == '$1'][0].get('$2')" "$latest"; }
# behind: how many snapshots each but the roomy one lacks, by status
behind() {
	hf status "$T/plan.yaml" --json >"$T/status" 2>"$T/status.err" || :
	json '{s["name"]: s["behind"] for r in d for s in r["sites"] if s["name"] != "roomy"}' "$T/status"
}
# why NAME: words of the reason
why() {
	case $1 in
	cloud) echo QuotaExceeded ;;
	sftp) echo "disk is full" ;;
	*) echo "No space left on device" ;;
	esac
}
# room NAME: from now on there is enough
room() {
	case $1 in
	cloud) admin quota set --quota-scope=bucket --uid "$WHO" --max-size ${LARGE}000000 ;;
	*) mount -o remount,size=${LARGE}m "$T/sites/$1" ;;
	esac
}
# nothing_half NAME: every pack there is what its name says, and nothing is left of puts that failed
nothing_half() {
	if [ "$1" = cloud ]; then
		curl -sf --noproxy '*' --user "$S3_KEY:$S3_SECRET" --aws-sigv4 aws:amz:default:s3 -H "x-amz-content-sha256: $(sha256sum </dev/null | cut -d' ' -f1)" \
			"$HOLDFAST_S3_ENDPOINT/$BUCKET?uploads=" >"$T/uploads" || fail "cannot list uploads"
		assert_lacks "$T/uploads" "<Upload>"
	else
		find "$T/sites/$1" -path '*/.*' -type f >"$T/left"
		assert_empty "$T/left" "remains of puts at $1"
		find "$T/sites/$1/p" -type f | while read -r file; do
			[ "$(sha256sum <"$file" | cut -d' ' -f1)" = "$(basename "$file")" ] || fail "$file is half-written"
		done
	fi
}
# whole NUMBER...: every site's copy opens, and has so many snapshots
whole() {
	assert_status 0 hf verify "$T/plan.yaml" --data
	assert_eq "$(json '" ".join(str(c["snapshots"]) for c in d["extra"]["copies"] if c["outcome"] == "intact")' "$latest")" "$*" "snapshots that are whole"
}

note "what fits goes everywhere"
head -c 5000000 /dev/urandom >"$T/src/first"
assert_status 0 hf init "$T/plan.yaml"
assert_status 0 hf backup "$T/plan.yaml"

note "what does not fit goes where there is room; who is full is told, why, and how far behind"
head -c 45000000 /dev/urandom >"$T/src/second"
assert_status 8 timeout 300 "$HOLDFAST" --root "$R" backup "$T/plan.yaml"
cp "$T/err" "$T/told"
assert_eq "$(site roomy outcome)" committed "the site with room"
for name in disk sftp vault cloud; do
	assert_eq "$(site $name outcome)" failed "$name"
	assert_eq "$(site $name behind)" 1 "snapshots that $name lacks"
	site $name error >"$T/why"
	assert_contains "$T/why" "$(why $name)"
	assert_contains "$T/told" "$(why $name)"
done
assert_lacks "$T/told" "tried again"
assert_eq "$(behind)" '{"disk": 1, "sftp": 1, "vault": 1, "cloud": 1}' "snapshots that sites lack"
for name in disk sftp vault cloud; do nothing_half $name; done
whole 2 1 1 1 1
assert_status 0 hf restore "$T/plan.yaml" --site roomy --to "$T/back"
same_tree "$T/src" "$T/back$T/src"

note "the next run meets them full again, and those that got room catch up behind it"
room disk
room cloud
echo third >"$T/src/third"
assert_status 8 timeout 300 "$HOLDFAST" --root "$R" backup "$T/plan.yaml"
assert_lacks "$T/err" "tried again"
assert_eq "$(json 'd["sources"][0]["copies"]' "$latest")" 3 "copies of the new snapshot"
assert_eq "$(behind)" '{"disk": 0, "sftp": 2, "vault": 2, "cloud": 0}' "snapshots that sites lack"
for name in sftp vault; do nothing_half $name; done

note "with room for all, replicate brings the rest"
room sftp
room vault
assert_status 0 hf replicate "$T/plan.yaml"
assert_eq "$(behind)" '{"disk": 0, "sftp": 0, "vault": 0, "cloud": 0}' "snapshots that sites lack"
whole 3 3 3 3 3
assert_status 0 hf evidence verify "$T/plan.yaml"

#!/bin/sh
# Five machines as network namespaces: a controller, a protected host, a recovery host, an SFTP site and a vault. Only the controller has a
# way to the sites. Backup, drill there and here, a site cut off in the middle, restore.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
needs_root
needs ip /usr/sbin/sshd ssh-keygen
PROGRAMS=$(cd "$(dirname "$HOLDFAST")" && pwd)
NS=hf$$
ip netns add "$NS-ctl" 2>/dev/null || skip "no network namespaces here"
test_end() {
	for ns in ctl db spare north south; do ip netns del "$NS-$ns" 2>/dev/null || :; done
}

# on MACHINE COMMAND...: there
on() {
	machine=$NS-$1
	shift
	ip netns exec "$machine" "$@"
}
ip -n "$NS-ctl" link set lo up

# machine NAME NUMBER: with a cable to the controller alone, and an SSH server
machine() {
	ip netns add "$NS-$1"
	ip link add "v$2" netns "$NS-ctl" type veth peer name eth0 netns "$NS-$1"
	ip -n "$NS-ctl" addr add "10.77.$2.1/30" dev "v$2"
	ip -n "$NS-ctl" link set "v$2" up
	ip -n "$NS-$1" link set lo up
	ip -n "$NS-$1" addr add "10.77.$2.2/30" dev eth0
	ip -n "$NS-$1" link set eth0 up
	start ip netns exec "$NS-$1" "$REPO/tests/lib/sshd.sh" "$T/$1/ssh" "ListenAddress 10.77.$2.2"
	wait_for 10 test -s "$T/$1/ssh/pid"
	sed -i "s/127\.0\.0\.1/10.77.$2.2/" "$T/$1/ssh/known_hosts"
}
mkdir "$T/db" "$T/spare" "$T/north" "$T/south"
machine db 1
machine spare 2
machine north 3
machine south 4
# key MACHINE COMMAND: the client's key of that machine starts this and nothing else
key() {
	printf 'restrict,command="%s" %s\n' "$2" "$(cat "$T/$1/ssh/user.pub")" >"$T/$1/ssh/authorized_keys"
}
mkdir -p "$T/db/root/sources.d" "$T/spare/root/plans.d" "$T/north/copies" "$T/south/copies" "$T/db/data"
key db "$PROGRAMS/holdfast-source --root $T/db/root"
key spare "$PROGRAMS/holdfast-recovery --root $T/spare/root"
key south "$PROGRAMS/holdfast-vault --role controller $T/south/copies"
printf 'name: data\npaths: ["%s"]\n' "$T/db/data" >"$T/db/root/sources.d/data.yaml"
chmod 644 "$T/db/root/sources.d/data.yaml"
for i in $(seq 300); do echo "order $i" >"$T/db/data/order-$i"; done
head -c 4000000 /dev/urandom >"$T/db/data/blob"
# url MACHINE SCHEME NUMBER PATH
url() {
	echo "$2://root@10.77.$3.2:$(cat "$T/$1/ssh/port")$4"
}
ssh_files() {
	echo "identity: $T/$1/ssh/user, known_hosts: $T/$1/ssh/known_hosts"
}
cat >"$T/plan.yaml" <<PLAN
plan: fleet
targets: {rto: 1h, rpo: 1h}
sites:
  - {name: north, url: "$(url north sftp 3 "$T/north/copies")", $(ssh_files north)}
  - {name: south, url: "$(url south ssh 4 "$T/south/copies")", $(ssh_files south)}
sources:
  - {name: data, host: "$(url db ssh 1 "")", $(ssh_files db), paths: [/nowhere]}
copies: {min: 2}
recovery:
  target: {host: "$(url spare ssh 2 "")", $(ssh_files spare)}
  steps:
    - {id: files, restore: data, to: "\${work}/files"}
    - {id: count, run: ["/bin/sh", "-c", "find files -type f | wc -l >count"], needs: [files]}
  checks:
    - {id: manifest, kind: manifest, of: data}
    - {id: counted, kind: command, run: ["/bin/sh", "-c", "test \$(cat count) -ge 301"], needs: [count]}
drill: {negative: [corrupt-pack, wrong-key]}
PLAN
(cd "$T" && sha256sum plan.yaml) >"$T/spare/root/plans.d/fleet.sha256"
chmod 644 "$T/spare/root/plans.d/fleet.sha256"
latest=$R/results/fleet/latest.json
ctl() {
	on ctl "$HOLDFAST" --root "$R" "$@"
}
cut() {
	ip -n "$NS-ctl" link set "v$1" down
}
mend() {
	ip -n "$NS-ctl" link set "v$1" up
}

note "the protected host and the recovery host have no way to a site"
for host in db spare; do
	for site in 3 4; do
		if on $host ip route get "10.77.$site.2" >/dev/null 2>&1; then fail "$host has a way to 10.77.$site.2"; fi
	done
done

note "init, backup, verify"
assert_status 0 ctl init "$T/plan.yaml"
assert_status 0 ctl backup "$T/plan.yaml"
assert_eq "$(json '[(s["outcome"], s["copies"], s["files"]) for s in d["sources"]]' "$latest")" '[["done", 2, 301]]' "the source"
assert_status 0 ctl verify "$T/plan.yaml"
[ ! -e "$R/keys/recovery/fleet.key" ] || fail "the controller has the opening key"

note "a drill on the recovery host, from sites that it cannot reach"
assert_status 0 ctl drill "$T/plan.yaml"
assert_eq "$(json 'd["summary"]["checks_passed"]' "$latest")" 4 "checks that passed"
assert_eq "$(json 'd["extra"]["cleanup"]["proven"]' "$latest")" true "proven clean-up"

note "one site cut off: the run goes on with the other, and replicate brings it up to date"
cut 3
echo "order of the day" >"$T/db/data/order-301"
assert_status 8 ctl backup "$T/plan.yaml"
assert_eq "$(json '[s["copies"] for s in d["sources"]]' "$latest")" '[1]' copies
mend 3
assert_status 0 ctl replicate "$T/plan.yaml"

note "the protected host cut off: its source has failed, and the evidence says so"
cut 1
assert_status 1 ctl backup "$T/plan.yaml"
assert_contains "$T/err" "source 'data'"
mend 1
assert_status 0 ctl backup "$T/plan.yaml"

note "a restore over there, from the vault alone"
cut 3
assert_status 0 ctl restore "$T/plan.yaml" --source data --site south --to back
same_tree "$T/db/data" "$T/spare/root/restored/back$T/db/data"
mend 3

note "the same drill here, with the opening key brought here: an isolated process without a network reads distant sites through its parent"
mkdir -p "$R/keys/recovery"
cp "$T/spare/root/keys/recovery/fleet.key" "$R/keys/recovery/"
sed 's/^  target: .*/  target: {isolate: [mount, net, pid, ipc]}/' "$T/plan.yaml" >"$T/here.yaml"
assert_status 0 ctl drill "$T/here.yaml"
assert_eq "$(json 'd["extra"]["isolation"]["net"]' "$latest")" true "isolated network"
assert_eq "$(json '[s["outcome"] for s in d["sites"]].count("served") >= 1' "$latest")" true "who served"
assert_status 0 ctl restore "$T/plan.yaml" --source data --host local --to "$T/here"
same_tree "$T/db/data" "$T/here$T/db/data"
assert_status 0 ctl evidence verify "$T/plan.yaml"
echo "five machines"

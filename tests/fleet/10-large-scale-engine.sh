#!/bin/sh
# S3 on a cluster that keeps its data on disks: BlueStore, three storage daemons, two copies of each object. One daemon is stopped in the
# middle of a backup, and in the middle of a restore. `make check-fleet`; STORE, OSDS and COPIES are set there.
# shellcheck source=tests/lib/lib.sh
. "$(dirname "$0")/../lib/lib.sh"
[ -n "${HOLDFAST_S3_DIR:-}" ] || fail "run it by make check-fleet"
[ "$(find "$HOLDFAST_S3_DIR/run" -name 'osd.*.pid' | wc -l)" -ge 3 ] || fail "three storage daemons are needed"
MIB=${MIB:-400}
export S3_KEY="$HOLDFAST_S3_KEY" S3_SECRET="$HOLDFAST_S3_SECRET"
bucket=large-$(basename "$T" | tr 'A-Z.' 'a-z-')
mkdir -p "$T/src"
for i in $(seq 4); do head -c "$((MIB / 4))M" /dev/urandom >"$T/src/blob$i"; done
for i in $(seq 500); do seq "$i" 4000 >"$T/src/f$i"; done
cat >"$T/plan.yaml" <<PLAN
plan: large
targets: {rto: 1h, rpo: 1h}
sources:
  - {name: files, paths: ["$T/src"]}
sites:
  - {name: cloud, url: "s3://$bucket/large", endpoint: "$HOLDFAST_S3_TLS_ENDPOINT", ca_file: "$HOLDFAST_S3_CA", region: default, access_key: "env:S3_KEY", secret_key: "env:S3_SECRET", immutable: 1d}
PLAN
assert_status 0 hf init "$T/plan.yaml"


note "a storage daemon dies in the middle of a backup: the others go on, and so does the backup"
start "$HOLDFAST" --root "$R" --progress json backup "$T/plan.yaml" >"$T/run.out" 2>"$T/progress"
run=$!
sent() { grep -q '"bytes_new": *[0-9]\{8,\}' "$T/progress"; }
wait_for 120 sent
kill -KILL "$(cat "$HOLDFAST_S3_DIR/run/osd.1.pid")"
got=0
wait $run || got=$?
assert_eq $got 0 "status of the backup: $(tail -n 5 "$T/progress")"
assert_status 0 hf verify "$T/plan.yaml" --data

note "everything comes back with one daemon gone"
assert_status 0 hf restore "$T/plan.yaml" --to "$T/back"
same_tree "$T/src" "$T/back$T/src"

note "the next run is as quick to notice that nothing changed"
assert_status 0 hf backup "$T/plan.yaml"
assert_less "$(json 'd["bytes"]["added"]' "$R/results/large/latest.json")" 100000 "bytes sent"

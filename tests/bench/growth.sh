#!/bin/sh
# growth.sh: how time and memory grow with what docs/growth.md names: files, snapshots, chunks of the index.
#
#   HOLDFAST=the program, INDEX=the one made of index.c, BENCH_DIR=where (default /dev/shm, else build/bench)
#   FILES="10000 100000" SNAPSHOTS="10 100 300" CHUNKS="100000 1000000 10000000"
set -eu
TOP=$(cd "$(dirname "$0")/../.." && pwd)
HOLDFAST=${HOLDFAST:-$TOP/build/release/holdfast}
INDEX=${INDEX:-$TOP/build/release/bench/index}
FILES=${FILES:-10000 100000}
SNAPSHOTS=${SNAPSHOTS:-10 100 300}
CHUNKS=${CHUNKS:-100000 1000000 10000000}
if [ -z "${BENCH_DIR:-}" ]; then
	if [ -d /dev/shm ]; then BENCH_DIR=/dev/shm; else mkdir -p "$TOP/build/bench" && BENCH_DIR=$TOP/build/bench; fi
fi
T=$(mktemp -d "$BENCH_DIR/holdfast-growth.XXXXXX")
trap 'rm -rf "$T"' EXIT
trap 'exit 130' HUP INT TERM

for n in $FILES; do
	echo "-- $n files"
	N=$n HOLDFAST=$HOLDFAST BENCH_DIR=$T "$TOP/tests/bench/files.sh"
done

# timed NAME COMMAND...: a line with wall and CPU seconds and peak memory
timed() {
	name=$1
	shift
	/usr/bin/time -o "$T/usage" -f '%e %U %S %M' "$HOLDFAST" --root "$T/root" --progress none "$@" >"$T/log" 2>&1 || { echo "$name failed"; tail -n 20 "$T/log"; exit 1; }
	awk -v name="$name" '{printf "  %-24s %8.2f s  %8.2f s CPU  %6.0f MiB\n", name, $1, $2 + $3, $4 / 1024}' "$T/usage"
}

mkdir -p "$T/tree" "$T/site"
for i in $(seq 1000); do echo "file $i" >"$T/tree/$i"; done
cat >"$T/plan.yaml" <<PLAN
plan: growth
title: Many snapshots
targets: {rto: 1h, rpo: 24h}
sources:
  - {name: tree, paths: ["$T/tree"]}
sites:
  - {name: site, url: "file://$T/site"}
PLAN
timed init init "$T/plan.yaml" >/dev/null
have=0
for n in $SNAPSHOTS; do
	while [ "$have" -lt $((n - 1)) ]; do
		have=$((have + 1))
		echo "change $have" >"$T/tree/changes"
		timed quiet backup "$T/plan.yaml" >/dev/null
	done
	have=$n
	echo "change $have" >"$T/tree/changes"
	echo "-- $n snapshots of 1,000 small files, one changed each time"
	timed backup backup "$T/plan.yaml"
	timed "snapshots" snapshots "$T/plan.yaml"
	timed "restore of one file" restore "$T/plan.yaml" "${T#/}/tree/7" --to "$T/out" --overwrite
	timed verify verify "$T/plan.yaml"
	timed "verify --data" verify "$T/plan.yaml" --data
	find "$T/site" -type f -printf '%s\n' | awk '{n++; s += $1} END {printf "  %-24s %8d objects, %.1f MB\n", "site", n, s / 1e6}'
done

if [ -x "$INDEX" ]; then
	echo "-- index"
	for n in $CHUNKS; do "$INDEX" "$n" "$T/index"; done
else
	echo "no $INDEX: make bench-growth makes it"
fi

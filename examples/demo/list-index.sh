#!/bin/sh
# list-index.sh: what the authority says it has issued: the totals, and a digest over serials and states.
set -eu
cd "$(dirname "$0")/.."
awk -F '\t' '{n[$1]++} END {printf "%d valid, %d revoked, SHA-256 ", n["V"], n["R"]}' issuing/index.txt
awk -F '\t' '{print $4, $1}' issuing/index.txt | sort | sha256sum | cut -c 1-64

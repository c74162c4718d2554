#!/bin/sh
# list-registry.sh: the same as list-index.sh, but as the register has it.
set -eu
cd "$(dirname "$0")/.."
sql() {
	sqlite3 -readonly -separator ' ' ../registry.db "$1"
}
printf '%s, SHA-256 ' "$(sql "SELECT sum(status = 'V') || ' valid, ' || sum(status = 'R') || ' revoked' FROM certificate")"
sql 'SELECT serial, status FROM certificate' | sort | sha256sum | cut -c 1-64

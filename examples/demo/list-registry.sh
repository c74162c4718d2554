#!/bin/sh
# list-registry.sh: the same as list-index.sh, but as the register has it.
set -eu
cd "$(dirname "$0")/.."
sqlite3 -readonly ../registry.db "SELECT sum(status = 'V') || ' valid, ' || sum(status = 'R') || ' revoked' FROM certificate"
sqlite3 -readonly -separator ' ' ../registry.db 'SELECT serial, status FROM certificate' | sort | sha256sum

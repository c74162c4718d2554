#!/bin/sh
# sync-registry.sh: brings the register up to the authority's index.
set -eu
cd "$(dirname "$0")/.."
{
	echo 'BEGIN;'
	awk -F '\t' '{
		id = name = $6
		sub(/.*serialNumber=/, "", id); sub(/\/.*/, "", id)
		sub(/.*CN=/, "", name); sub(/\/.*/, "", name)
		printf "INSERT OR IGNORE INTO subscriber VALUES (\047%s\047, \047%s\047, datetime());\n", id, name
		printf "INSERT INTO certificate VALUES (\047%s\047, \047%s\047, \047V\047, \04720%s\047) ON CONFLICT DO NOTHING;\n", $4, id, $2
		if ($1 == "R") printf "UPDATE certificate SET status = \047R\047 WHERE serial = \047%s\047 AND status = \047V\047;\n", $4
	}' issuing/index.txt
	echo 'COMMIT;'
} | sqlite3 -bail ../registry.db

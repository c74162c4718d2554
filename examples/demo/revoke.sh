#!/bin/sh
# revoke.sh N: revokes N certificates spread over the valid ones, and publishes a new list.
set -eu
cd "$(dirname "$0")/.."
for serial in $(awk -F '\t' '$1 == "V" {print $4}' issuing/index.txt | awk -v n="$1" '{s[NR] = $0} END {
	for (i = 0; i < n; i++) print s[1 + int(i * NR / n)]}'); do
	openssl ca -config openssl.cnf -revoke "issuing/newcerts/$serial.pem" -crl_reason superseded 2>/dev/null
done
openssl ca -config openssl.cnf -gencrl -out issuing/crl.pem 2>/dev/null
bin/sync-registry.sh

#!/bin/sh
# verify-crl.sh: the list is signed by the issuing authority and names as many certificates as the index calls revoked.
set -eu
cd "$(dirname "$0")/.."
openssl crl -in issuing/crl.pem -CAfile issuing/ca.pem -noout 2>&1 | grep -q '^verify OK$' || { echo "the list's signature is wrong"; exit 1; }
listed=$(openssl crl -in issuing/crl.pem -noout -text | grep -c 'Serial Number:') || :
revoked=$(grep -c '^R' issuing/index.txt) || :
[ "$listed" = "$revoked" ] || { echo "$listed on the list, $revoked in the index"; exit 1; }
echo "signature right, $listed entries"

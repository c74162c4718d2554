#!/bin/sh
# verify-certs.sh: every certificate of the index is there and verifies up to the root; exactly the revoked ones are on the list.
set -eu
cd "$(dirname "$0")/.."
files() {
	awk -F '\t' -v state="$1" '$1 == state {print "issuing/newcerts/" $4 ".pem"}' issuing/index.txt
}
valid=$(files V | wc -l) revoked=$(files R | wc -l)
verify() {
	openssl verify -CAfile root/ca.pem -untrusted issuing/ca.pem -CRLfile issuing/crl.pem -crl_check "$@" 2>&1
}

for file in $(files V) $(files R); do
	[ -f "$file" ] || { echo "certificate $file is missing"; exit 1; }
done
# shellcheck disable=SC2046 # serials are hexadecimal: the lists are meant to be split into words
set -- $(files V)
report=$(verify "$@") || :
good=$(printf '%s\n' "$report" | grep -c ': OK$') || :
[ "$good" = "$valid" ] || { printf '%s\n' "$report" | grep -v ': OK$' | head -n 3; echo "only $good of $valid certificates verify"; exit 1; }
# shellcheck disable=SC2046
set -- $(files R)
[ "$revoked" = 0 ] || report=$(verify "$@") || :
refused=$(printf '%s\n' "$report" | grep -c 'certificate revoked') || :
[ "$refused" = "$revoked" ] || { echo "only $refused of $revoked revoked certificates are refused"; exit 1; }
echo "$valid certificates verify, $revoked revoked ones are refused"

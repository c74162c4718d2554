#!/bin/sh
# issue-one.sh NUMBER: what the service is for: one certificate, verified, entered in the register. Proves that keys, database and
# register work together.
set -eu
cd "$(dirname "$0")/.."
bin/issue.sh "$1" "$1"
cert=issuing/newcerts/$(tail -n 1 issuing/index.txt | cut -f 4).pem
openssl verify -CAfile root/ca.pem -untrusted issuing/ca.pem "$cert"
openssl x509 -in "$cert" -noout -subject | grep -q "CN = Subscriber $1\$"

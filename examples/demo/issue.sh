#!/bin/sh
# issue.sh FROM TO: certificates for the subscribers of these numbers, entered in the register.
set -eu
umask 077
cd "$(dirname "$0")/.."
mkdir -p requests
number=$1
while [ "$number" -le "$2" ]; do
	id=$(printf 'S%05d' "$number")
	openssl req -config openssl.cnf -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout /dev/null \
		-subj "/C=EU/O=Demo Subscribers/serialNumber=$id/CN=Subscriber $number" -out "requests/$id.csr" 2>/dev/null
	number=$((number + 1))
done
openssl ca -config openssl.cnf -batch -notext -out /dev/null -infiles requests/*.csr 2>/dev/null
rm -rf requests
bin/sync-registry.sh

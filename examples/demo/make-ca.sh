#!/bin/sh
# make-ca.sh DIR: a root and an issuing authority in DIR, and beside it registry.db, the register of its subscribers.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/bin"
cp "$here/openssl.cnf" "$1/"
for script in issue issue-one revoke verify-certs verify-crl list-index list-registry sync-registry; do
	cp "$here/$script.sh" "$1/bin/"
	chmod 755 "$1/bin/$script.sh"
done
cd "$1"

for authority in root issuing; do
	mkdir -p $authority/private $authority/newcerts
	: >$authority/index.txt
	echo 1000 >$authority/serial
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out $authority/private/ca.key 2>/dev/null
done
echo 01 >issuing/crlnumber
openssl req -config openssl.cnf -new -x509 -days 7300 -key root/private/ca.key -extensions root_ext \
	-subj '/C=EU/O=Demo Trust Services/CN=Demo Root CA' -out root/ca.pem
openssl req -config openssl.cnf -new -key issuing/private/ca.key -subj '/C=EU/O=Demo Trust Services/CN=Demo Issuing CA' |
	openssl ca -config openssl.cnf -name root_ca -extensions issuing_ext -batch -notext -in /dev/stdin -out issuing/ca.pem 2>/dev/null
openssl ca -config openssl.cnf -gencrl -out issuing/crl.pem 2>/dev/null

sqlite3 ../registry.db <<'SQL'
CREATE TABLE subscriber (number TEXT PRIMARY KEY, name TEXT NOT NULL, registered TEXT NOT NULL);
CREATE TABLE certificate (serial TEXT PRIMARY KEY, subscriber TEXT NOT NULL REFERENCES subscriber, status TEXT NOT NULL
	CHECK (status IN ('V', 'R')), expires TEXT NOT NULL);
CREATE TABLE event (id INTEGER PRIMARY KEY, at TEXT NOT NULL, serial TEXT NOT NULL, what TEXT NOT NULL);
CREATE TRIGGER issued AFTER INSERT ON certificate BEGIN
	INSERT INTO event (at, serial, what) VALUES (datetime(), new.serial, 'issued to ' || new.subscriber);
END;
CREATE TRIGGER revoked AFTER UPDATE OF status ON certificate WHEN new.status = 'R' AND old.status = 'V' BEGIN
	INSERT INTO event (at, serial, what) VALUES (datetime(), new.serial, 'revoked');
END;
SQL

#!/bin/sh
# plan.sh DIR BULK: the continuity plan of the authority in DIR, with BULK, a directory of the machine, as its documents.
set -eu
components() {
	printf '%s' "${1#/}" | awk -F / '{print NF}'
}
cat <<PLAN
# The continuity plan of a small certification authority: what is protected, where the copies go, and how to recover.
plan: demo
title: Certificates for subscribers
owner: {name: Continuity office, contact: continuity@example.org, deputies: [operations@example.org]}
review: {due: $(($(date -u +%Y) + 1))-01-31, version: 1}
targets: {rto: 5m, rpo: 15m, mtpd: 1d}
activation:
  when: [nobody can get a certificate for 20 minutes, the machine is lost]
  deactivation: [certificates are issued again and every check has passed]
service: {zone: prod, location: {lat: 52.52, lon: 13.40, address: Berlin}}

sources:
  - name: ca
    paths: ["$1/ca"]                                # keys, index, serials, list of revoked certificates, certificates
    exclude: ["requests/"]
    holds: [data, configuration, keys]
  - name: registry
    command: ["sqlite3", "-readonly", "$1/registry.db", ".dump"]
    min_size: 16KiB                                 # an empty or shrunken dump is a failure, not a backup
    holds: [data, logs]
  - name: documents
    paths: ["$2"]

sites:
  - {name: berlin, url: "file://$1/sites/berlin", zone: vault-berlin, location: {lat: 52.52, lon: 13.40, address: Berlin}}
  - {name: helsinki, url: "file://$1/sites/helsinki", zone: vault-helsinki, location: {lat: 60.17, lon: 24.94, address: Helsinki}}
copies: {min: 2, min_distance_km: 1000}

schedule:
  backup: "*/10 * * * *"
  verify: {metadata: "@hourly", data: {every: "@daily", full_cycle: 30d}}
  drills:
    - {name: quarterly, kind: functional, cron: "0 6 1 1,4,7,10 *", window: 4h}
    - {name: crisis-table, kind: tabletop, cron: "0 9 15 11 *"}
retention: {keep: {hourly: 24, daily: 30, monthly: 12}, min: 30d, evidence: 7y}

recovery:
  target: {host: local, isolate: [mount, net, pid, ipc]}
  steps:
    - {id: ca, restore: ca, to: "\${work}/ca", strip: $(components "$1/ca")}
    - {id: registry, restore: registry, pipe_to: ["sqlite3", "-bail", "\${work}/registry.db"]}
    - {id: documents, restore: documents, to: "\${work}/documents", strip: $(components "$2")}
    - {id: issue, run: ["\${work}/ca/bin/issue-one.sh", "9001"], needs: [ca, registry], timeout: 1m}
  checks:
    - {id: ca-bytes, kind: manifest, of: ca, needs: [ca]}
    - {id: document-bytes, kind: manifest, of: documents, needs: [documents]}
    - {id: certificates, kind: command, run: ["\${work}/ca/bin/verify-certs.sh"], needs: [issue]}
    - {id: revocations, kind: command, run: ["\${work}/ca/bin/verify-crl.sh"], needs: [ca]}
    - id: index-and-registry
      kind: compare
      left: ["\${work}/ca/bin/list-index.sh"]
      right: ["\${work}/ca/bin/list-registry.sh"]
      needs: [issue]
    - {id: fresh, kind: freshness, of: registry, max_age: 15m}
drill: {negative: [corrupt-pack, wrong-key, stale-snapshot]}
crisis:
  roles:
    - {name: head of crisis, person: A. Keller, deputy: M. Virtanen, contact: "+49 30 0000000"}
  contacts:
    - {name: operator of the data centre, contact: "+49 30 0000002"}
  authorities:
    - {name: supervisory body, contact: incident@supervisor.example.org, deadline: 24h}
requirements: [etsi-en-319401-3.2.1, cir-2024-2690]
PLAN

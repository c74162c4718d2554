#!/usr/bin/env python3
"""Reads every project include under src/ and fails on an edge that the table of docs/architecture.md does not allow."""
import os
import re
import sys

ALLOWED = {
    "base": set(),
    "crypto": {"base"},
    "codec": {"base"},
    "ssh": {"base"},
    "store": {"ssh", "base", "crypto"},
    "wire": {"store", "base", "crypto"},
    "repo": {"store", "codec", "crypto", "base"},
    "backup": {"repo", "store", "codec", "crypto", "base"},
    "restore": {"repo", "store", "codec", "crypto", "base"},
    "verify": {"restore", "repo", "store", "codec", "crypto", "base"},
    "agent": {"wire", "ssh", "store", "base"},
    "plan": {"base", "crypto"},
    "evidence": {"store", "crypto", "base", "plan"},
    "approval": {"evidence", "store", "crypto", "base", "plan"},
}
ALLOWED["job"] = set(ALLOWED) | {"job"}
ALLOWED["ctl"] = set(ALLOWED)
ALLOWED["cli"] = set(ALLOWED)
# the one module that may include a library's headers
ONLY = {
    "openssl/": {"crypto"},
    "zstd": {"codec"},
    "archive": {"codec"},
    "sys/acl.h": {"codec"},
    "libfyaml.h": {"plan"},
    "sqlite3.h": {"ctl"},
    "curl/": {"store"},
    "libssh2": {"ssh"},
    "expat.h": {"store"},
    "jansson.h": {"base"},
}


def main():
    bad = 0
    for folder, _, files in os.walk("src"):
        module = folder.split(os.sep)[1] if os.sep in folder else ""
        for name in files:
            if not name.endswith((".c", ".h")):
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as f:
                for no, line in enumerate(f, 1):
                    m = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
                    if not m:
                        continue
                    inc = m.group(1)
                    target = inc.split("/")[0]
                    if line.strip().split()[1].startswith('"') and "/" in inc and target in ALLOWED:
                        if target != module and target not in ALLOWED.get(module, set()):
                            print(f"{path}:{no}: {module} may not include {inc}")
                            bad += 1
                    for prefix, users in ONLY.items():
                        if "<" in line and inc.startswith(prefix) and module not in users:
                            print(f"{path}:{no}: only {', '.join(sorted(users))} may include <{inc}>")
                            bad += 1
    print(f"layers: {bad} forbidden includes")
    return 1 if bad else 0


sys.exit(main())

#!/usr/bin/env python3
"""Reads every project include under src/ and agents/ and fails on an edge that the table of modules in docs/architecture.md does not allow.

The table is the rule: a row is `src/MODULE`, what it holds, and the modules that it may use, all of which stand above it. "all above"
is what it says.
"""
import os
import re
import sys

TABLE = "docs/architecture.md"
ROW = re.compile(r"\| `(src/(\w+)|agents)` \|.*\| ([^|]*) \|$")
# the one module that may include a library's headers
ONLY = {
    "openssl/": "crypto",
    "zstd": "codec",
    "archive": "codec",
    "sys/acl.h": "codec",
    "libfyaml.h": "plan",
    "curl/": "s3",
    "libssh2": "ssh",
    "expat.h": "s3",
    "jansson.h": "base",
}


def read_table(complain):
    allowed = {}
    with open(TABLE, encoding="utf-8") as f:
        for no, line in enumerate(f, 1):
            m = ROW.match(line)
            if not m:
                continue
            name, uses = m.group(2) or "agents", m.group(3)
            words = set(allowed) if uses == "all above" else set() if uses == "–" else set(uses.split())
            for word in words - set(allowed):
                complain(f"{TABLE}:{no}: {name} may use {word}, which does not stand above it")
            allowed[name] = words
    return allowed


def check_file(path, module, allowed, complain):
    with open(path, encoding="utf-8") as f:
        for no, line in enumerate(f, 1):
            m = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
            if not m:
                continue
            inc = m.group(2)
            target = inc.split("/")[0]
            if m.group(1) == '"' and "/" in inc and target != module and target not in allowed.get(module, set()):
                complain(f"{path}:{no}: {module} may not include {inc}")
            for prefix, user in ONLY.items():
                if m.group(1) == "<" and inc.startswith(prefix) and module != user:
                    complain(f"{path}:{no}: only {user} may include <{inc}>")


def main():
    bad = []
    allowed = read_table(bad.append)
    modules = {f"src/{name}": name for name in sorted(os.listdir("src"))}
    for name in modules.values():
        if name not in allowed:
            bad.append(f"{TABLE}: src/{name} has no row in the table of modules")
    for name in set(allowed) - set(modules.values()) - {"agents"}:
        bad.append(f"{TABLE}: there is no src/{name}")
    for folder, module in {**modules, "agents": "agents"}.items():
        for name in sorted(os.listdir(folder)):
            if name.endswith((".c", ".h")):
                check_file(os.path.join(folder, name), module, allowed, bad.append)
    print(*bad, sep="\n", end="\n" if bad else "")
    print(f"layers: {len(allowed)} modules, {len(bad)} edges that are not allowed")
    return 1 if bad else 0


sys.exit(main())

#!/usr/bin/python3
"""An independent reader of repository format 1, written from docs/format/format.md alone.

    holdfast_reader.py --site DIR --key FILE list [--json]
    holdfast_reader.py --site DIR --key FILE verify
    holdfast_reader.py --site DIR --key FILE entries SNAPSHOT
    holdfast_reader.py --site DIR --key FILE extract SNAPSHOT OUT.tar

SNAPSHOT is SOURCE/LINEAGE/SEQ, or SOURCE for the newest one that is there. Whatever is not as the format says ends the
program with status 6, and OUT.tar is not made; what may be missing (receipts, copies, indexes) is told on standard error.
"""
import argparse
import json
import os
import sys

from primitives import Damage, need
from repository import Repository
from snapshot import ENTRIES


def choose(repo, name):
    source, _, rest = name.partition("/")
    need(source in repo.sources, f"no source {source}")
    there = [s for s in repo.attempts(source) if not s.expired and (not rest or s.name == name)]
    need(there, f"no snapshot {name}")
    return max(there, key=lambda s: (s.signed["seq"], s.facts["start"], s.digest))


def extract(snapshot, path):
    partial = path + ".partial"
    try:
        with open(partial, "wb") as f:
            snapshot.tar(f.write)
        os.rename(partial, path)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def show_entries(snapshot):
    for _, n, info in snapshot.stream("entries", ENTRIES):
        kind = "f" if info.isreg() else "d" if info.isdir() else "l" if info.issym() else "h" if info.islnk() else "o"
        shown = {"path": info.name, "kind": kind, "mode": f"{info.mode:04o}", "size": info.size, "data": n, "link": info.linkname}
        print(json.dumps(shown))
    for code, path in snapshot.notes():
        print(json.dumps({"note": code, "path": path.decode("utf-8", "surrogateescape")}))


def listing(repo):
    return [{"source": s.source, "lineage": s.signed["lineage"], "seq": s.signed["seq"], "digest": s.digest, "expired": s.expired,
             "receipt": s.receipt, "size": s.signed["size"], "packs": len(s.packs), **{k: s.facts[k] for k in s.facts if k != "streams"}}
            for source in sorted(repo.sources) for s in repo.attempts(source)]


def verify(repo):
    for source in sorted(repo.sources):
        for snapshot in repo.attempts(source):
            if not snapshot.expired:
                snapshot.tar(lambda data: None)
                print(f"{snapshot.name}: {snapshot.facts['entries']} entries, {snapshot.facts['bytes']} bytes")
        for name in repo.names(f"i/{source}"):
            repo.unless_mended(f"i/{source}/{name}", lambda s=source, n=name: repo.check_index(s, n))


def main():
    p = argparse.ArgumentParser(description="independent reader of repository format 1")
    p.add_argument("--site", required=True)
    p.add_argument("--key", required=True)
    commands = p.add_subparsers(dest="command", required=True)
    commands.add_parser("list").add_argument("--json", action="store_true")
    commands.add_parser("verify")
    commands.add_parser("entries").add_argument("snapshot")
    c = commands.add_parser("extract")
    c.add_argument("snapshot")
    c.add_argument("output")
    a = p.parse_args()
    repo = Repository(a.site, a.key)
    if a.command == "list" and a.json:
        print(json.dumps(listing(repo), indent=1, sort_keys=True))
    elif a.command == "list":
        for s in listing(repo):
            name, state = f"{s['source']}/{s['lineage']}/{s['seq']}", "  expired" if s["expired"] else ""
            print(f"{name}  {s['end']}  {s['files']} files  {s['bytes']} bytes{state}")
    elif a.command == "verify":
        verify(repo)
    elif a.command == "entries":
        show_entries(choose(repo, a.snapshot))
    else:
        extract(choose(repo, a.snapshot), a.output)


if __name__ == "__main__":
    try:
        main()
    except Damage as damage:
        sys.exit(print(f"holdfast_reader: {damage}", file=sys.stderr) or 6)
    except (KeyError, TypeError, IndexError) as fault:
        sys.exit(print(f"holdfast_reader: a member is missing or of another type: {fault!r}", file=sys.stderr) or 6)

#!/usr/bin/env python3
"""Ceilings of CONTRIBUTING.md: a file of at most 800 lines, a function of at most 100; exceptions in size-exceptions.txt only shrink."""
import os
import re
import subprocess
import sys

FILE_MAX, FUNC_MAX = 800, 100
HERE = os.path.dirname(os.path.abspath(__file__))


def functions(path):
    """(name, lines) of each function: a body opens with { alone in the first column, as clang-format lays it out."""
    name, start = "", 0
    with open(path, encoding="utf-8") as f:
        for no, line in enumerate(f, 1):
            m = re.match(r"[A-Za-z_].*?(\w+)\(", line)
            if m and not line.startswith(("#", "struct ", "enum ", "typedef")) or (m and line.rstrip().endswith((")", ","))):
                name = m.group(1)
            if line.startswith("{"):
                start = no
            elif line.startswith("}") and start:
                yield name, no - start + 1
                start = 0


def main():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "src", "tests"], capture_output=True, text=True, check=False).stdout.split()
    if not listed:
        listed = [os.path.join(d, f) for t in ("src", "tests") for d, _, fs in os.walk(t) for f in fs]
    with open(os.path.join(HERE, "size-exceptions.txt"), encoding="utf-8") as f:
        allowed = {k: int(v) for k, v in (line.split() for line in f if line.strip() and not line.startswith("#"))}
    bad, lengths = 0, []
    for path in sorted(p for p in listed if p.endswith((".c", ".h")) and os.path.exists(p)):
        with open(path, encoding="utf-8") as f:
            n = sum(1 for _ in f)
        if n > allowed.get(path, FILE_MAX):
            print(f"{path}: {n} lines, at most {allowed.get(path, FILE_MAX)}")
            bad += 1
        for name, k in functions(path):
            lengths.append(k)
            if k > allowed.get(f"{path}:{name}", FUNC_MAX):
                print(f"{path}: {name}() has {k} lines, at most {FUNC_MAX}")
                bad += 1
    lengths.sort()
    print(f"sizes: {len(lengths)} functions, median {lengths[len(lengths) // 2]} lines, 90th percentile {lengths[len(lengths) * 9 // 10]}, {bad} over the ceiling")
    return 1 if bad else 0


sys.exit(main())

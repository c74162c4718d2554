#!/usr/bin/env python3
"""Every file that a document of the project links to or names in backticks is there: links, `src/...` and the like, `module/file.h` below src/."""
import glob
import os
import re
import subprocess
import sys

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`((?:src|tests|docs|plans|agents|examples)/[\w./*-]+)`")
SOURCE = re.compile(r"`(\w+/\w+\.[ch])`")


def there(path):
    return any(glob.glob(path + end) for end in ("", ".h", ".c"))


def main():
    bad = 0
    for doc in subprocess.check_output(["git", "ls-files", "*.md"], text=True).split():
        with open(doc, encoding="utf-8") as f:
            for no, line in enumerate(f, 1):
                named = [os.path.normpath(os.path.join(os.path.dirname(doc), m)) for m in LINK.findall(line) if "://" not in m]
                named += [m for m in PATH.findall(line) if "NN-" not in m]
                named += [m if m.split("/")[0] == "src" else "src/" + m for m in SOURCE.findall(line) if m.split("/")[0] not in ("tests", "agents")]
                for path in named:
                    if not there(path):
                        print(f"{doc}:{no}: {path} is not there")
                        bad += 1
    print(f"links: {bad} broken")
    return 1 if bad else 0


sys.exit(main())

#!/usr/bin/python3
"""cut-agent.py FILE COMMAND...: runs COMMAND with its standard input and output passed through here. FILE holds a number: after as many
bytes in both directions together the command is killed without warning; 0: never. At the end FILE.moved holds how many there were."""
import os, select, signal, subprocess, sys

limit = int(open(sys.argv[1]).read())
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
ways = {0: child.stdin.fileno(), child.stdout.fileno(): 1}
moved = 0
while child.stdout.fileno() in ways:
    for fd in select.select(list(ways), [], [])[0]:
        left = limit - moved if limit else 1 << 16
        data = os.read(fd, min(left, 1 << 16))
        if not data:
            if ways.pop(fd) != 1:
                child.stdin.close()
            continue
        try:
            os.write(ways[fd], data)
        except BrokenPipeError:
            ways.pop(fd)
        moved += len(data)
        if limit and moved >= limit:
            child.send_signal(signal.SIGKILL)
            child.wait()
            sys.exit(137)
with open(sys.argv[1] + ".moved", "w") as f:
    print(moved, file=f)
sys.exit(child.wait())

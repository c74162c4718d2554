#!/usr/bin/python3 -B
"""holdfast beside restic and borg: the same work on the same data in one run.

  bench.py        settings come from the environment

  SCALE=1         size of the corpora (0.05 for a look)
  REPS=3          repetitions; medians are shown
  CORPORA=src,db,big    TOOLS=holdfast,restic,borg
  LIMITS=files,index    what is measured beside the corpora: a million unchanged files, an index of ten million chunks
  INDEX=build/release/bench/index
  HOLDFAST=build/release/holdfast
  BENCH_DIR=      where corpora and repositories are made (default /dev/shm/holdfast-bench if it has room, else build/bench/work)
  BENCH_OUT=build/bench    results: results.csv and report.txt
  KEEP=           1: leave the corpora for the next run

Within a repetition every operation is done by all tools, one after the other, each repetition beginning with another tool. All data
is in memory (page cache, or tmpfs). Every restored tree is compared with its source, byte for byte, outside the timed part.
"""
import csv
import os
import shutil
import subprocess
import sys
import time

import corpus
import measure
import report
import roofline
from tools import OPERATIONS, RESTIC, BORG, TOOLS, Holdfast

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
FULL_SIZE = {"src": 1.5e9, "db": 1.1e9, "big": 2.2e9}
WRITES_MUCH = ("first", "restore", "restore, read back")
SETTLE_SECONDS = 3  # a file that changed a moment ago is rightly read again by every tool; the corpus is to be older than that


class Settings:
    def __init__(self, env):
        self.scale = float(env.get("SCALE") or 1)
        self.reps = int(env.get("REPS") or 3)
        self.corpora = (env.get("CORPORA") or ",".join(corpus.NAMES)).split(",")
        self.limits = [w for w in (env.get("LIMITS") if env.get("LIMITS") is not None else "files,index").split(",") if w]
        self.index = os.path.abspath(env.get("INDEX") or os.path.join(TOP, "build/release/bench/index"))
        self.tools = (env.get("TOOLS") or ",".join(TOOLS)).split(",")
        self.out = os.path.abspath(env.get("BENCH_OUT") or os.path.join(TOP, "build/bench"))
        self.keep = bool(env.get("KEEP"))
        self.program = os.path.abspath(env.get("HOLDFAST") or os.path.join(TOP, "build/release/holdfast"))
        os.makedirs(self.out, exist_ok=True)
        self.work = env.get("BENCH_DIR") or self.place()
        os.makedirs(self.work, exist_ok=True)
        Holdfast.program = self.program
        self.tmpfs = measure.is_tmpfs(self.work)

    def space(self):
        """A corpus, a repository of each tool, a restored tree and some air; corpora that stay."""
        largest = max(FULL_SIZE[c] for c in self.corpora)
        stay = sum(FULL_SIZE[c] for c in self.corpora) - largest if self.keep else 0
        return self.scale * (largest * (len(self.tools) + 2.2) + stay) + 256 * measure.MIB

    def place(self):
        shm = "/dev/shm"
        if os.path.isdir(shm) and measure.room(shm) > self.space():
            return os.path.join(shm, "holdfast-bench")
        return os.path.join(self.out, "work")


class Output:
    """The report, on the terminal and in a file; rows in a CSV file, written as they come."""

    def __init__(self, folder):
        self.text = open(os.path.join(folder, "report.txt"), "w", encoding="utf-8")
        self.table = open(os.path.join(folder, "results.csv"), "w", encoding="utf-8", newline="")
        self.csv = csv.writer(self.table)
        self.csv.writerow(["corpus", "repetition", "tool", "operation", "wall_s", "user_s", "system_s", "peak_mib", "status", "site_bytes"])

    def say(self, line=""):
        print(line, flush=True)
        self.text.write(line + "\n")
        self.text.flush()

    def row(self, name, rep, tool, op, run, site):
        self.csv.writerow([name, rep, tool, op, f"{run.wall:.3f}", f"{run.user:.3f}", f"{run.system:.3f}", f"{run.peak_mib:.1f}", run.status, site])
        self.table.flush()
        print(f"  {name} {rep} {tool:9}{op:19}{run.wall:8.2f} s", flush=True)


class CorpusBench:
    """All repetitions of one corpus."""

    def __init__(self, settings, out, results, name):
        self.set, self.out, self.results, self.name = settings, out, results, name
        self.source = os.path.join(settings.work, "corpora", name)
        self.failures = 0

    def log(self, tool):
        return os.path.join(self.set.out, f"{self.name}-{tool.name}.log")

    def fail(self, what):
        self.failures += 1
        self.out.say(f"FAILED: {what}")

    def one(self, tool, rep, op):
        argv = tool.command(op)
        if argv is None:
            return
        restores = op.startswith("restore")
        if restores:
            os.makedirs(tool.out)
        if self.set.tmpfs and op in WRITES_MUCH:
            measure.touch_memory(self.set.work, self.size)
        run = measure.run(argv, tool.env(), tool.out if restores else tool.state, self.log(tool))
        site = measure.bytes_below(tool.repo)
        self.results.add(self.name, rep, tool.name, op, run, site)
        self.out.row(self.name, rep, tool.name, op, run, site)
        if run.status != 0:
            self.fail(f"{tool.name} {op} ended with {run.status}; see {self.log(tool)}")
        if restores:
            difference = measure.same_trees(self.source, tool.restored())
            if difference:
                self.fail(f"{tool.name}: the restored tree differs\n{difference}")
            shutil.rmtree(tool.out)

    def repetition(self, rep):
        work = os.path.join(self.set.work, "tools")
        shutil.rmtree(work, ignore_errors=True)
        tools = [TOOLS[t](work, self.source, self.name == "db") for t in self.set.tools]
        turn = rep % len(tools)
        time.sleep(SETTLE_SECONDS)
        for op in OPERATIONS:
            if op == "changed":
                corpus.mutate(os.path.dirname(self.source), self.name)
                measure.read_all(self.source)
            for tool in tools[turn:] + tools[:turn]:
                self.one(tool, rep, op)
        shutil.rmtree(work)
        corpus.undo(os.path.dirname(self.source), self.name)

    def prepare(self):
        folder = os.path.dirname(self.source)
        stamp = os.path.join(folder, f".made-{self.name}")
        made = f"{self.set.scale}\n"
        if os.path.exists(corpus.kept_path(folder, self.name)) or not os.path.exists(stamp) or open(stamp, encoding="ascii").read() != made:
            self.out.say(f"making {self.name}")
            corpus.drop(folder, self.name)
            corpus.make(folder, self.name, self.set.scale)
            with open(stamp, "w", encoding="ascii") as f:
                f.write(made)
        self.files, self.size, digest = corpus.fingerprint(folder, self.name)
        self.entries = measure.entries_below(self.source)
        self.out.say(f"{self.name}: {self.files} files, {self.entries} entries, {self.size} bytes, fingerprint {digest}")

    def run(self):
        self.prepare()
        rates = roofline.measure_rates(self.set.work, self.source, self.entries)
        for tool in self.set.tools:
            open(os.path.join(self.set.out, f"{self.name}-{tool}.log"), "wb").close()
        for rep in range(self.set.reps):
            self.repetition(rep)
        stored = self.results.site(self.name, report.OURS, "first") or self.size
        roof = roofline.model(rates, self.size, stored, self.files, self.entries, self.name != "src")
        self.out.say(f"\n{self.name}: {report.corpus_report(self.results, self.name, self.set, OPERATIONS, roof, rates[roofline.ALL_CORES])}")
        self.out.say(f"\nrates of one core: {report.rates_line(rates)}\n")
        if not self.set.keep:
            corpus.drop(os.path.dirname(self.source), self.name)


def limits(settings, out):
    """What grows: files that did not change, chunks of an index. Each is a program of its own, whose lines are the report's. The index
    lies on a disk, as on every machine: tmpfs maps its small pages one by one, which takes four times as long."""
    files, chunks = int(settings.scale * 1e6), int(settings.scale * 1e7)
    wanted = {
        "files": ("unchanged files, beside find -newer (at most 2 times it, and 64 MiB)", [os.path.join(HERE, "files.sh")], {"N": str(files), "REPS": str(settings.reps)}),
        "index": ("index (at 10,000,000 chunks: open below 0.3 s, below 600 MiB, a lookup below 200 ns)", [settings.index, str(chunks), os.path.join(settings.out, "index")], {}),
    }
    failed = 0
    for name in settings.limits:
        title, argv, env = wanted[name]
        done = subprocess.run(argv, env=os.environ | {"HOLDFAST": settings.program, "BENCH_DIR": settings.work} | env, capture_output=True, text=True, check=False)
        out.say(f"\n{title}\n{done.stdout}{done.stderr}".rstrip())
        failed += done.returncode != 0
    return failed


def version(argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split("\n")[0]
    except OSError as e:
        sys.exit(f"{argv[0]}: {e.strerror}")


def introduce(settings, out):
    versions = {"holdfast": [settings.program, "version"], RESTIC: [RESTIC, "version"], BORG: [BORG, "--version"]}
    out.say(f"machine: {measure.machine()}")
    out.say("versions: " + "; ".join(version(versions[t]) for t in settings.tools))
    out.say(f"scale {settings.scale:g}, {settings.reps} repetitions, in {settings.work} ({'tmpfs' if settings.tmpfs else 'a disk'})")
    out.say("'restore' of holdfast is with --no-verify, as the others do not read back either")
    out.say("the plan of db says `cut: fixed`, which is for database images; the two others have no such setting")
    load = os.getloadavg()[0]
    if load > 0.5:
        out.say(f"the machine was not idle: load {load:.1f} at the start. Quote no seconds, and ratios with care")


def main():
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    settings = Settings(os.environ)
    out, results, failures = Output(settings.out), report.Results(), 0
    introduce(settings, out)
    try:
        for name in settings.corpora:
            bench = CorpusBench(settings, out, results, name)
            bench.run()
            failures += bench.failures
        failures += limits(settings, out)
    finally:
        shutil.rmtree(settings.work if not settings.keep else os.path.join(settings.work, "tools"), ignore_errors=True)
    out.say(roofline.FORMULA)
    out.say(f"rows in {os.path.join(settings.out, 'results.csv')}, what the tools printed beside it")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

"""Running a command and measuring it; sizes; the machine."""
import collections
import os
import shutil
import subprocess
import time

Run = collections.namedtuple("Run", "wall user system peak_mib status")
MIB = 1 << 20


def run(argv, env, cwd, log):
    """
    Wall seconds, CPU seconds and peak resident memory of a command and the children it waited for. GNU time stands between: a
    child begins with the peak of the process that started it, and this one's is large.
    """
    usage = log + ".usage"
    with open(log, "ab") as out:
        start = time.perf_counter()
        status = subprocess.run(["/usr/bin/time", "-o", usage, "-f", "%U %S %M", *argv], env=env, cwd=cwd, stdin=subprocess.DEVNULL,
                                stdout=out, stderr=out, check=False).returncode
        wall = time.perf_counter() - start
    with open(usage, encoding="ascii") as f:
        user, system, peak = f.read().splitlines()[-1].split()
    os.unlink(usage)
    return Run(wall, float(user), float(system), int(peak) / 1024, status)


def bytes_below(top):
    return sum(os.lstat(os.path.join(d, f)).st_size for d, _, fs in os.walk(top) for f in fs)


def entries_below(top):
    return 1 + sum(len(ds) + len(fs) for _, ds, fs in os.walk(top))


def is_tmpfs(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip() == "tmpfs"


def memory_available():
    with open("/proc/meminfo", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("MemAvailable:"))


def room(path):
    """Bytes that may be put there; what a tmpfs holds is memory that the tools need too."""
    free = shutil.disk_usage(path).free
    return min(free, memory_available() - 1024 * MIB) if is_tmpfs(path) else free


def touch_memory(folder, size):
    """A virtual machine pays for memory when it is first touched: pay before a timed run, so that no tool pays for the others."""
    path = os.path.join(folder, "touched")
    with open(path, "wb", buffering=0) as f:
        for _ in range(0, size, MIB):
            f.write(bytes(MIB))
    os.unlink(path)


def read_all(top):
    """Bring a tree into the page cache."""
    buffer = bytearray(MIB)
    for folder, _, files in os.walk(top):
        for path in (os.path.join(folder, f) for f in files):
            if not os.path.islink(path):
                with open(path, "rb", buffering=0) as f:
                    while f.readinto(buffer):
                        pass


def same_trees(a, b):
    """'' or how they differ, byte for byte."""
    diff = subprocess.run(["diff", "-rq", "--no-dereference", a, b], capture_output=True, text=True, errors="replace", check=False)
    return "" if diff.returncode == 0 else (diff.stdout + diff.stderr)[:2000]


def machine():
    """A line about the processor and the memory."""
    model = "?"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{os.cpu_count()} x {model}, {total / (1 << 30):.0f} GiB"

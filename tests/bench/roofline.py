"""What the machine would allow: rates of single steps, measured in the same run, put together as if they packed perfectly.

A model, not a bound that was proven: every core is busy all the time with nothing but these steps, at the rate one core reaches alone.
  first      read + one pass to cut (at the rate of a memory copy) + SHA-256 + zstd -3; what is stored: AES-256-GCM + SHA-256 + write; walk
  unchanged  walk
  changed    src: walk and 1 % of first; db, big (one file, which has to be read): read + cut + SHA-256 of all and 1 % of first
  restore    what is stored: read + SHA-256 + AES-256-GCM; unzstd + SHA-256 + write; making files
  verify     the same without writing; by digests alone: read + SHA-256 of what is stored
Data that zstd cannot make smaller is not compressed. Reading sealed chunks back before they are sent, as holdfast does, is not in it.
"""
import math
import os
import re
import subprocess
import time

from measure import MIB

SAMPLE = 64 * MIB
FORMULA = __doc__
ALL_CORES = "sha256 on all cores"


def openssl_rate(algorithm, processes=1):
    many = ["-multi", str(processes)] if processes > 1 else []
    out = subprocess.run(["openssl", "speed", "-mr", "-seconds", "1", "-bytes", str(MIB), *many, "-evp", algorithm],
                         capture_output=True, text=True, check=True).stdout
    return float(re.search(r"^\+F:\d+:[^:]+:([\d.e+]+)$", out, re.M).group(1))


def write_sample(top, path):
    """A sample of about 64 MiB: every n-th file, or the first bytes of a large one."""
    files = sorted(p for p in (os.path.join(d, f) for d, _, fs in os.walk(top) for f in fs) if not os.path.islink(p))
    total = sum(map(os.path.getsize, files))
    with open(path, "wb") as out:
        for file in files[:: max(1, min(len(files), total // SAMPLE))]:
            with open(file, "rb") as f:
                out.write(f.read(SAMPLE))


def zstd_rates(sample):
    """(compress, decompress) of level 3 in blocks of 256 KiB, one thread."""
    out = subprocess.run(["zstd", "-q", "-b3", "-i2", "-B262144", sample], capture_output=True, text=True, check=True)
    rates = re.findall(r"([\d.]+) MB/s", out.stdout + out.stderr)
    return tuple(float(r) * 1e6 for r in rates[-2:])


def timed(work, amount):
    start = time.perf_counter()
    work()
    return amount / (time.perf_counter() - start)


def copy_rate():
    a, b = bytearray(256 * MIB), bytearray(256 * MIB)
    memoryview(b)[:] = a  # both are touched now
    return timed(lambda: memoryview(b).__setitem__(slice(None), a), len(a))


def write_rate(folder):
    path, block = os.path.join(folder, "rate"), bytes(MIB)

    def write():
        with open(path, "wb", buffering=0) as f:
            for _ in range(512):
                f.write(block)
    write()
    os.unlink(path)
    rate = timed(write, 512 * MIB)
    os.unlink(path)
    return rate


def read_rate(path):
    buffer = bytearray(MIB)

    def read():
        with open(path, "rb", buffering=0) as f:
            while f.readinto(buffer):
                pass
    return timed(read, os.path.getsize(path))


def create_rate(folder, files=10000):
    """New files a second, 100 a directory."""
    top = os.path.join(folder, "rate-files")

    def create():
        for i in range(files):
            if i % 100 == 0:
                os.makedirs(f"{top}/{i // 100}")
            os.close(os.open(f"{top}/{i // 100}/{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    rate = timed(create, files)
    subprocess.run(["rm", "-rf", top], check=True)
    return rate


def walk_rate(top, entries):
    """Entries a second of find with one stat each."""
    def walk():
        subprocess.run(["find", top, "-newer", "/proc/self/exe"], stdout=subprocess.DEVNULL, check=True)
    walk()
    return timed(walk, entries)


def measure_rates(work, top, entries):
    """Bytes (files, entries) a second of each step, for one corpus; in a thread alone."""
    sample = os.path.join(work, "sample")
    write_sample(top, sample)
    compress, decompress = zstd_rates(sample)
    rates = {
        "sha256": openssl_rate("sha256"), ALL_CORES: openssl_rate("sha256", os.cpu_count()), "aes-gcm": openssl_rate("aes-256-gcm"), "zstd": compress, "unzstd": decompress,
        "copy": copy_rate(), "read": read_rate(sample), "write": write_rate(work), "create": create_rate(work),
        "walk": walk_rate(top, entries) if entries >= 1000 else math.inf,  # there is nothing to walk below one file
    }
    os.unlink(sample)
    return rates


def model(rates, size, stored, files, entries, one_file):
    """Seconds of each operation: size bytes of plain data in files, of which stored bytes remain."""
    def cost(amount, *steps):
        return sum(amount / rates[s] for s in steps)
    squeezed = stored < 0.98 * size
    walk = cost(entries, "walk")
    look = cost(size, "read", "copy", "sha256")
    first = look + cost(size, *(["zstd"] if squeezed else [])) + cost(stored, "aes-gcm", "sha256", "write")
    back = cost(stored, "read", "sha256", "aes-gcm") + cost(size, "sha256", *(["unzstd"] if squeezed else []))
    seconds = {
        "first": walk + first,
        "unchanged": walk,
        "changed": walk + 0.01 * first + (look if one_file else 0),
        "restore": back + cost(size, "write") + cost(files, "create"),
        "verify": back,
        "verify, digests": cost(stored, "read", "sha256"),
    }
    return {op: s / os.cpu_count() for op, s in seconds.items()}

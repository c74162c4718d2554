#!/usr/bin/python3
"""Corpora for speed comparisons, the same bytes on every run.

  corpus.py make DIR [src,db,big]          make DIR/src, DIR/db, DIR/big
  corpus.py mutate DIR [src,db,big]        the change between two backups
  corpus.py undo DIR [src,db,big]          take it back
  corpus.py fingerprint DIR [src,db,big]   files, bytes and a digest of names and contents

src  up to 60,000 files (1.5 GB) of what this machine has installed: headers, Python, libraries, /usr/share. It differs from
     machine to machine, so a figure goes with its fingerprint. Change: 1 % of the files (half edited, a quarter renamed, a
     quarter deleted and as many new).
db   one file of 1 GiB of 8 KiB pages with rows of words, numbers and mail addresses. Change: 400 bytes in 1 % of the pages.
big  one file of 2 GiB that no program can make smaller. Change: 1,000 bytes inserted at its front.

SCALE in the environment (default 1) makes all of them smaller. db and big are equal everywhere at one scale.
"""
import hashlib
import json
import os
import random
import shutil
import stat
import struct
import subprocess
import sys

NAMES = ("src", "db", "big")
MB, PAGE, SPLICE, INSERTED = 1 << 20, 8192, 400, 1000
LONG_AGO_NS = 10**18
SOURCES = (  # where the files of src come from, and the largest that is taken
    ("/usr/include", 16 * MB), ("/usr/lib/python3", 16 * MB), ("/usr/lib/python3.11", 16 * MB),
    ("/usr/lib/x86_64-linux-gnu", 16 * MB), ("/usr/lib/node_modules", 16 * MB), ("/usr/lib/gcc", 4 * MB), ("/usr/share", 16 * MB),
)
WORD_LETTERS = b"etaoinshrdlucmfwypvbgkjqxz"
STATES = (b"ACTIVE", b"CLOSED", b"PENDING", b"SUSPENDED")


# --- making ---

def installed_files():
    """(path, stat) of what src may hold, in a fixed order."""
    for root, largest in SOURCES:
        for folder, subs, files in os.walk(root):
            subs[:] = sorted(d for d in subs if d != "__pycache__")
            for path in (os.path.join(folder, f) for f in sorted(files)):
                try:
                    st = os.lstat(path)
                except OSError:
                    continue
                if stat.S_ISLNK(st.st_mode) or (stat.S_ISREG(st.st_mode) and st.st_size <= largest):
                    yield path, st


def make_src(top, scale):
    files = size = 0
    for path, st in installed_files():
        if files >= int(60000 * scale) or size >= int(1.5e9 * scale):
            break
        copy = top + path
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        if stat.S_ISLNK(st.st_mode):
            if not os.path.lexists(copy):
                os.symlink(os.readlink(path), copy)
            continue
        shutil.copyfile(path, copy)
        os.chmod(copy, stat.S_IMODE(st.st_mode))
        os.utime(copy, ns=(LONG_AGO_NS, LONG_AGO_NS))
        files += 1
        size += st.st_size


def make_big(top, scale):
    """Two halves of AES-256-CTR key stream: fast to make, and equal everywhere."""
    half = int(1024 * scale) * MB
    path = os.path.join(top, "random.bin")
    for key in (20240601, 20240602):
        with open(path, "ab") as out, subprocess.Popen(["head", "-c", str(half), "/dev/zero"], stdout=subprocess.PIPE) as zeros:
            subprocess.run(["openssl", "enc", "-aes-256-ctr", "-nosalt", "-K", "%064d" % key, "-iv", "0" * 32],
                           stdin=zeros.stdout, stdout=out, check=True)
    os.utime(path, (10**9, 10**9))


def page_of_rows(number, words, bits):
    page = bytearray(struct.pack("<QIIHHHHQ", number * 0x9E37, 0, 4, 88, PAGE - 10, PAGE, 0, 0))
    row = number * 64
    while True:
        k = bits(64)
        # three words in four come from the whole vocabulary, the others from its 64 most frequent
        text = b" ".join([words[bits(12) % 4000] if bits(2) else words[bits(6)] for _ in range(14)])
        when = 1700000000_000000 + row * 137 + (k & 0xffff)
        record = (struct.pack("<IQQd", len(text), row, when, (k >> 40) / 100) + b"user%07d@example.com\0" % (k % 3_000_000)
                  + STATES[k & 3] + b"\0" + text + b"\0")
        if len(page) + len(record) > PAGE - 10:
            return page + bytes(PAGE - len(page))
        page += record
        row += 1


def make_db(top, scale):
    rnd = random.Random(42)
    words = [bytes(rnd.choice(WORD_LETTERS) for _ in range(rnd.randint(3, 10))) for _ in range(4000)]
    path = os.path.join(top, "table.db")
    with open(path, "wb", buffering=MB) as out:
        for number in range(int(1024 * MB * scale) // PAGE):
            out.write(page_of_rows(number, words, rnd.getrandbits))
    os.utime(path, (10**9, 10**9))


# --- changing, and back ---

def splice_pages(path, kept):
    rnd = random.Random(1)
    pages = os.path.getsize(path) // PAGE
    with open(path, "r+b") as f, open(kept, "wb") as k:
        for page in sorted(rnd.sample(range(pages), pages // 100)):
            at = page * PAGE + 24 + rnd.randrange(7000)
            f.seek(at)
            k.write(struct.pack("<Q", at) + f.read(SPLICE))
            f.seek(at)
            f.write(rnd.randbytes(SPLICE))


def unsplice_pages(path, kept):
    with open(path, "r+b") as f, open(kept, "rb") as k:
        while head := k.read(8):
            f.seek(struct.unpack("<Q", head)[0])
            f.write(k.read(SPLICE))


def move_file(path, by):
    """Move all bytes of a file by `by` in place: forwards it grows, backwards it is cut off."""
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        starts = range(0, size, 4 * MB) if by < 0 else range((size - 1) // (4 * MB) * 4 * MB, -1, -4 * MB)
        for at in starts:
            f.seek(at)
            block = f.read(4 * MB)
            if at + by < 0:
                block = block[-by:]
            f.seek(max(at + by, 0))
            f.write(block)
        f.truncate(size + by)


def insert_front(path, kept):
    move_file(path, INSERTED)
    with open(path, "r+b") as f:
        f.write(random.Random(3).randbytes(INSERTED))
    open(kept, "wb").close()


def remove_front(path, _kept):
    move_file(path, -INSERTED)
    os.utime(path, (10**9, 10**9))


def edit(path, rnd):
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        f.write(b"/* mutated %d */" % rnd.getrandbits(32))
        f.seek(0, os.SEEK_END)
        f.write(b"tail %d\n" % rnd.getrandbits(32))


def change_files(top, kept):
    rnd = random.Random(2)
    files = []
    for folder, subs, names in os.walk(top):
        subs.sort()
        files += [p for p in (os.path.join(folder, n) for n in sorted(names)) if not os.path.islink(p)]
    chosen = rnd.sample(files, len(files) // 100)
    half = len(chosen) // 2
    quarter = half + len(chosen) // 4
    edited, renamed, deleted = chosen[:half], chosen[half:quarter], chosen[quarter:]
    new = [f"{os.path.dirname(p)}/new{i:05d}.bin" for i, p in enumerate(renamed)]
    os.makedirs(kept)
    for i, path in enumerate(edited + deleted):
        shutil.copy2(path, f"{kept}/{i}")
    for path in edited:
        edit(path, rnd)
    for path in renamed:
        os.rename(path, path + ".renamed")
    for path in deleted:
        os.unlink(path)
    for path in new:
        with open(path, "wb") as f:
            f.write(rnd.randbytes(rnd.randrange(1, 20000)))
    with open(f"{kept}/list.json", "w", encoding="utf-8", errors="surrogateescape") as f:
        json.dump({"old": edited + deleted, "renamed": renamed, "new": new}, f)


def unchange_files(_top, kept):
    with open(f"{kept}/list.json", encoding="utf-8", errors="surrogateescape") as f:
        change = json.load(f)
    for path in change["new"]:
        os.unlink(path)
    for path in change["renamed"]:
        os.rename(path + ".renamed", path)
    for i, path in enumerate(change["old"]):
        shutil.copy2(f"{kept}/{i}", path)


# corpus: what is changed below its directory, how it is made, changed, and changed back
CORPORA = {
    "src": ("", make_src, change_files, unchange_files),
    "db": ("table.db", make_db, splice_pages, unsplice_pages),
    "big": ("random.bin", make_big, insert_front, remove_front),
}


def kept_path(folder, name):
    return os.path.join(folder, f".undo-{name}")


def drop_kept(kept):
    if os.path.isdir(kept):
        shutil.rmtree(kept)
    elif os.path.exists(kept):
        os.unlink(kept)


def make(folder, name, scale):
    drop(folder, name)
    top = os.path.join(folder, name)
    os.makedirs(top)
    CORPORA[name][1](top, scale)


def mutate(folder, name):
    what, _, change, _ = CORPORA[name]
    change(os.path.join(folder, name, what).rstrip("/"), kept_path(folder, name))


def undo(folder, name):
    what, _, _, back = CORPORA[name]
    kept = kept_path(folder, name)
    back(os.path.join(folder, name, what).rstrip("/"), kept)
    drop_kept(kept)


def drop(folder, name):
    """Remove a corpus and what is kept to undo a change; fine when there is none."""
    shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    drop_kept(kept_path(folder, name))


def fingerprint(folder, name):
    """(files, bytes, first 16 digits of a SHA-256 over "NAME DIGEST" lines of all regular files)."""
    paths = [os.path.join(d, f) for d, _, fs in os.walk(os.path.join(folder, name)) for f in fs]
    paths = sorted(p for p in paths if not os.path.islink(p))
    whole = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
        whole.update((os.path.relpath(path, folder) + " " + digest + "\n").encode(errors="surrogateescape"))
    return len(paths), sum(map(os.path.getsize, paths)), whole.hexdigest()[:16]


def main(argv):
    if len(argv) not in (3, 4) or argv[1] not in ("make", "mutate", "undo", "fingerprint"):
        sys.exit(__doc__)
    folder = argv[2]
    for name in argv[3].split(",") if len(argv) == 4 else NAMES:
        if argv[1] == "make":
            make(folder, name, float(os.environ.get("SCALE", "1")))
        elif argv[1] == "mutate":
            mutate(folder, name)
        elif argv[1] == "undo":
            undo(folder, name)
        if argv[1] in ("make", "fingerprint"):
            print("%s: %d files, %d bytes, fingerprint %s" % (name, *fingerprint(folder, name)))


if __name__ == "__main__":
    main(sys.argv)

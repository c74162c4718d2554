#!/usr/bin/python3
"""make-tree.py DIR FILES: a tree with every kind of entry a pax archive can hold, odd names and metadata, and FILES small files."""
import os, random, stat, subprocess, sys

root, count = os.fsencode(sys.argv[1]), int(sys.argv[2])
rnd = random.Random(7)


def path(*names):
    return os.path.join(root, *names)


def write(name, data=b"content\n", mode=0o644):
    with open(path(name), "wb") as f:
        f.write(data)
    os.chmod(path(name), mode)


os.makedirs(root)
for name in (b"new\nline", b"not-utf8-\xff\xfe", b"-rf", b"--help", b" leading and trailing ", b"tab\there", b"quote'\"`$(x)", b"back\\slash",
             b"\x1b[31mred", b"a" * 255, "\u00fcml\u00e4ut-\u65e5\u672c".encode(), b"*", b"?", b"~", b"#", b"%41", b"\x01", b"...", b"..a"):
    write(name, name)
os.mkdir(path(b"d\nir\xff"))
write(b"d\nir\xff/inside")
deep = root
for _ in range(60):
    deep = os.path.join(deep, b"deep-directory-name-of-forty-characters-")
os.makedirs(deep)
open(os.path.join(deep, b"bottom"), "w").write("bottom")

write(b"empty", b"")
write(b"one-byte", b"x")
for size in (511, 512, 513, 65535, 65536, 524287, 524288, 524289, 3000000):
    write(b"size-%d" % size, rnd.randbytes(size))
os.symlink(b"empty", path(b"symlink"))
os.symlink(b"/nonexistent/\xff" + b"x" * 3000, path(b"symlink-long"))
os.symlink(b"..", path(b"symlink-up"))
os.mkfifo(path(b"fifo"), 0o620)
os.mknod(path(b"chr"), 0o600 | stat.S_IFCHR, os.makedev(1, 3))
os.mknod(path(b"blk"), 0o640 | stat.S_IFBLK, os.makedev(7, 200))

# hard links: of files over directories, of an empty file, of a device, of a symbolic link
os.mkdir(path(b"links"))
write(b"links/first", rnd.randbytes(700000))
for i in range(5):
    os.link(path(b"links/first"), path(b"links/again-%d" % i))
os.link(path(b"empty"), path(b"links/empty-too"))
os.link(path(b"fifo"), path(b"links/fifo-too"))
os.link(path(b"symlink"), path(b"links/symlink-too"), follow_symlinks=False)

# owners, modes, times
for i, mode in enumerate((0o000, 0o400, 0o777, 0o4755, 0o2755, 0o1777, 0o6711)):
    write(b"mode-%04o" % mode)
    os.chown(path(b"mode-%04o" % mode), 1000 + i, 2000 + i)
    os.chmod(path(b"mode-%04o" % mode), mode)
os.chown(path(b"symlink-up"), 4242, 4343, follow_symlinks=False)
write(b"big-ids")
os.chown(path(b"big-ids"), 3000000000, 3000000001)
for name, ns in ((b"old", -86400 * 10**9), (b"epoch", 0), (b"nanos", 1234567890123456789), (b"far", 4102444800 * 10**9 + 1)):
    write(b"time-" + name)
    os.utime(path(b"time-" + name), ns=(ns, ns))
os.mkdir(path(b"sticky"))
os.chmod(path(b"sticky"), 0o3777)
os.mkdir(path(b"closed"), 0o700)
write(b"closed/in")
os.chmod(path(b"closed"), 0o000)

# extended attributes and access lists
write(b"xattr")
os.setxattr(path(b"xattr"), b"user.plain", b"value")
os.setxattr(path(b"xattr"), b"user.binary", bytes(range(256)))
os.setxattr(path(b"xattr"), b"user.empty", b"")
os.setxattr(path(b"xattr"), b"user.a=b%41", b"=\n")
write(b"xattr-odd")
os.setxattr(path(b"xattr-odd"), "user.\u00e4 b\n".encode(), b"a name that archives escape")
os.setxattr(path(b"xattr"), b"trusted.mine", b"root only")
os.setxattr(path(b"sticky"), b"user.on-directory", b"yes")
for arguments in (["u:1234:rwx,g:555:r", "xattr"], ["u:77:-", "one-byte"], ["d:u:1234:rwx,d:g::r,d:o::-", "sticky"]):
    subprocess.run(["setfacl", "-m", arguments[0], path(os.fsencode(arguments[1]))], check=True)

# sparse: data amid holes, a hole at each end, nothing but a hole
for name, size, data in ((b"sparse", 1 << 30, (4096 * 7, 1 << 20, (1 << 30) - 8192)), (b"hole", 1 << 28, ()), (b"hole-small", 300000, ()),
                         (b"hole-ends", 50 << 20, (20 << 20,)), (b"data-ends", 40 << 20, (0, (40 << 20) - 4096))):
    with open(path(name), "wb") as f:
        f.truncate(size)
        for at in data:
            f.seek(at)
            f.write(rnd.randbytes(4096))
with open(path(b"sparse-many"), "wb") as f:
    for i in range(0, 3000):
        f.seek(i * 12288)
        f.write(rnd.randbytes(4096))

for i in range(count):
    if i % 1000 == 0:
        os.mkdir(path(b"many-%d" % (i // 1000)))
    with open(path(b"many-%d" % (i // 1000), b"f%d" % i), "wb") as f:
        f.write(rnd.randbytes(rnd.randrange(0, 4000)))
for name in os.listdir(root):  # a directory's time after what lies in it
    if not os.path.islink(path(name)) and os.path.isdir(path(name)):
        os.utime(path(name), ns=(10**18, 10**18 + 123456789))

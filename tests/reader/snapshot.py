"""One snapshot: its signed and sealed numbers, its three streams, and the tar archive that they make."""
import io
import re
import tarfile

from primitives import Damage, Reader, canonical, need, sha256, unbase64, unhex

CONTENT, ENTRIES, LIST, NOTES = 1, 2, 3, 4
HEIGHT_MAX = 8


def parse_entries(data, what):
    r = Reader(data, what)
    while r.at < len(data):
        header_len, content = r.num(4, 8)
        header = r.raw(header_len)
        need(header_len and header_len % 512 == 0, f"{what}: header")
        info = parse_header(header)
        held = sum(n for _, n in info.sparse) if info.sparse is not None else info.size if info.isreg() else 0
        need(held == content, f"{what}: {info.name!r} holds {held} bytes, not {content}")
        yield header, content, info


def parse_header(header):
    try:
        with tarfile.open(fileobj=io.BytesIO(header + bytes(1024)), mode="r:", encoding="utf-8", errors="surrogateescape") as t:
            info = t.firstmember
    except (tarfile.TarError, ValueError) as e:
        raise Damage("an entry's header is not one of tar") from e
    need(info and info.offset_data == len(header), "an entry's header is not one of tar")
    return info


def path_of(info):
    return info.name.encode("utf-8", "surrogateescape")


class Snapshot:
    def __init__(self, repo, source, data, what):
        self.repo, self.source, self.what, self.digest = repo, source, what, sha256(data).hex()
        self.packs, self.expired, self.receipt, self.where = [], True, None, None
        s = self.signed = repo.signed(data, "snapshot", what, lambda value: repo.signers(source, value["epoch"]))
        need(s["source"] == source and re.fullmatch("[0-9a-f]{16}", s["lineage"]) and s["seq"] > 0, f"{what}: of another source")
        self.name = f"{source}/{s['lineage']}/{s['seq']}"
        self.facts = canonical(repo.unseal(unbase64(s["sealed"], what), source, s["epoch"], 3, what), what)

    def chunk(self, kind, cid):
        if self.where is None:
            self.where = {}
            for digest in self.packs:
                pack = self.repo.pack(self.source, digest)
                self.where.update((k, pack) for k in pack[6])
        need((kind, cid) in self.where, f"{self.name}: chunk {cid.hex()} is in no pack of its list")
        return self.repo.open_chunk(self.source, self.where[kind, cid], kind, cid)

    def walk(self, stream, cid, height):
        """Data chunks of a stream, each with the sums that the list above it states; the sums of lists are proven on the way."""
        what = f"{self.name}: list {cid.hex()}"
        need(height <= HEIGHT_MAX, f"{what}: too high")
        r = Reader(self.chunk(LIST, cid), what)
        need(r.num(1, 1, 2) == [stream, height - 1, 0], f"{what}: of another stream or level")
        totals = [0, 0, 0]
        first = None
        for _ in range(r.num(4)):
            child, sums, path = r.raw(32), [r.num(8)], b""
            if stream == ENTRIES:
                sums, path = sums + r.num(8, 8), r.text()
            first = path if first is None else first
            got = yield from self.item(stream, child, height - 1, sums, path)
            totals = [a + b for a, b in zip(totals, got)]
        r.end()
        need(first is not None, f"{what}: empty")
        return totals, first

    def item(self, stream, cid, height, sums, path):
        """One item of a list, or the root: yields what lies below, and returns its sums when they are as stated."""
        if height:
            got, first = yield from self.walk(stream, cid, height)
        else:
            data = self.chunk(stream, cid)
            got, first = [len(data), 0, 0], None
            if stream == ENTRIES:
                records = list(parse_entries(data, f"{self.name}: entries {cid.hex()}"))
                got, first = [len(data), len(records), sum(n for _, n, _ in records)], path_of(records[0][2])
                yield from records
            else:
                yield data
        need(got[:len(sums)] == sums, f"{self.name}: sums of {cid.hex()}: {got} is not {sums}")
        need(path is None or first is None or path == first, f"{self.name}: first path of {cid.hex()}: {first} is not {path}")
        return got

    def stream(self, name, kind):
        root = self.facts["streams"][name]
        if root is not None:
            sums = [root["length"]] + ([root["entries"], root["content"]] if kind == ENTRIES else [])
            yield from self.item(kind, unhex(root["id"], 32, self.name), root["height"], sums, None)

    def notes(self):
        r = Reader(b"".join(self.stream("notes", NOTES)), f"{self.name}: notes")
        while r.at < len(r.data):
            yield r.text().decode(), r.text()

    def tar(self, put):
        """The snapshot as a tar archive, in pieces for put(); also proves the numbers that the snapshot states."""
        content, rest, total, last, counts = self.stream("content", CONTENT), b"", 0, [], {"files": 0, "dirs": 0, "others": 0}
        for header, n, info in self.stream("entries", ENTRIES):
            path = path_of(info).split(b"/")
            need(path > last, f"{self.name}: {info.name!r} is not in walk order")
            counts["dirs" if info.isdir() else "files" if info.isreg() or info.islnk() else "others"] += 1
            put(header)
            total, left, last = total + n, n, path
            while left:
                rest = rest or next(content, b"")
                need(rest, f"{self.name}: content ends early")
                put(rest[:left])
                left, rest = left - min(left, len(rest)), rest[left:]
            put(bytes(-n % 512))
        put(bytes(1024))
        need(not rest and next(content, None) is None, f"{self.name}: content that no entry has")
        counts.update(entries=sum(counts.values()), bytes=total)
        need(all(self.facts[k] == counts[k] for k in counts), f"{self.name}: {counts} is not what it states")
        unit = 1 << max(0, total.bit_length() - 2)
        need(self.signed["size"] == -(-total // unit) * unit, f"{self.name}: size")
        notes = list(self.notes())
        counts = {code: sum(1 for c, _ in notes if c == code) for code, _ in notes}
        need(counts == {k: v for k, v in self.facts["notes"].items() if v} and len(notes) == self.signed["noted"], f"{self.name}: notes")

"""A site and a recovery key file: signed texts, keys, packs, attempts, indexes."""
import mmap
import os
import re
import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from primitives import Damage, Reader, canonical, gcm_open, hkdf, hmac256, hpke_open, need, note, sha256, text, u16, unbase64, unhex, unzstd
from snapshot import Snapshot

CHUNK_MAX, PACK_MAX, SIGNED_MAX = 8 << 20, 64 << 20, 1 << 20
ATTEMPT, DIGEST = r"[0-9a-f]{16}", r"[0-9a-f]{64}"
NO_NONCE = bytes(12)


def verifies(public, signature, data):
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


class Repository:
    def __init__(self, site, key_file):
        self.site, self.packs, self.secrets, self.source_keys = site, {}, {}, {}
        with open(key_file, "rb") as f:
            key = canonical(f.read().rstrip(b"\n"), "recovery key")
        need(key.get("v") == 1 and key.get("kind") == "opening", "recovery key: another version or kind")
        self.id = unhex(key["repository"], 16, "recovery key")
        self.root, self.class_name = key["root"], key["class"]
        self.private, self.r = (unbase64(key[k], "recovery key") for k in ("private", "r"))
        self.recipient = sha256(b"holdfast1 recipient" + u16(0x20) + unbase64(key["public"], "recovery key"))[:16].hex()
        self.cfg = self.load_cfg()
        self.logs = {log["public"] for log in self.cfg["logs"]}
        self.sources = {s["name"]: s for s in self.cfg["sources"]}

    def ctx(self, label, source, rest=b""):
        return b"holdfast1 " + label + b"\0" + self.id + text(source.encode()) + rest

    # a file:// site: the key is the path; names with a dot in front are not objects
    def get(self, key, limit=PACK_MAX):
        try:
            with open(os.path.join(self.site, key), "rb") as f:
                data = f.read(limit + 1)
        except OSError as e:
            raise Damage(f"{key}: {e.strerror}") from e
        need(len(data) <= limit, f"{key}: too large")
        return data

    def names(self, key):
        path = os.path.join(self.site, key)
        return sorted(n for n in os.listdir(path) if not n.startswith(".")) if os.path.isdir(path) else []

    def has(self, key):
        return os.path.exists(os.path.join(self.site, key))

    def signed(self, data, kind, what, signers):
        """The JSON of a signed text that one of the keys in `signers` signed; signers may be a function of the JSON."""
        need(len(data) <= SIGNED_MAX and data.endswith(b"\n"), f"{what}: not a signed text")
        head, line, *sigs = data[:-1].split(b"\n")
        need(head == b"holdfast1 " + kind.encode() and sigs, f"{what}: not a signed {kind}")
        value, good = canonical(line, what), False
        need(value.get("v") == 1 and value.get("repository") == self.id.hex(), f"{what}: of another repository")
        for sig in sigs:
            m = re.fullmatch(rb"sig ([0-9a-f]{64}) ([A-Za-z0-9+/=]+)", sig)
            need(m, f"{what}: bad signature line")
            if m[1].decode() in (signers(value) if callable(signers) else signers):
                good = good or verifies(m[1].decode(), unbase64(m[2], what), head + b"\n" + line + b"\n")
        need(good, f"{what}: no right signature by one who may sign")
        return value

    def valid(self, key, judge):
        """What judge makes of an object, or of one that lies beside it, named by its digest, when the object is damaged."""
        try:
            return judge(self.get(key, SIGNED_MAX))
        except Damage as e:
            folder, name = key.rsplit("/", 1)
            for other in self.names(folder):
                if not re.fullmatch(re.escape(name) + r"\." + DIGEST, other):
                    continue
                data = self.get(f"{folder}/{other}", SIGNED_MAX)
                try:
                    need(sha256(data).hex() == other[-64:], f"{folder}/{other}: bytes are not those of its name")
                    value = judge(data)
                except Damage:
                    continue
                note(f"{e}; {other} serves")
                return value
            raise

    def mended(self, key):
        """Has a log signed that nothing depends on this object any more?"""
        mark = f"b/{key}"

        def judge(data):
            need(self.signed(data, "mended", mark, self.logs)["key"] == key, f"{mark}: about another object")
            return True
        return self.has(mark) and self.valid(mark, judge)

    def unless_mended(self, key, fn):
        """fn(), or None where it meets damage of an object that nothing depends on."""
        try:
            return fn()
        except Damage as e:
            if not self.mended(key):
                raise
            note(f"{e}; nothing depends on it")
            return None

    def load_cfg(self):
        names = [n for n in self.names("cfg") if "." not in n]
        need(names and sorted(names, key=int) == [str(i) for i in range(len(names))], "cfg: not numbered from 0")
        roots = {self.root}
        for n in range(len(names)):
            def judge(data, n=n, roots=roots):
                cfg = self.signed(data, "cfg", f"cfg/{n}", roots)
                need(cfg["n"] == n and (n > 0 or self.root in cfg["root"]), f"cfg/{n}: number or root is wrong")
                return cfg
            cfg = self.valid(f"cfg/{n}", judge)
            roots = set(cfg["root"])
        return cfg

    def signers(self, source, epoch=None):
        return {s["public"] for s in self.sources[source]["signers"] if not s["revoked"] and epoch in (None, s["epoch"])}

    # --- keys ---

    def envelope(self, data, source, kind, epoch, sid, what):
        """What an envelope for this recovery key holds; None when it is for another one."""
        r = Reader(data, what)
        need(r.raw(8) == b"HFENVL1\n" and r.num(1) == kind, f"{what}: not such an envelope")
        kem, its_epoch = r.num(2, 4)
        its_sid, recipient, commitment = r.raw(16), r.raw(16), r.raw(32)
        class_name, enc, sealed = r.text(), r.text(), r.text()
        r.end()
        need(its_epoch == epoch and its_sid == sid, f"{what}: of another epoch or session")
        if kem != 0x20 or recipient.hex() != self.recipient or class_name != self.class_name.encode():
            return None
        label, last = (b"session", sid) if kind == 1 else (b"keys", struct.pack("<I", epoch))
        psk = hkdf(self.r, b"", self.ctx(b"psk", source))
        return commitment, hpke_open(self.private, enc, self.ctx(label, source, text(class_name) + last), psk,
                                     b"holdfast1 psk", sealed, what)

    def keys_of(self, source, epoch):
        if (source, epoch) not in self.source_keys:
            what = f"k/{source}/{epoch}"

            def judge(data):
                r = Reader(data, what)
                need(r.raw(8) == b"HFKEYS1\n", f"{what}: not a key object")
                envelopes = [r.text() for _ in range(r.num(1))]
                r.end()
                found = [e for e in (self.envelope(t, source, 2, epoch, bytes(16), what) for t in envelopes) if e]
                need(found and len(found[0][1]) == 96, f"{what}: no envelope for this key")
                return found[0][1]
            keys = self.valid(what, judge)
            self.source_keys[source, epoch] = tuple(keys[i:i + 32] for i in (0, 32, 64))
        return self.source_keys[source, epoch]

    def session(self, source, sid, epoch, envelopes, what):
        if (source, sid) not in self.secrets:
            key = f"e/{source}/{sid.hex()}/{self.recipient}"

            def opened(t):
                found = self.envelope(t, source, 1, epoch, sid, what)
                if found:
                    commitment, s = found
                    need(hkdf(s, b"", self.ctx(b"sid", source), 16) == sid and
                         hkdf(s, b"", self.ctx(b"commitment", source)) == commitment, f"{what}: session secret is not the committed one")
                    self.secrets[source, sid] = s
            if self.has(key):
                self.unless_mended(key, lambda: opened(self.get(key, 1 << 17)))
            for t in envelopes if (source, sid) not in self.secrets else []:
                opened(t)
            need((source, sid) in self.secrets, f"{what}: no envelope for this key")
        return self.secrets[source, sid]

    def unseal(self, data, source, epoch, kind, what):
        need(len(data) > 57 and data[:9] == b"HFSEAL1\n" + bytes([kind]), f"{what}: not such a sealed object")
        key = hkdf(self.keys_of(source, epoch)[2], data[9:41], self.ctx(b"sealed", source, bytes([kind])))
        return gcm_open(key, NO_NONCE, data[41:], data[:9], what)

    # --- packs ---

    def pack(self, source, digest):
        """{(type, id): location} of a pack, and what opens it; proven by its digest, its footer and its trailer."""
        if (source, digest) in self.packs:
            return self.packs[source, digest]
        holders = [a for a in self.names(f"p/{source}") if self.has(f"p/{source}/{a}/{digest}")]
        need(holders, f"pack {digest} of {source} is missing")
        for number, holder in enumerate(holders):  # any that is whole
            try:
                return self.pack_at(source, digest, f"p/{source}/{holder}/{digest}")
            except Damage as e:
                if number + 1 == len(holders):
                    raise
                note(f"{e}; there is another")
        return None

    def pack_at(self, source, digest, what):
        with open(os.path.join(self.site, what), "rb") as f:
            need(88 < os.fstat(f.fileno()).st_size <= PACK_MAX, f"{what}: size")
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        need(sha256(data).hex() == digest, f"{what}: bytes are not those of its name")
        r = Reader(data, what)
        need(r.raw(8) == b"HFPACK1\n", f"{what}: not a pack")
        header, sid, salt, epoch, n = r.num(4), r.raw(16), r.raw(32), r.num(4), r.num(1)
        secret = self.session(source, sid, epoch, [r.text() for _ in range(n)], what)
        need(r.at == header, f"{what}: header length")
        kp = hkdf(secret, salt, self.ctx(b"pack", source))
        kn = hkdf(kp, b"", b"nonce")

        def tail(at, n, label, domain):
            nonce = data[at:at + 12]
            plain = gcm_open(kp, nonce, data[at + 12:at + n], self.ctx(label, source, sid + salt), f"{what}: {label.decode()}")
            need(hmac256(kn, bytes([domain]) + plain)[:12] == nonce, f"{what}: nonce of the {label.decode()}")
            return Reader(plain, f"{what}: {label.decode()}")

        t = tail(len(data) - 44, 44, b"trailer", 0xF2)
        footer_at, footer_len, count, zero = t.num(4, 4, 4, 4)
        t.end()
        need(zero == 0 and header <= footer_at and footer_len >= 28 and footer_at + footer_len == len(data) - 44, f"{what}: trailer")
        t = tail(footer_at, footer_len, b"footer", 0xF1)
        need(t.num(4) == count, f"{what}: count")
        chunks, spans = {}, []
        for _ in range(count):
            kind, compression, cid, offset, sealed, plain = *t.num(1, 1), t.raw(32), *t.num(4, 4, 4)
            need(kind in (1, 2, 3, 4) and compression in (0, 1) and 1 <= plain <= CHUNK_MAX and sealed > 28, f"{what}: footer")
            chunks[kind, cid] = (offset, sealed, plain, compression)
            spans.append((offset, offset + sealed))
        spans.sort()
        need([header] + [end for _, end in spans] == [at for at, _ in spans] + [footer_at] and not any(t.data[t.at:]), f"{what}: footer")
        self.packs[source, digest] = (data, kp, kn, sid, salt, epoch, chunks, what)
        return self.packs[source, digest]

    def open_chunk(self, source, pack, kind, cid):
        data, kp, kn, sid, salt, epoch, chunks, what = pack
        offset, sealed, plain, compression = chunks[kind, cid]
        bound, nonce = bytes([kind, compression]) + cid, data[offset:offset + 12]
        what = f"{what}: chunk at {offset}"
        need(hmac256(kn, bound)[:12] == nonce, f"{what}: nonce")
        out = gcm_open(kp, nonce, data[offset + 12:offset + sealed], self.ctx(b"chunk", source, sid + salt) + bound, what)
        out = unzstd(out, plain) if compression else out
        need(len(out) == plain and hmac256(self.keys_of(source, epoch)[0], bytes([kind]) + out) == cid, f"{what}: is not what its id says")
        return out

    # --- attempts and snapshots ---

    def fate(self, source, attempt):
        """(signed snapshot, source of its pack list, lines) of a committed attempt; None when it is dead or undecided."""
        what = f"w/{source}/{attempt}/fate"
        if not self.has(what):
            return None
        data = self.get(what)
        if data.startswith(b"holdfast1 fate dead\n"):
            return None
        m = re.match(rb"holdfast1 fate commit\nsnapshot (0|[1-9][0-9]{0,6})\n", data)
        need(m, f"{what}: not a fate")
        end = m.end() + int(m[1])
        lines = data[end:].decode("ascii", "replace").split("\n")
        need(end < len(data) and lines.pop() == "", f"{what}: too short")
        return data[m.end():end], lines[0], lines[1:]

    def pack_list(self, source, attempt, depth=0):
        what, fate = f"w/{source}/{attempt}/fate", self.fate(source, attempt)
        need(fate and depth <= 63, f"{what}: a pack list ends in nothing")
        _, head, lines = fate
        if full := re.fullmatch(r"packs full (0|[1-9][0-9]*)", head):
            added, removed, packs = lines, [], set()
            need(len(lines) == int(full[1]), f"{what}: count")
        else:
            m = re.fullmatch(f"packs from ({ATTEMPT}) (0|[1-9][0-9]*) (0|[1-9][0-9]*)", head)
            need(m and len(lines) == int(m[2]) + int(m[3]), f"{what}: not a pack list")
            removed, added = lines[:int(m[2])], lines[int(m[2]):]
            need(all(s[:1] == "-" for s in removed) and all(s[:1] == "+" for s in added), f"{what}: difference")
            removed, added = ([s[1:] for s in part] for part in (removed, added))
            packs = set(self.pack_list(source, m[1], depth + 1))
        for part in (removed, added):
            need(part == sorted(set(part)) and all(re.fullmatch(DIGEST, s) for s in part), f"{what}: not sorted digests")
        need(packs.issuperset(removed) and packs.isdisjoint(added), f"{what}: difference does not fit")
        return sorted(packs.difference(removed).union(added))

    def attempts(self, source):
        """Every committed snapshot of a source, judged by all that is signed about it."""
        found, signers = {}, self.signers(source)
        for attempt in self.names(f"w/{source}"):
            what = f"w/{source}/{attempt}"
            opened = self.unless_mended(f"{what}/open", lambda: self.signed(self.get(f"{what}/open", SIGNED_MAX), "open", f"{what}/open",
                                                                            signers | self.logs))
            need(not opened or (opened["source"], opened["attempt"]) == (source, attempt), f"{what}/open: of another attempt")
            fate = self.unless_mended(f"{what}/fate", lambda: self.whole_fate(source, attempt))
            expired = self.expired(source, attempt)
            if not fate:
                if expired and expired["snapshot"]:
                    note(f"{what}/fate: lost; its snapshot has expired")
                continue
            snap = Snapshot(self, source, fate[0], f"{what}/fate")
            need(not expired or expired["snapshot"] == snap.digest, f"x/{source}/{attempt}: names another snapshot")
            packs = fate[3]
            other = found.setdefault((snap.signed["lineage"], snap.signed["seq"]), snap)
            need(other.digest == snap.digest, f"{snap.name}: two snapshots of one number, a fork")
            other.packs, other.expired = packs, other.expired and bool(expired)
        self.judge_copies(source, found)
        return [found[k] for k in sorted(found)]

    def whole_fate(self, source, attempt):
        """A fate with its signed snapshot and its full pack list."""
        what, fate = f"w/{source}/{attempt}/fate", self.fate(source, attempt)
        if not fate:
            return None
        snap, packs = Snapshot(self, source, fate[0], what), self.pack_list(source, attempt)
        need(sha256("".join(d + "\n" for d in packs).encode()).hex() == snap.signed["packs"], f"{what}: not the signed pack list")
        return *fate, packs

    def expired(self, source, attempt):
        key = f"x/{source}/{attempt}"
        if not self.has(key):
            return None

        def judge(data):
            value = self.signed(data, "expire", key, self.logs)
            need((value["source"], value["attempt"]) == (source, attempt), f"{key}: of another attempt")
            return value
        return self.valid(key, judge)

    def judge_copies(self, source, found):
        """Copies, receipts and the chain: each has to agree with what is committed; one that is missing is told."""
        by_digest = {s.digest: s for s in found.values()}
        for (lineage, seq), snap in sorted(found.items()):
            name = f"{source}/{lineage}/{seq:010d}"
            if self.has("s/" + name):
                self.unless_mended("s/" + name, lambda: need(sha256(self.get("s/" + name, SIGNED_MAX)).hex() == snap.digest,
                                                             f"s/{name}: not the committed snapshot"))
            else:
                note(f"s/{name} is missing")
            if self.has("r/" + name):
                receipt = self.unless_mended("r/" + name, lambda: self.signed(self.get("r/" + name, SIGNED_MAX), "receipt", "r/" + name, self.logs))
                need(not receipt or (receipt["source"], receipt["lineage"], receipt["seq"], receipt["snapshot"]) == (source, lineage, seq, snap.digest),
                     f"r/{name}: of another snapshot")
                snap.receipt = receipt["time"] if receipt else None
            before = by_digest.get(snap.signed["previous"])
            need(not before or (before.signed["lineage"] == lineage and before.signed["seq"] < seq), f"{snap.name}: previous does not fit")
            if snap.signed["previous_committed"] and not before:
                note(f"{snap.name}: the snapshot before it is not here")
        for lineage in self.names(f"s/{source}"):
            for seq in self.names(f"s/{source}/{lineage}"):
                if not re.fullmatch(r"[0-9]{10}", seq) or (lineage, int(seq)) not in found:
                    note(f"s/{source}/{lineage}/{seq}: nothing commits it")

    # --- indexes ---

    def check_index(self, source, name):
        """An index may lack much, but what it says has to be true."""
        what = f"i/{source}/{name}"
        data = self.get(what, 1 << 30)
        kind = 2 if data[8:9] == b"\2" else 1
        need(name.startswith("m.") or kind == 1, f"{what}: a merge under the name of a delta")
        need(not name.startswith("m.") or sha256(data).hex() == name[2:66], f"{what}: bytes are not those of its name")
        for epoch in sorted((s["epoch"] for s in self.sources[source]["signers"]), reverse=True):
            try:
                r = Reader(self.unseal(data, source, epoch, kind, what), what)
                break
            except Damage:
                continue
        else:
            raise Damage(f"{what}: opens under no epoch's key")
        packs, entries, replaced = r.num(4, 4, 4)
        packs = [(r.raw(32).hex(), r.raw(16), r.raw(32), *r.num(4, 4)) for _ in range(packs)]
        here = {d for a in self.names(f"p/{source}") for d in self.names(f"p/{source}/{a}")}
        last = b""
        for _ in range(entries):
            cid, number, offset, sealed, plain, ctype, compression, zero = r.raw(32), *r.num(4, 4, 4, 4, 1, 1, 2)
            need(cid >= last and number < len(packs) and zero == 0, f"{what}: entry")
            last, (digest, sid, salt, epoch, size) = cid, packs[number]
            if digest in here:
                p = self.pack(source, digest)
                need((len(p[0]), p[3], p[4], p[5]) == (size, sid, salt, epoch), f"{what}: pack {digest} is another one")
                need(p[6].get((ctype, cid)) == (offset, sealed, plain, compression), f"{what}: chunk {cid.hex()} is not there")
        names = [r.text() for _ in range(replaced)]
        r.end()
        need(kind == 2 or not names, f"{what}: a delta replaces nothing")

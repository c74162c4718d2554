#!/usr/bin/python3
"""host_keys.py ROOT SITE OPENING-KEY SOURCE: tries to open the packs at SITE with everything a protected host holds.

The attempt: every 32 bytes that stand in a file of ROOT, raw, in hex or in base64, and every secret of the host's key files run
through each of the format's derivations, as the session secret, as the key of a pack, and as a private key of an envelope.
None may open anything. As the control, the opening key must open the packs in the same way, or the attempt proves nothing.
Written from docs/format/format.md alone. Exit status 0: all as it must be."""
import base64, hashlib, hmac, json, os, re, struct, sys
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LABELS = ("holdfast1 psk", "holdfast1 session", "holdfast1 keys", "holdfast1 sid", "holdfast1 commitment", "holdfast1 pack", "holdfast1 sealed",
          "holdfast1 gear", "nonce")


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(prk, info, n):
    out = block = b""
    for i in range(1, (n + 31) // 32 + 1):
        block = mac(prk, block + info + bytes([i]))
        out += block
    return out[:n]


def hkdf(key, salt, info, n):
    return expand(mac(salt or bytes(32), key), info, n)


def text(b):
    return struct.pack("<H", len(b)) + b


def ctx(label, repo, source, rest=b""):
    return label.encode() + b"\0" + repo + text(source) + rest


class Envelope:
    def __init__(self, data):
        assert data[:8] == b"HFENVL1\n"
        self.kind, self.kem, self.epoch = struct.unpack_from("<BHI", data, 8)
        at = 15
        self.sid, self.recipient, self.commitment = data[at:at + 16], data[at + 16:at + 32], data[at + 32:at + 64]
        fields, at = [], at + 64
        for _ in range(3):
            n, = struct.unpack_from("<H", data, at)
            fields.append(data[at + 2:at + 2 + n])
            at += 2 + n
        self.class_name, self.enc, self.ciphertext = fields


def hpke_open(private, psk, env, info):
    """RFC 9180: single shot, mode_psk, X25519, HKDF-SHA256, AES-256-GCM, no AAD."""
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"

    def extract(suite_id, salt, label, ikm):
        return mac(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm)

    def labeled(suite_id, prk, label, info_, n):
        return expand(prk, struct.pack(">H", n) + b"HPKE-v1" + suite_id + label + info_, n)

    key = X25519PrivateKey.from_private_bytes(private)
    dh = key.exchange(X25519PublicKey.from_public_bytes(env.enc))
    shared = labeled(kem, extract(kem, b"", b"eae_prk", dh), b"shared_secret", env.enc + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), 32)
    context = b"\x01" + extract(suite, b"", b"psk_id_hash", b"holdfast1 psk") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared, b"secret", psk)
    return AESGCM(labeled(suite, secret, b"key", context, 32)).decrypt(labeled(suite, secret, b"base_nonce", context, 12), env.ciphertext, b"")


class Pack:
    def __init__(self, data):
        assert data[:8] == b"HFPACK1\n"
        self.data, self.n_header = data, struct.unpack_from("<I", data, 8)[0]
        self.sid, self.salt = data[12:28], data[28:60]
        at, self.envelopes = 65, []
        for _ in range(data[64]):
            n, = struct.unpack_from("<H", data, at)
            self.envelopes.append(Envelope(data[at + 2:at + 2 + n]))
            at += 2 + n

    def opens(self, kp, repo, source):
        """The trailer first; with it the footer, and with that the first chunk."""
        def tail(label, piece):
            return AESGCM(kp).decrypt(piece[:12], piece[12:], ctx(label, repo, source, self.sid + self.salt))
        try:
            at, n, count, _ = struct.unpack("<IIII", tail("holdfast1 trailer", self.data[-44:]))
        except InvalidTag:
            return None
        footer = tail("holdfast1 footer", self.data[at:at + n])
        kind, compression, ident, offset, sealed, _ = struct.unpack_from("<BB32sIII", footer, 4)
        aad = ctx("holdfast1 chunk", repo, source, self.sid + self.salt) + bytes([kind, compression]) + ident
        piece = self.data[offset:offset + sealed]
        AESGCM(kp).decrypt(piece[:12], piece[12:], aad)
        return count


def candidates(root):
    """Every 32 bytes of every file, as they stand and as hex or base64 texts."""
    found = set()
    for folder, _, names in os.walk(root):
        for name in names:
            data = open(os.path.join(folder, name), "rb").read()
            for at in range(len(data) - 31):
                found.add(data[at:at + 32])
            for run in re.findall(rb"(?=([0-9a-fA-F]{64}))", data):
                found.add(bytes.fromhex(run.decode()))
            for run in re.findall(rb"(?=([A-Za-z0-9+/]{43}=))", data):
                found.add(base64.b64decode(run))
    return found


def key_secrets(root):
    """The 32-byte secrets of key files; they are also run through every derivation."""
    out = {}
    for folder, _, names in os.walk(os.path.join(root, "keys")):
        for name in names:
            data = open(os.path.join(folder, name), "rb").read()
            for i, run in enumerate(re.findall(rb"[A-Za-z0-9+/]{43}=", data)):
                out[f"{name}#{i}"] = base64.b64decode(run)
            for i, run in enumerate(re.findall(rb"\b[0-9a-f]{64}\b", data)):
                out[f"{name}:{i}"] = bytes.fromhex(run.decode())
    return out


def main():
    root, site, opening_path, source = sys.argv[1:5]
    source = source.encode()
    opening = json.load(open(opening_path))
    repo = bytes.fromhex(opening["repository"])
    packs = []
    for folder, _, names in os.walk(os.path.join(site, "p", source.decode())):
        packs += [Pack(open(os.path.join(folder, n), "rb").read()) for n in sorted(names)]
    assert packs, "no pack at the site"
    sid_info, commitment_info, pack_info = (ctx(l, repo, source) for l in ("holdfast1 sid", "holdfast1 commitment", "holdfast1 pack"))

    # the control
    private, r = base64.b64decode(opening["private"]), base64.b64decode(opening["r"])
    psk = hkdf(r, b"", ctx("holdfast1 psk", repo, source), 32)
    for p in packs:
        env = p.envelopes[0]
        s = hpke_open(private, psk, env, ctx("holdfast1 session", repo, source, text(env.class_name) + p.sid))
        assert hkdf(s, b"", sid_info, 16) == p.sid, "the control fails: sid"
        assert p.opens(hkdf(s, p.salt, pack_info, 32), repo, source), "the control fails: the pack does not open"
    print(f"control: the opening key opens {len(packs)} packs")

    sids, commitments = {p.sid for p in packs}, {e.commitment for p in packs for e in p.envelopes}
    pool = candidates(root)
    for secret in (private, r, s):
        assert secret not in pool, "the host holds a secret that it must not"
    base = key_secrets(root)
    derived = set(base.values())
    for secret in list(base.values()):
        for label in LABELS:
            for src in (source, b""):
                derived.add(hkdf(secret, b"", ctx(label, repo, src), 32))
            derived.add(hkdf(secret, b"", label.encode(), 32))
        for p in packs:
            for label in LABELS:
                derived.add(hkdf(secret, p.salt, ctx(label, repo, source), 32))
    assert len(base) >= 6, f"only {len(base)} secrets of the host were found"

    opened = []
    for c in pool | derived:  # as the session secret: its sid or commitment would tell at once
        prk = mac(bytes(32), c)
        if expand(prk, sid_info, 16) in sids or expand(prk, commitment_info, 32) in commitments:
            opened.append("a session secret")
    for p in packs:
        for c in derived:  # as the key of the pack itself, and as the session secret
            if p.opens(c, repo, source) or p.opens(hkdf(c, p.salt, pack_info, 32), repo, source):
                opened.append("a pack")
    for env in [p.envelopes[0] for p in packs]:  # as the private key of an envelope, with every psk the host has
        info = ctx("holdfast1 session", repo, source, text(env.class_name) + env.sid)
        for c in base.values():
            for psk_ in base.values():
                try:
                    hpke_open(c, psk_, env, info)
                    opened.append("an envelope")
                except InvalidTag:
                    pass
    if opened:
        sys.exit(f"the host opens {len(opened)} things it must not: {sorted(set(opened))}")
    print(f"attempt: {len(pool)} strings and {len(derived)} derived keys of the host open nothing")


main()

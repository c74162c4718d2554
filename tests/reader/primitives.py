"""What the reader of repository format 1 builds on: primitives from libraries, and parsing that trusts nothing."""
import base64
import binascii
import ctypes
import ctypes.util
import hashlib
import hmac
import json
import re
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Damage(Exception):
    """Something is not as the format says."""


def need(condition, what):
    if not condition:
        raise Damage(what)


def note(what):
    print("note: " + what, file=sys.stderr)


# --- primitives ---

def sha256(data):
    return hashlib.sha256(data).digest()


def hmac256(key, data):
    return hmac.digest(key, data, "sha256")


def hkdf_expand(prk, info, n):
    out = block = b""
    for i in range(1, 256):
        if len(out) >= n:
            break
        block = hmac256(prk, block + info + bytes([i]))
        out += block
    return out[:n]


def hkdf(key, salt, info, n=32):
    return hkdf_expand(hmac256(salt or bytes(32), key), info, n)


def gcm_open(key, nonce, data, aad, what):
    try:
        return AESGCM(key).decrypt(nonce, bytes(data), aad)
    except (InvalidTag, ValueError) as e:
        raise Damage(f"{what}: does not open") from e


def hpke_open(private, enc, info, psk, psk_id, data, what):
    """RFC 9180, mode_psk, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, single shot, empty AAD."""
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"

    def extract(suite_id, salt, label, ikm):
        return hmac256(salt or bytes(32), b"HPKE-v1" + suite_id + label + ikm)

    def expand(suite_id, prk, label, context, n):
        return hkdf_expand(prk, struct.pack(">H", n) + b"HPKE-v1" + suite_id + label + context, n)

    own = X25519PrivateKey.from_private_bytes(private)
    try:
        shared = own.exchange(X25519PublicKey.from_public_bytes(enc))
    except ValueError as e:
        raise Damage(f"{what}: bad encapsulated key") from e
    context = enc + own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    secret = expand(kem, extract(kem, b"", b"eae_prk", shared), b"shared_secret", context, 32)
    schedule = b"\x01" + extract(suite, b"", b"psk_id_hash", psk_id) + extract(suite, b"", b"info_hash", info)
    prk = extract(suite, secret, b"secret", psk)
    return gcm_open(expand(suite, prk, b"key", schedule, 32), expand(suite, prk, b"base_nonce", schedule, 12), data, b"", what)


ZSTD = ctypes.CDLL(ctypes.util.find_library("zstd") or "libzstd.so.1")
for function, result in (("ZSTD_decompress", ctypes.c_size_t), ("ZSTD_getFrameContentSize", ctypes.c_ulonglong),
                         ("ZSTD_findFrameCompressedSize", ctypes.c_size_t)):
    getattr(ZSTD, function).restype = result


def unzstd(data, n):
    size = ctypes.c_size_t(len(data))
    need(ZSTD.ZSTD_getFrameContentSize(data, size) == n and ZSTD.ZSTD_findFrameCompressedSize(data, size) == len(data),
         "zstd frame of another size")
    out = ctypes.create_string_buffer(n)
    need(ZSTD.ZSTD_decompress(out, ctypes.c_size_t(n), data, size) == n, "zstd frame is damaged")
    return out.raw


class Reader:
    """Takes numbers and byte strings off the front of some bytes."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def raw(self, n):
        need(n <= len(self.data) - self.at, f"{self.what}: too short")
        self.at += n
        return bytes(self.data[self.at - n:self.at])

    def num(self, *sizes):
        values = [int.from_bytes(self.raw(n), "little") for n in sizes]
        return values if len(values) > 1 else values[0]

    def text(self):
        return self.raw(self.num(2))

    def end(self):
        need(self.at == len(self.data), f"{self.what}: bytes too many")


def u16(n):
    return struct.pack("<H", n)


def text(data):
    return u16(len(data)) + data


def unhex(s, n, what):
    need(isinstance(s, str) and re.fullmatch(f"[0-9a-f]{{{2 * n}}}", s), f"{what}: not {n} bytes in hex")
    return bytes.fromhex(s)


def unbase64(s, what):
    try:
        return base64.b64decode(s, validate=True)
    except (binascii.Error, TypeError, ValueError) as e:
        raise Damage(f"{what}: not base64") from e


def canonical(line, what):
    try:
        value = json.loads(line)
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except ValueError as e:
        raise Damage(f"{what}: not JSON") from e
    need(isinstance(value, dict) and again == line, f"{what}: not canonical JSON")
    return value

"""Content identifiers: CIDv1 over SHA-256, the only kind hausd writes.

Source: https://github.com/multiformats/cid and the multicodec table. Text is base32 (``b…``);
keys of open rooms are base36 (``k51…``).
"""

from __future__ import annotations

import base64
import hashlib
from enum import IntEnum

import msgspec

_SHA2_256 = 0x12
_IDENTITY = 0x00
_MAX_INLINE_BYTES = 64
_DIGEST_BYTES = 32
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"


class Codec(IntEnum):
    """What the block behind a CID holds."""

    RAW = 0x55
    DAG_PB = 0x70
    DAG_CBOR = 0x71


_PREFIXES = {codec: bytes((1, codec, _SHA2_256, _DIGEST_BYTES)) for codec in Codec}


class CIDError(ValueError):
    """The text or bytes are not a CID that hausd knows; the message says why."""


# A struct, for there is one of each block: a frozen dataclass takes ten times as long to make.
class CID(msgspec.Struct, frozen=True, order=True, gc=False, cache_hash=True):
    """A block's address: what it holds and the SHA-256 of its bytes."""

    codec: Codec
    digest: bytes

    @classmethod
    def of(cls, block: bytes | memoryview, codec: Codec = Codec.RAW) -> CID:
        """The CID of these bytes."""
        return cls(codec, hashlib.sha256(block).digest())

    @classmethod
    def from_bytes(cls, untrusted: bytes) -> CID:
        """Reads the 36 byte binary form; raises CIDError."""
        if len(untrusted) != 4 + _DIGEST_BYTES:
            raise CIDError(f"a CID is {4 + _DIGEST_BYTES} bytes, this one has {len(untrusted)}")
        version, codec, hash_code, length = untrusted[:4]
        if version != 1:
            raise CIDError("only version 1 CIDs are supported")
        if hash_code != _SHA2_256 or length != _DIGEST_BYTES:
            raise CIDError("only SHA2-256 CIDs are supported")
        try:
            return cls(Codec(codec), bytes(untrusted[4:]))
        except ValueError:
            raise CIDError(f"codec 0x{codec:x} is not raw, dag-pb or dag-cbor") from None

    @classmethod
    def parse(cls, untrusted: str) -> CID:
        """Reads the base32 text form (``bafk…``, ``bafy…``); raises CIDError."""
        if not untrusted.startswith("b") or len(untrusted) != 59:
            raise CIDError("a CID here is base32 text of 59 characters that begins with 'b'")
        body = untrusted[1:].upper()
        try:
            raw = base64.b32decode(body + "=" * (-len(body) % 8))
        except ValueError:
            raise CIDError("a CID's text is base32: a-z and 2-7") from None
        found = cls.from_bytes(raw)
        if str(found) != untrusted:
            raise CIDError("the CID's text is not in its canonical lower-case form")
        return found

    def __bytes__(self) -> bytes:
        return _PREFIXES[self.codec] + self.digest

    def __str__(self) -> str:
        return "b" + base64.b32encode(bytes(self)).decode("ascii").lower().rstrip("=")

    def matches(self, block: bytes | memoryview) -> bool:
        """Whether these bytes are the block that this CID names."""
        return hashlib.sha256(block).digest() == self.digest


def inline_content(untrusted: str) -> bytes | None:
    """What a CID holds that is itself its content (identity hash, raw, up to 64 bytes); None for
    any other. Clients try a gateway with the empty one, ``bafkqaaa``."""
    if not untrusted.startswith("bafk") or len(untrusted) > 2 * _MAX_INLINE_BYTES:
        return None
    body = untrusted[1:].upper()
    try:
        raw = base64.b32decode(body + "=" * (-len(body) % 8))
    except ValueError:
        return None
    head, content = raw[:4], raw[4:]
    if len(content) > _MAX_INLINE_BYTES or head != bytes((1, Codec.RAW, _IDENTITY, len(content))):
        return None
    return content


def base36(data: bytes) -> str:
    """Multibase base36 (prefix ``k``), the text form of IPNS names."""
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append(_BASE36[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "k" + "0" * zeros + "".join(reversed(digits))

"""multistream-select 1.0: how two ends agree on a protocol. Bytes only, no I/O.

Source: the multistream-select specification of libp2p. A token is a varint length and that many
bytes, of which the last is a newline.
"""

from __future__ import annotations

HEADER = "/multistream/1.0.0"
NOT_AVAILABLE = "na"
MAX_TOKEN_BYTES = 1024
"""As in go-libp2p; protocol names are far shorter."""


class MultistreamError(Exception):
    """The other end doesn't speak multistream-select; ``args[0]`` says in what."""


def token(text: str) -> bytes:
    """A token's bytes."""
    return lengthened(text.encode() + b"\n")


def lengthened(body: bytes) -> bytes:
    """Bytes after their varint length."""
    length, prefix = len(body), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + body


def missing(untrusted: bytes) -> int:
    """How many bytes are still missing of the token that begins here; 0: it is whole.

    Raises MultistreamError where it would be longer than MAX_TOKEN_BYTES.
    """
    length, start = _length(untrusted)
    return 1 if start == 0 else max(0, start + length - len(untrusted))


def text(untrusted: bytes) -> str:
    """What a whole token says; raises MultistreamError."""
    length, start = _length(untrusted)
    body = untrusted[start : start + length]
    if body[-1:] != b"\n":
        raise MultistreamError("a token without a newline")
    try:
        return body[:-1].decode("utf-8")
    except UnicodeDecodeError:
        raise MultistreamError("a token that is not UTF-8") from None


def _length(untrusted: bytes) -> tuple[int, int]:
    """The token's length and where it starts; ``(0, 0)`` while that isn't known."""
    length = 0
    for index, byte in enumerate(untrusted[:3]):
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if not 0 < length <= MAX_TOKEN_BYTES:
                raise MultistreamError(f"a token of {length} bytes")
            return length, index + 1
    if len(untrusted) >= 3:
        raise MultistreamError("a token's length takes more than three bytes")
    return 0, 0

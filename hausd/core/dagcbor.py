"""Canonical DAG-CBOR: the one form of everything hausd signs or links.

Source: https://ipld.io/specs/codecs/dag-cbor/spec/. A value has exactly one encoding, and
``decode`` takes no other: map keys are strings, shorter ones first; integers and lengths are as
short as they can be; nothing is indefinite; the only tag is 42, a CID. The specification also
has 64-bit floats; no form of hausd needs one, so they are refused both ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn, Union

import cbor2

from hausd.core.cid import CID, CIDError

# Union rather than |, which does not take the quoted names of an alias within itself.
Value = Union[None, bool, int, str, bytes, CID, "list[Value]", "dict[str, Value]"]
"""What DAG-CBOR can say. ``encode`` also takes tuples, as lists."""

MAX_BLOCK_BYTES = 1024 * 1024
"""Largest encoding that is read or written: what every IPFS implementation still exchanges."""
MAX_DEPTH = 32
"""Deepest nesting of lists and maps; the forms of hausd need 6."""
MAX_ITEMS = 8192
"""Values that are read at once, however nested, map keys too; a link is two. Each costs some
microseconds and as little as a byte."""
MAX_LISTED_ITEMS = 65_536
"""The same where long lists are: a block of nothing but links has 51,000."""

_LINK_TAG = 42
_STRINGS = (2, 3)
"""Major types whose bytes follow the head: byte strings, text."""
_ATOMS = frozenset((str, bytes, bool, type(None)))
"""What is said as it is."""
_MAX_INT = 2**64 - 1
_MIN_INT = -(2**64)


class DagCborError(ValueError):
    """The bytes are not canonical DAG-CBOR, or the value can't be said in it."""


def encode(value: object) -> bytes:
    """The canonical encoding; raises DagCborError for what DAG-CBOR (as above) can't say."""
    try:
        encoded = cbor2.dumps(_plain(value, 0), canonical=True)
    except (cbor2.CBOREncodeError, UnicodeEncodeError) as fault:
        raise DagCborError(f"not encodable: {fault}") from None
    if len(encoded) > MAX_BLOCK_BYTES:
        raise DagCborError(f"{len(encoded)} bytes are more than the {MAX_BLOCK_BYTES} of a block")
    return encoded


def decode(untrusted: bytes, max_bytes: int = MAX_BLOCK_BYTES, max_items: int = MAX_ITEMS) -> Value:
    """Reads exactly one canonical value of at most ``max_bytes`` and ``max_items``.

    Raises DagCborError; too much is refused before any of it is built.
    """
    if len(untrusted) > max_bytes:
        raise DagCborError(f"{len(untrusted)} bytes are more than the {max_bytes} allowed")
    if len(untrusted) > max_items:  # each takes a byte at least
        _count(untrusted, max_items)
    try:
        value: Value = cbor2.loads(
            untrusted,
            tag_hook=_link,
            semantic_decoders=_REFUSED_TAGS,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except (cbor2.CBORDecodeError, CIDError) as fault:
        # What a hook raised comes as the cause; it says more than the wrapper does.
        raise DagCborError(f"not DAG-CBOR: {fault.__cause__ or fault}") from None
    if encode(value) != untrusted:
        raise DagCborError("not in canonical form, or more follows")
    return value


def _count(untrusted: bytes, most: int) -> None:
    """Walks from head to head; raises DagCborError where there are more than ``most``."""
    at, end = 0, len(untrusted)
    for _ in range(most):
        if at >= end:
            return
        head = untrusted[at]
        at += 1
        argument = head & 0x1F
        if argument >= 24:
            if argument > 27:
                raise DagCborError("not DAG-CBOR: of indefinite length, or of none")
            width = 1 << argument - 24
            argument = int.from_bytes(untrusted[at : at + width])
            at += width
        if head >> 5 in _STRINGS:
            at += argument
    if at < end:
        raise DagCborError(f"more than the {most} values allowed")


def links(value: Value) -> Iterator[CID]:
    """Every CID within, in the order of the encoding."""
    if isinstance(value, CID):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from links(item)
    elif isinstance(value, dict):
        for key in sorted(value, key=lambda key: (len(key.encode()), key.encode())):
            yield from links(value[key])


def _plain(value: object, depth: int) -> object:
    """The same in types that cbor2 encodes as DAG-CBOR wants; all others are refused.

    Exact types are compared because cbor2 gives subclasses and its own types other encodings.
    """
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, int):
        if not _MIN_INT <= value <= _MAX_INT:
            raise DagCborError("an integer has more than 64 bits")
        return int(value)
    if isinstance(value, CID):
        return cbor2.CBORTag(_LINK_TAG, b"\0" + bytes(value))
    if depth >= MAX_DEPTH:
        raise DagCborError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, (list, tuple)):
        return [item if type(item) in _ATOMS else _plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise DagCborError(f"a map's key is text, not {type(key).__name__}")
        return {
            str(key): item if type(item) in _ATOMS else _plain(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, str):
        return str(value)
    raise DagCborError(f"DAG-CBOR here has no {kind.__name__}")


def _link(tag: cbor2.CBORTag, immutable: bool) -> CID:
    if tag.tag != _LINK_TAG:
        raise DagCborError(f"tag {tag.tag} is not a link")
    body = tag.value
    if not isinstance(body, bytes) or not body.startswith(b"\0"):
        raise DagCborError("a link is a byte string that begins with 0")
    return CID.from_bytes(body[1:])


def _refuse(value: object, immutable: bool) -> NoReturn:
    raise DagCborError("no tag but 42, a link, is allowed")


# cbor2 turns these tags into Python values by itself, some at a high price (shared references
# that expand, decimals of huge exponent, regular expressions). Others reach ``_link``.
_REFUSED_TAGS: dict[int, Callable[[object, bool], NoReturn]] = dict.fromkeys(
    [*range(_LINK_TAG), *range(_LINK_TAG + 1, 300), 1004, 43000, 55799], _refuse
)

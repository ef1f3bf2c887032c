"""Keys that are for everybody: what is free of a gated room, as its authority signs it.

Nothing is ever stored or sent in clear. What is free is a key: an epoch's, which opens all of that
epoch, or the one of a rendition in it. A track names those that it takes to play it now; a signed
head links to a block with all of the recording's. The schema is ``hausd/wire/schema.cddl``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hausd.core.dagcbor import (
    MAX_BLOCK_BYTES,
    MAX_LISTED_ITEMS,
    DagCborError,
    Value,
    decode,
    encode,
)
from hausd.core.forms import RENDITION_NAME, Fields, FormError
from hausd.core.gating import EPOCH_ID_BYTES, EPOCH_KEY_BYTES, WHOLE, EpochId, Use
from hausd.core.ids import RoomId

MAX_FREE_KEYS = 8192
"""Of one room, some 500 KB: two months of epochs of 10 minutes, or two weeks of a free rendition
with its sound."""
_OBJECTS = ("init",)


class FreeingError(ValueError):
    """A block is not the list of keys that it should be; the message says why."""


@dataclass(frozen=True, slots=True, order=True)
class FreeKey:
    """A key for everybody. ``raw``: 32 bytes, the epoch's own where ``use`` is ``WHOLE``."""

    epoch: EpochId
    use: Use
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Freed:
    """All keys of a room's recording that are free. ``all``: so they are for good, and it takes no
    ticket any more."""

    room: RoomId
    keys: tuple[FreeKey, ...]
    all: bool = False


def free_key_form(key: FreeKey) -> list[object]:
    """``[epoch's id, key]`` of a whole epoch, ``[epoch's id, key, "rendition", name]`` of one
    rendition, ``[epoch's id, key, "object", "init"]`` of all inits."""
    return [key.epoch, key.raw, *key.use]


def read_free_keys(untrusted: list[Value], what: str) -> tuple[FreeKey, ...]:
    """Reads a list in the order of epochs and uses, each once; raises FormError."""
    keys = tuple(_read(one, what) for one in untrusted)
    at = [(key.epoch, key.use) for key in keys]
    if at != sorted(set(at)):
        raise FormError(f"{what} is not in order, each key once")
    return keys


def encode_freed(freed: Freed) -> bytes:
    """The block that a head links to. Raises ValueError where there are more than MAX_FREE_KEYS."""
    if len(freed.keys) > MAX_FREE_KEYS:
        raise ValueError(f"{len(freed.keys)} keys are more than one block may list")
    form: dict[str, object] = {
        "v": 1,
        "room": freed.room,
        "keys": [free_key_form(key) for key in in_order(freed.keys)],
    }
    return encode(form | ({"all": True} if freed.all else {}))


def decode_freed(untrusted: bytes) -> Freed:
    """Reads a block; raises FreeingError."""
    try:
        fields = Fields(decode(untrusted, MAX_BLOCK_BYTES, MAX_LISTED_ITEMS), "free")
        fields.version()
        made = Freed(
            fields.room(),
            read_free_keys(fields.items("keys", MAX_FREE_KEYS), "free.keys"),
            all=fields.has("all"),
        )
        if made.all and not fields.flag("all"):
            raise fields.fault("all", "true, or left out")
        fields.done()
    except (DagCborError, FormError) as fault:
        raise FreeingError(str(fault)) from None
    return made


def in_order(keys: Iterable[FreeKey]) -> list[FreeKey]:
    """As lists of them stand."""
    return sorted(keys, key=lambda key: (key.epoch, key.use))


def _read(untrusted: Value, what: str) -> FreeKey:
    match untrusted:
        case [bytes(epoch), bytes(raw), *use] if (
            len(epoch) == EPOCH_ID_BYTES and len(raw) == EPOCH_KEY_BYTES
        ):
            return FreeKey(EpochId(epoch), _read_use(use, what), raw)
    raise FormError(f"{what} has one that is no key, [epoch's id, 32 bytes, what it is for]")


def _read_use(untrusted: list[Value], what: str) -> Use:
    match untrusted:
        case []:
            return WHOLE
        case ["rendition", str(name)] if RENDITION_NAME.fullmatch(name):
            return ("rendition", name)
        case ["object", str(name)] if name in _OBJECTS:
            return ("object", name)
    raise FormError(f"{what} has a key for nothing that is known here")

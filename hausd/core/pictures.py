"""A room's poster and storyboard as blocks: which JPEG is which, and when it was.

A signed head links to one small node: the newest poster, the newest sheets of the storyboard, and
links to nodes of ``FULL`` older ones each, which never change. The schema is
``hausd/wire/schema.cddl``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import DagCborError, Value, decode, encode
from hausd.core.forms import Fields, FormError, is_uint
from hausd.core.gating import ObjectSeal
from hausd.core.gating_forms import object_seal_form, read_object_seal
from hausd.core.ids import RoomId
from hausd.core.media import LEAF_BYTES

FULL = 32
"""Sheets of a node that is full: some 3 KB."""
MAX_OLDER = 31
MAX_NODE_BYTES = 16 * 1024
MAX_IMAGE_BYTES = LEAF_BYTES
"""An image is one raw block, as a leaf is."""
_MAX_SIDE = 4096
_MAX_TILES = 100
_MAX_INTERVAL_MS = 3_600_000


class PicturesError(ValueError):
    """A block is not the node that it should be; the message says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG: the raw block of its bytes, and how many they are; in a gated room, its seal."""

    cid: CID
    size: int
    seal: ObjectSeal | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """Tiles of ``tile_width`` by ``tile_height`` pixels, row by row, ``columns`` in each.

    ``start_ms``: where in the recording the first one stands; ``interval_ms`` from one to the next.
    """

    picture: Picture
    start_ms: int
    interval_ms: int
    columns: int
    tiles: int
    tile_width: int
    tile_height: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """The root. ``older``: nodes of FULL sheets each, the oldest first; ``sheets`` follow them."""

    room: RoomId
    poster: Picture | None
    sheets: tuple[Sheet, ...]
    older: tuple[CID, ...] = ()


def encode_pictures(pictures: Pictures) -> bytes:
    """The root's block."""
    form: dict[str, object] = {
        "v": 1,
        "room": pictures.room,
        "sheets": [_form(sheet) for sheet in pictures.sheets],
        "older": list(pictures.older),
    }
    if pictures.poster is not None:
        form["poster"] = _picture_form(pictures.poster)
    return encode(form)


def decode_pictures(untrusted: bytes) -> Pictures:
    """Reads a root; raises PicturesError."""
    try:
        fields = Fields(decode(untrusted, MAX_NODE_BYTES), "pictures")
        fields.version()
        older = fields.items("older", MAX_OLDER)
        links = [one for one in older if isinstance(one, CID) and one.codec is Codec.DAG_CBOR]
        if len(links) != len(older):
            raise fields.fault("older", "a list of links to CBOR blocks")
        made = Pictures(
            fields.room(),
            _read_picture(fields.take("poster")) if fields.has("poster") else None,
            tuple(_read_sheet(one) for one in fields.items("sheets", FULL)),
            tuple(links),
        )
        fields.done()
    except (DagCborError, FormError) as fault:
        raise PicturesError(str(fault)) from None
    return made


def encode_sheets(sheets: Sequence[Sheet]) -> bytes:
    """A node of FULL sheets."""
    return encode([_form(sheet) for sheet in sheets])


def decode_sheets(untrusted: bytes) -> tuple[Sheet, ...]:
    """Reads a node of FULL sheets; raises PicturesError."""
    try:
        match decode(untrusted, MAX_NODE_BYTES):
            case [*forms] if len(forms) == FULL:
                return tuple(_read_sheet(one) for one in forms)
    except (DagCborError, FormError) as fault:
        raise PicturesError(str(fault)) from None
    raise PicturesError(f"a node of sheets has {FULL} of them")


def _form(sheet: Sheet) -> list[object]:
    cid, size, *seal = _picture_form(sheet.picture)
    return [
        *(cid, size, sheet.start_ms, sheet.interval_ms),
        *(sheet.columns, sheet.tiles, sheet.tile_width, sheet.tile_height),
        *seal,
    ]


def _picture_form(picture: Picture) -> list[object]:
    seal = [] if picture.seal is None else [object_seal_form(picture.seal)]
    return [picture.cid, picture.size, *seal]


def _read_sheet(untrusted: Value) -> Sheet:
    match untrusted:
        case [cid, size, start_ms, interval_ms, columns, tiles, width, height, *seal]:
            picture = _read_picture([cid, size, *seal])
            if (
                is_uint(start_ms)
                and is_uint(interval_ms, 1, _MAX_INTERVAL_MS)
                and is_uint(columns, 1, _MAX_TILES)
                and is_uint(tiles, 1, _MAX_TILES)
                and is_uint(width, 1, _MAX_SIDE)
                and is_uint(height, 1, _MAX_SIDE)
            ):
                return Sheet(picture, start_ms, interval_ms, columns, tiles, width, height)
    raise FormError("pictures.sheets has one that is none")


def _read_picture(untrusted: Value) -> Picture:
    match untrusted:
        case [CID() as cid, size, *seal] if (
            cid.codec is Codec.RAW and is_uint(size, 1, MAX_IMAGE_BYTES) and len(seal) <= 1
        ):
            return Picture(cid, size, read_object_seal(seal[0], "its seal") if seal else None)
    raise FormError("a picture is [link to a raw block, its size, its seal if it is sealed]")

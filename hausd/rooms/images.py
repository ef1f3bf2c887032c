"""A room's poster and storyboard: JPEG sprites and the WebVTT that tells what they show."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hausd.core.cid import CID, Codec
from hausd.core.gating import ObjectSeal
from hausd.core.ids import RoomId
from hausd.core.live import Media
from hausd.core.pictures import (
    FULL,
    MAX_OLDER,
    Picture,
    Pictures,
    Sheet,
    decode_pictures,
    encode_pictures,
    encode_sheets,
)
from hausd.wire.worker import ImageMade

MAX_SPRITES = FULL * MAX_OLDER
"""Sheets kept: at 25 tiles of 5 s each this is 34 hours. Older ones are dropped."""
MAX_CUES = 32_000
"""Tiles of the storyboard that are listed, the newest: 25 of each sheet, as origins make them, and
some. Another node may say 100 of each."""
JPEG = "image/jpeg"

Block = tuple[CID, bytes]


class Images:
    """Keeps the newest poster in memory and the sprites' CIDs; their bytes are blocks."""

    def __init__(self) -> None:
        self.poster: Media | None = None
        """As it is stored: in a gated room sealed, as ``poster_seal`` says."""
        self.poster_seal: ObjectSeal | None = None
        self.sealed = False
        """Whether any that was ever shown is sealed."""
        self._sheets: list[Sheet] = []
        self._cues: dict[Sheet, str] = {}
        self._text: str | None = None
        """The storyboard as it was asked for last."""
        self._full: dict[tuple[Sheet, ...], Block] = {}
        """Nodes of full sheets, which are made once."""

    def __bool__(self) -> bool:
        """Whether there is anything to be seen."""
        return self.poster is not None or bool(self._sheets)

    def add(
        self, made: ImageMade, jpeg: bytes, start_ms: int, seal: ObjectSeal | None = None
    ) -> CID:
        """``start_ms``: where in the recording the first picture stands. ``seal``: what ``jpeg``
        is sealed with, if it is. Returns its CID."""
        cid = CID.of(jpeg)
        if made.use == "poster":
            self.show(jpeg, seal)
            return cid
        sheet = Sheet(
            Picture(cid, len(jpeg), seal),
            max(start_ms, 0),
            made.interval_ms,
            made.columns,
            made.tiles,
            made.tile_width,
            made.tile_height,
        )
        # a sheet is sent again as it fills: the newest of the same start replaces the older
        if self._sheets and self._sheets[-1].start_ms == sheet.start_ms:
            self._sheets.pop()
        self._sheets.append(sheet)
        self._text = None
        self.sealed |= seal is not None
        if len(self._sheets) > MAX_SPRITES:
            del self._sheets[:FULL]  # a whole node, so that the others stay as they are
        return cid

    def show(self, jpeg: bytes, seal: ObjectSeal | None = None) -> None:
        """The newest poster."""
        self.poster_seal = seal
        self.sealed |= seal is not None
        self.poster = Media(CID.of(jpeg), JPEG, len(jpeg), (jpeg,))

    def take(self, sheets: Sequence[Sheet]) -> None:
        """The whole storyboard, as another node made it."""
        self._sheets, self._text = list(sheets), None
        self.sealed |= any(sheet.picture.seal is not None for sheet in sheets)

    def nodes(self, room: RoomId) -> tuple[Block, list[Block]]:
        """The root's block, and those of full sheets that it links to.

        Raises PicturesError where a worker made what no node would take.
        """
        whole = len(self._sheets) // FULL * FULL
        chunks = [tuple(self._sheets[at : at + FULL]) for at in range(0, whole, FULL)]
        self._full = {
            chunk: self._full.get(chunk) or _block(encode_sheets(chunk)) for chunk in chunks
        }
        full = list(self._full.values())
        poster = self.poster
        root = Pictures(
            room,
            Picture(poster.cid, poster.size, self.poster_seal) if poster is not None else None,
            tuple(self._sheets[whole:]),
            tuple(cid for cid, _ in full),
        )
        encoded = encode_pictures(root)
        decode_pictures(encoded)
        return _block(encoded), full

    def sprite(self, name: str) -> Picture | None:
        """A sprite named in the storyboard."""
        for sheet in self._sheets:
            if name == f"{sheet.picture.cid}.jpg":
                return sheet.picture
        return None

    def storyboard(self) -> str | None:
        """WebVTT with one cue a tile, ``<cid>.jpg#xywh=x,y,w,h``; None while there is none."""
        if not self._sheets:
            return None
        if self._text is None:
            shown, cues = deque[Sheet](), 0
            for sheet in reversed(self._sheets):
                cues += sheet.tiles
                if cues > MAX_CUES:
                    break
                shown.appendleft(sheet)
            known = self._cues
            self._cues = {sheet: known.get(sheet) or _cues_of(sheet) for sheet in shown}
            self._text = "\n".join(["WEBVTT", "", *(self._cues[sheet] for sheet in shown)])
        return self._text


def _cues_of(sheet: Sheet) -> str:
    name, lines = f"{sheet.picture.cid}.jpg", []
    for tile in range(sheet.tiles):
        start = sheet.start_ms + tile * sheet.interval_ms
        x = tile % sheet.columns * sheet.tile_width
        y = tile // sheet.columns * sheet.tile_height
        lines += [
            f"{_clock(start)} --> {_clock(start + sheet.interval_ms)}",
            f"{name}#xywh={x},{y},{sheet.tile_width},{sheet.tile_height}",
            "",
        ]
    return "\n".join(lines)


def _block(encoded: bytes) -> Block:
    return CID.of(encoded, Codec.DAG_CBOR), encoded


def _clock(ms: int) -> str:
    seconds, ms = divmod(max(ms, 0), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"

"""A room's poster and storyboard: JPEG sprites and the WebVTT that tells what they show."""

from __future__ import annotations

from dataclasses import dataclass

from hausd.core.cid import CID
from hausd.core.live import Media
from hausd.wire.worker import ImageMade

MAX_SPRITES = 1_000
"""Sheets kept: at 25 tiles of 5 s each this is 34 hours. Older ones are dropped."""
JPEG = "image/jpeg"


@dataclass(frozen=True, slots=True)
class _Sheet:
    made: ImageMade
    cid: CID
    size: int
    start_ms: int


class Images:
    """Keeps the newest poster in memory and the sprites' CIDs; their bytes are blocks."""

    def __init__(self) -> None:
        self.poster: Media | None = None
        self._sheets: list[_Sheet] = []

    def add(self, made: ImageMade, jpeg: bytes, start_ms: int) -> CID:
        """``start_ms``: where in the recording the first picture stands. Returns its CID."""
        cid = CID.of(jpeg)
        if made.use == "poster":
            self.poster = Media(cid, JPEG, len(jpeg), (jpeg,))
            return cid
        sheet = _Sheet(made, cid, len(jpeg), start_ms)
        # a sheet is sent again as it fills: the newest of the same start replaces the older
        if self._sheets and self._sheets[-1].start_ms == start_ms:
            self._sheets.pop()
        self._sheets.append(sheet)
        del self._sheets[:-MAX_SPRITES]
        return cid

    def sprite(self, name: str) -> tuple[CID, int] | None:
        """CID and size of a sprite named in the storyboard."""
        for sheet in self._sheets:
            if name == f"{sheet.cid}.jpg":
                return sheet.cid, sheet.size
        return None

    def storyboard(self) -> str | None:
        """WebVTT with one cue a tile, ``<cid>.jpg#xywh=x,y,w,h``; None while there is none."""
        if not self._sheets:
            return None
        lines = ["WEBVTT", ""]
        for sheet in self._sheets:
            made = sheet.made
            for tile in range(made.tiles):
                start = sheet.start_ms + tile * made.interval_ms
                x = tile % made.columns * made.tile_width
                y = tile // made.columns * made.tile_height
                lines += [
                    f"{_clock(start)} --> {_clock(start + made.interval_ms)}",
                    f"{sheet.cid}.jpg#xywh={x},{y},{made.tile_width},{made.tile_height}",
                    "",
                ]
        return "\n".join(lines)


def _clock(ms: int) -> str:
    seconds, ms = divmod(max(ms, 0), 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"

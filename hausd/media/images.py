"""Poster and storyboard of a run, as JPEG.

Made of the ladder's smallest pictures where something is decoded anyway; else one keyframe per
tile is decoded here. All of it happens in one thread of low priority that takes a few pictures a
minute; one that comes while it is busy is left out.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from hausd.core.media import LEAF_BYTES
from hausd.media.encoder import open_decoder
from hausd.media.units import SourceVideo
from hausd.wire.worker import ImageMade

TILE_EVERY_MS = 5000
"""From one tile of the storyboard to the next."""
POSTER_EVERY_MS = 10_000
COLUMNS = ROWS = 5
TILE_WIDTH, TILE_HEIGHT = 160, 320
POSTER_WIDTH = 640
MAX_IMAGE_BYTES = LEAF_BYTES
"""One block, which any node passes on. An image larger than this is made again at lower quality,
and left out if it stays so."""
_QUALITIES = (5, 12, 31)  # of libav's mjpeg: 2 is best, 31 worst
# Where pictures are offered, keyframes are not decoded; where none came for so long, they are.
_NO_PICTURES_MS = 2 * TILE_EVERY_MS
_LEAST_PRIORITY = 19
_GREY, _BLACK = 128, 0

OnImage = Callable[[ImageMade, bytes], None]
"""Called from the images' own thread."""


@dataclass(frozen=True, slots=True)
class _Keyframe:
    source: SourceVideo
    data: bytes


class Images:
    """Posters and storyboard of one run. ``offer_…`` never wait; times are since its begin.

    The first picture gives a poster and a sheet at once. A sheet is sent again, with the same
    ``run_ms``, whenever a row of it is full; ``close`` sends what was not sent.
    """

    def __init__(self, run: int, on_image: OnImage) -> None:
        self._run = run
        self._on_image = on_image
        self._next_tile_ms: int | None = None
        self._last_frame_ms: int | None = None
        self._work: tuple[VideoFrame | _Keyframe, int] | None = None
        self._busy = False
        self._closing = False
        self._changed = threading.Condition()
        self._studio = _Studio(run, on_image)
        self.failures = 0
        """Pictures that could not be decoded or encoded."""
        self._thread = threading.Thread(target=self._draw, name="images", daemon=True)
        self._thread.start()

    def offer_frame(self, picture: VideoFrame, run_ms: int) -> None:
        """A decoded picture (8 bit 4:2:0), which nobody changes afterwards."""
        self._last_frame_ms = run_ms
        if self._due(run_ms):
            self._take(picture, run_ms)

    def offer_keyframe(self, source: SourceVideo, data: bytes, run_ms: int) -> None:
        """A coded keyframe; used only while no decoded pictures come."""
        last_ms = self._last_frame_ms
        if (last_ms is None or run_ms - last_ms > _NO_PICTURES_MS) and self._due(run_ms):
            self._take(_Keyframe(source, data), run_ms)

    def wait_idle(self) -> None:
        """Waits until what was taken is drawn."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)

    def close(self) -> None:
        """Draws what was taken, and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _due(self, run_ms: int) -> bool:
        return self._next_tile_ms is None or run_ms >= self._next_tile_ms

    def _take(self, what: VideoFrame | _Keyframe, run_ms: int) -> None:
        with self._changed:
            if self._closing or self._busy:
                return
            self._busy = True
            self._work = (what, run_ms)
            self._next_tile_ms = (run_ms // TILE_EVERY_MS + 1) * TILE_EVERY_MS
            self._changed.notify_all()

    def _draw(self) -> None:
        # Of this thread alone, as Linux has it.
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST_PRIORITY)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._work is not None or self._closing)
                work, self._work = self._work, None
            try:
                if work is None:
                    self._studio.finish()
                    return
                self._studio.take(*work)
            except (av.FFmpegError, MemoryError):
                self.failures += 1
            with self._changed:
                self._busy = False
                self._changed.notify_all()


class _Studio:
    """Draws, in the images' thread."""

    def __init__(self, run: int, on_image: OnImage) -> None:
        self._run = run
        self._on_image = on_image
        self._decoder: VideoCodecContext | None = None
        self._decodes: SourceVideo | None = None
        self._scalers = (VideoReformatter(), VideoReformatter())
        self._next_poster_ms = 0
        self._sheet: _Sheet | None = None

    def take(self, what: VideoFrame | _Keyframe, run_ms: int) -> None:
        picture = self._decoded(what) if isinstance(what, _Keyframe) else what
        if run_ms >= self._next_poster_ms:
            self._next_poster_ms = run_ms + POSTER_EVERY_MS
            self._poster(picture, run_ms)
        self._tile(picture, run_ms // TILE_EVERY_MS)

    def finish(self) -> None:
        if self._sheet is not None:
            self._send(self._sheet)

    def _decoded(self, keyframe: _Keyframe) -> VideoFrame:
        decoder, self._decoder = self._decoder, None
        if decoder is None or keyframe.source != self._decodes:
            decoder = open_decoder(keyframe.source, one_thread=True)
            self._decodes = keyframe.source
        pictures = decoder.decode(av.Packet(keyframe.data)) + decoder.decode(None)
        # A decoder that was drained takes more only after this; one that failed is not kept.
        decoder.flush_buffers()
        self._decoder = decoder
        if not pictures:
            raise av.error.InvalidDataError(errno.EINVAL, "the keyframe shows no picture")
        return pictures[0]

    def _poster(self, picture: VideoFrame, run_ms: int) -> None:
        width, height = _fit(picture, min(POSTER_WIDTH, picture.width), POSTER_WIDTH)
        jpeg = _jpeg(_full_range(self._scalers[0], picture, width, height))
        if jpeg is not None:
            made = ImageMade("poster", self._run, run_ms, 0, 1, 1, 1, width, height)
            self._on_image(made, jpeg)

    def _tile(self, picture: VideoFrame, slot: int) -> None:
        width, height = _fit(picture, TILE_WIDTH, TILE_HEIGHT)
        sheet = self._sheet
        if sheet is not None and (
            slot >= sheet.first_slot + COLUMNS * ROWS
            or (sheet.width, sheet.height) != (width, height)
        ):
            self._send(sheet)
            sheet = None
        if sheet is None:
            sheet = self._sheet = _Sheet(slot, width, height)
        sheet.draw(_full_range(self._scalers[1], picture, width, height), slot - sheet.first_slot)
        if sheet.sent == 0 or sheet.tiles // COLUMNS > sheet.sent // COLUMNS:
            self._send(sheet)

    def _send(self, sheet: _Sheet) -> None:
        if sheet.tiles == sheet.sent:
            return
        sheet.sent = sheet.tiles
        jpeg = _jpeg(sheet.canvas)
        if jpeg is not None:
            made = ImageMade(
                use="storyboard",
                run=self._run,
                run_ms=sheet.first_slot * TILE_EVERY_MS,
                interval_ms=TILE_EVERY_MS,
                columns=COLUMNS,
                rows=ROWS,
                tiles=sheet.tiles,
                tile_width=sheet.width,
                tile_height=sheet.height,
            )
            self._on_image(made, jpeg)


class _Sheet:
    """A sprite sheet that fills up; ``slot`` counts tiles since the run began."""

    def __init__(self, first_slot: int, width: int, height: int) -> None:
        self.first_slot, self.width, self.height = first_slot, width, height
        self.tiles = self.sent = 0
        self.canvas = VideoFrame(COLUMNS * width, ROWS * height, "yuvj420p")
        self.canvas.color_range = ColorRange.JPEG
        for plane, value in zip(self.canvas.planes, (_BLACK, _GREY, _GREY), strict=True):
            plane.update(bytes((value,)) * plane.buffer_size)

    def draw(self, tile: VideoFrame, at: int) -> None:
        """Puts a tile in its place, and in the places before it that nothing came for."""
        for place in range(min(self.tiles, at), at + 1):
            self._paste(tile, place)
        self.tiles = max(self.tiles, at + 1)

    def _paste(self, tile: VideoFrame, place: int) -> None:
        for target, source, half in zip(self.canvas.planes, tile.planes, (1, 2, 2), strict=True):
            width, height = self.width // half, self.height // half
            left, top = place % COLUMNS * width, place // COLUMNS * height
            to, rows = memoryview(target), memoryview(source)
            for row in range(height):
                begin = (top + row) * target.line_size + left
                line = rows[row * source.line_size : row * source.line_size + width]
                to[begin : begin + width] = line


def _fit(picture: VideoFrame, most_width: int, most_height: int) -> tuple[int, int]:
    """The picture's shape in even numbers, within both bounds."""
    scale = min(most_width / picture.width, most_height / picture.height)
    return _even(picture.width * scale), _even(picture.height * scale)


def _even(pixels: float) -> int:
    return max(2 * round(pixels / 2), 2)


def _full_range(
    scaler: VideoReformatter, picture: VideoFrame, width: int, height: int
) -> VideoFrame:
    """As JPEG wants it: every value from 0 to 255 in use."""
    full = picture.color_range == ColorRange.JPEG or "yuvj" in picture.format.name
    return scaler.reformat(
        picture,
        width,
        height,
        format="yuvj420p",
        interpolation=Interpolation.AREA,
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        threads=1,
    )


def _jpeg(picture: VideoFrame) -> bytes | None:
    """The picture as JPEG, in the best quality that fits; None if none does."""
    for quality in _QUALITIES:
        encoder = av.CodecContext.create("mjpeg", "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "yuvj420p"
        encoder.time_base = Fraction(1, 1)
        encoder.color_range = ColorRange.JPEG
        encoder.thread_count = 1
        encoder.flags |= Flags.qscale
        encoder.global_quality = quality
        picture.pts, picture.time_base, picture.pict_type = 0, Fraction(1, 1), 0
        packets = [*encoder.encode(picture), *encoder.encode(None)]
        jpeg = b"".join(map(bytes, packets))
        if len(jpeg) <= MAX_IMAGE_BYTES:
            return jpeg
    return None

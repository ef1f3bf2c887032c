"""A test picture and tone that people and programs can read.

Over libavfilter's moving ``testsrc2`` lie a clock, the frame's number, a row of 32 cells that
says the number in black and white, and a square that flashes for the first tenth of each second,
while a tone of 1 kHz sounds. So who decodes it can tell lost and doubled frames from the cells,
and how far sound and picture are apart from tone and flash.
"""

from __future__ import annotations

import math
from array import array
from datetime import datetime, timedelta
from fractions import Fraction

import av.filter
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

CELLS = 32
"""Cells across the picture: white, black, 24 bits of the number (highest first), 4 of its check,
black, white."""
CELLS_TOP = Fraction(10, 12)
CELLS_BOTTOM = Fraction(11, 12)
FLASH_LEFT = Fraction(7, 8)
FLASH_BOTTOM = Fraction(1, 6)
FLASH_S = Fraction(1, 10)
TONE_HZ = 1000
_WHITE, _BLACK, _GREY = 235, 16, 128
_TONE_LEVEL = 0.5

# Five columns by seven rows a glyph, a row as five bits.
_FONT = {
    "0": "0e11131519110e",
    "1": "040c040404040e",
    "2": "0e11010204081f",
    "3": "1f02040201110e",
    "4": "02060a121f0202",
    "5": "1f101e0101110e",
    "6": "0608101e11110e",
    "7": "1f010204080808",
    "8": "0e11110e11110e",
    "9": "0e11110f01020c",
    ":": "000c0c000c0c00",
    ".": "00000000000c0c",
    "#": "0a0a1f0a1f0a0a",
    " ": "00000000000000",
}
_GLYPH_COLUMNS, _GLYPH_ROWS = 6, 7


def check_bits(number: int) -> int:
    """Four bits that guard the 24 bits of a frame number; those of 0 are not 0."""
    check = 0b1010
    for shift in range(0, 24, 4):
        check = (check * 3 + (number >> shift & 15)) & 15
    return check


class Pattern:
    """Pictures (4:2:0) of ``width`` by ``height``, even and at least 64; sound in stereo.

    ``started`` is the time that the clock in the picture shows at frame 0; ``first`` is the
    number of the first frame.
    """

    def __init__(
        self,
        width: int,
        height: int,
        frame_rate: Fraction,
        *,
        sample_rate_hz: int = 48_000,
        started: datetime,
        first: int = 0,
    ) -> None:
        if width < 64 or height < 64 or width % 2 or height % 2:
            raise ValueError(
                f"a test picture's sides are even and at least 64, not {width}x{height}"
            )
        self.width, self.height, self.frame_rate = width, height, frame_rate
        self.sample_rate_hz = sample_rate_hz
        self._started = started
        self._first = self._number = first
        self._sample = 0
        self._phase = round(first / frame_rate * sample_rate_hz)
        self._background = _background(width, height, frame_rate)
        self._tone = _tone(sample_rate_hz)

    def picture(self) -> VideoFrame:
        """The next picture; its ``pts`` counts this pattern's frames from 0."""
        number = self._number
        self._number += 1
        picture = self._background.vpull()
        picture.make_writable()
        picture.pts, picture.time_base = number - self._first, 1 / self.frame_rate
        seconds = number / self.frame_rate
        shown = self._started + timedelta(seconds=float(seconds))
        canvas = _Canvas(picture)
        dot = max(self.height // 60, 1)
        canvas.text(f"{shown:%H:%M:%S}.{shown.microsecond // 100_000}", self.height // 5, dot)
        canvas.text(f"#{number}", self.height // 5 + 10 * dot, dot)
        canvas.cells(cells_of(number))
        canvas.flash(lit=seconds % 1 < FLASH_S)
        return picture

    def sound(self, samples: int) -> AudioFrame:
        """The next ``samples`` samples, at most a second; ``pts`` counts samples from 0."""
        frame = AudioFrame(format="fltp", layout="stereo", samples=samples)
        frame.sample_rate = self.sample_rate_hz
        frame.pts, frame.time_base = self._sample, Fraction(1, self.sample_rate_hz)
        piece = self._piece(self._phase + self._sample, samples)
        self._sample += samples
        for plane in frame.planes:
            # Planes are padded at their end.
            plane.update(piece.ljust(plane.buffer_size, b"\0"))
        return frame

    def _piece(self, begin: int, samples: int) -> bytes:
        piece = bytearray(samples * 4)
        hz = self.sample_rate_hz
        for second in range(begin // hz, (begin + samples) // hz + 1):
            # The tone starts with the first picture of the second, not with the second.
            flash_s = math.ceil(second * self.frame_rate) / self.frame_rate
            at = round(flash_s * hz) - begin
            tone = self._tone[max(-at, 0) * 4 : max(samples - at, 0) * 4]
            piece[max(at, 0) * 4 : max(at, 0) * 4 + len(tone)] = tone
        return bytes(piece)


def cells_of(number: int) -> list[bool]:
    """The row of cells that says ``number`` (its lowest 24 bits); True is white."""
    number &= 0xFFFFFF
    bits = number << 4 | check_bits(number)
    return [True, False, *(bool(bits >> at & 1) for at in range(27, -1, -1)), False, True]


def number_of(cells: list[bool]) -> int | None:
    """The number that a row of cells says; None where they are no such row."""
    if len(cells) != CELLS:
        return None
    bits = sum(1 << at for at, cell in zip(range(27, -1, -1), cells[2:30], strict=True) if cell)
    number = bits >> 4
    return number if cells_of(number) == cells else None


class _Canvas:
    """The planes of a 4:2:0 picture, to draw on."""

    def __init__(self, picture: VideoFrame) -> None:
        self._width, self._height = picture.width, picture.height
        # Each plane with its bytes a row; memoryview() of a plane needs no copy.
        self._planes = [(memoryview(plane), plane.line_size) for plane in picture.planes]

    def text(self, text: str, top: int, dot: int) -> None:
        """Writes white on black, centred, ``dot`` pixels a dot."""
        columns = len(text) * _GLYPH_COLUMNS + 1
        width = columns * dot & ~1
        left = max((self._width - width) // 2 & ~1, 0)
        width = min(width, self._width - left)
        top &= ~1
        luma, stride = self._planes[0]
        for row in range(-1, _GLYPH_ROWS + 1):
            bits = "0" + "".join(_glyph_row(letter, row) for letter in text)
            line = b"".join(_DOTS[bit] * dot for bit in bits)[:width]
            for y in range(top + (row + 1) * dot, min(top + (row + 2) * dot, self._height)):
                luma[y * stride + left : y * stride + left + len(line)] = line
        self._uncolour(left, top, left + width, top + (_GLYPH_ROWS + 2) * dot)

    def cells(self, cells: list[bool]) -> None:
        """Draws the row of cells across the picture."""
        line = b"".join(
            (_DOTS["1"] if cell else _DOTS["0"])
            * ((at + 1) * self._width // CELLS - at * self._width // CELLS)
            for at, cell in enumerate(cells)
        )
        top, bottom = int(self._height * CELLS_TOP) & ~1, int(self._height * CELLS_BOTTOM) & ~1
        luma, stride = self._planes[0]
        for y in range(top, bottom):
            luma[y * stride : y * stride + self._width] = line
        self._uncolour(0, top, self._width, bottom)

    def flash(self, *, lit: bool) -> None:
        """Draws the square that flashes with the tone."""
        left, bottom = int(self._width * FLASH_LEFT) & ~1, int(self._height * FLASH_BOTTOM) & ~1
        line = _DOTS["1" if lit else "0"] * (self._width - left)
        luma, stride = self._planes[0]
        for y in range(bottom):
            luma[y * stride + left : y * stride + self._width] = line
        self._uncolour(left, 0, self._width, bottom)

    def _uncolour(self, left: int, top: int, right: int, bottom: int) -> None:
        line = bytes((_GREY,)) * ((right - left) // 2)
        for plane, stride in self._planes[1:]:
            for y in range(top // 2, min(bottom, self._height) // 2):
                plane[y * stride + left // 2 : y * stride + left // 2 + len(line)] = line


_DOTS = {"1": bytes((_WHITE,)), "0": bytes((_BLACK,))}


def _glyph_row(letter: str, row: int) -> str:
    if not 0 <= row < _GLYPH_ROWS:
        return "0" * _GLYPH_COLUMNS
    return f"{int(_FONT[letter][row * 2 : row * 2 + 2], 16):05b}0"


def _background(width: int, height: int, frame_rate: Fraction) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    rate = f"{frame_rate.numerator}/{frame_rate.denominator}"
    moving = graph.add("testsrc2", f"size={width}x{height}:rate={rate}")
    planar = graph.add("format", "yuv420p")
    sink = graph.add("buffersink")
    graph.link_nodes(moving, planar, sink).configure()
    return graph


def _tone(sample_rate_hz: int) -> bytes:
    turn = 2 * math.pi * TONE_HZ / sample_rate_hz
    samples = range(int(sample_rate_hz * FLASH_S))
    return array("f", (_TONE_LEVEL * math.sin(turn * at) for at in samples)).tobytes()

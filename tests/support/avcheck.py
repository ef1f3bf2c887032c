"""Reads the test picture and tone back (``hausd.media.pattern``) from whatever was decoded.

Shows that no frame was lost or doubled, and how far sound and picture are apart.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from hausd.media import pattern

_BRIGHT = 126
_LOUD = 0.08
# A tone of 100 ms a second: what follows within half a second is the same one.
_ONE_TONE_S = 0.5


def luma_at(picture: VideoFrame, x: float, y: float, reach: int = 1) -> float:
    """Mean luma around a point given in fractions of the picture's sides."""
    plane = picture.planes[0]
    luma, stride = memoryview(plane), plane.line_size
    column, row = int(x * picture.width), int(y * picture.height)
    values = [
        luma[r * stride + c]
        for r in range(max(row - reach, 0), min(row + reach + 1, picture.height))
        for c in range(max(column - reach, 0), min(column + reach + 1, picture.width))
    ]
    return sum(values) / len(values)


def read_frame_number(picture: VideoFrame) -> int | None:
    """The number burned into a picture (8 bit planar YUV, any size); None if none is readable."""
    middle = float(pattern.CELLS_TOP + pattern.CELLS_BOTTOM) / 2
    cells = [
        luma_at(picture, (at + 0.5) / pattern.CELLS, middle) > _BRIGHT
        for at in range(pattern.CELLS)
    ]
    return pattern.number_of(cells)


def is_flash(picture: VideoFrame) -> bool:
    """Whether the flash is lit in this picture."""
    x = (1 + float(pattern.FLASH_LEFT)) / 2
    return luma_at(picture, x, float(pattern.FLASH_BOTTOM) / 2) > _BRIGHT


def flashes_s(pictures: Iterable[VideoFrame]) -> list[float]:
    """Times at which the flash lights up; one that is lit from the start on does not count."""
    onsets, was_lit = [], True
    for picture in pictures:
        lit = is_flash(picture)
        if lit and not was_lit:
            onsets.append(float(picture.time))
        was_lit = lit
    return onsets


def beeps_s(sounds: Iterable[AudioFrame]) -> list[float]:
    """Times at which the tone begins (planar or packed float), to a millisecond; one that sounds
    from the start on does not count."""
    onsets: list[float] = []
    loud_s: float | None = None
    first = True
    for sound in sounds:
        samples = array("f")
        samples.frombytes(bytes(sound.planes[0])[: sound.samples * 4])
        step = max(sound.sample_rate // 1000, 1)
        for at in range(0, len(samples), step):
            piece = samples[at : at + step]
            if max(max(piece), -min(piece)) < _LOUD:
                first = False
                continue
            now_s = float(sound.time) + at / sound.sample_rate
            if (loud_s is None or now_s - loud_s > _ONE_TONE_S) and not first:
                onsets.append(now_s)
            loud_s, first = now_s, False
    return onsets


def offsets_ms(flashes: Sequence[float], beeps: Sequence[float]) -> list[float]:
    """For each flash, how much later (or, negative, earlier) the nearest tone begins."""
    return [min(((beep - flash) * 1000 for beep in beeps), key=abs) for flash in flashes if beeps]


@dataclass(frozen=True)
class Seen:
    """What decoding a whole file or playlist showed."""

    numbers: list[int | None]
    times_s: list[float]
    offsets_ms: list[float]

    @property
    def lost(self) -> list[int]:
        """Numbers between the first and the last that no frame has."""
        known = {number for number in self.numbers if number is not None}
        return sorted(set(range(min(known), max(known) + 1)) - known) if known else []

    @property
    def doubled(self) -> list[int]:
        """Numbers that more than one frame has."""
        known = [number for number in self.numbers if number is not None]
        return sorted({number for number in known if known.count(number) > 1})

    @property
    def unread(self) -> int:
        """Frames whose number could not be read."""
        return self.numbers.count(None)


def watch(path: str | Path) -> Seen:
    """Decodes a file, URL or playlist from end to end."""
    numbers: list[int | None] = []
    times: list[float] = []
    lit: list[tuple[float, bool]] = []
    sounds: list[AudioFrame] = []
    with av.open(str(path)) as container:
        for frame in container.decode():
            if isinstance(frame, VideoFrame):
                numbers.append(read_frame_number(frame))
                times.append(float(frame.time))
                lit.append((float(frame.time), is_flash(frame)))
            elif isinstance(frame, AudioFrame):
                sounds.append(frame)
    onsets = [time for (_, before), (time, now) in pairwise(lit) if now and not before]
    # The tone may be cut off at the end.
    last_s = float(sounds[-1].time) if sounds else 0.0
    flashes = [onset for onset in onsets if onset < last_s]
    return Seen(numbers, times, offsets_ms(flashes, beeps_s(sounds)))

"""Plays a room as its playlists say, and tells which burned-in frames and beeps each segment has.

The pictures are those of ``hausd.media.pattern``; ``support.avcheck`` reads the sound.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from urllib.parse import urljoin

import av
import httpx
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from support.avcheck import beeps_s, offsets_ms
from support.hls_grammar import Segment, read_media, read_multivariant
from support.node import Node

from hausd.media import pattern

from .tls import TLS

_BRIGHT = 9 * 126
_LAST_BEEP_S = 0.2


@dataclass(frozen=True)
class Shown:
    """One decoded picture: its time (seconds since its run began), number and flash."""

    time_s: float
    number: int | None
    lit: bool


@dataclass
class Taken:
    """A rendition as it was downloaded: its segments, their inits, and media by number."""

    name: str
    segments: list[Segment] = field(default_factory=list)
    inits: dict[str, bytes] = field(default_factory=dict)
    media: dict[int, bytes] = field(default_factory=dict)
    ended: bool = False

    @property
    def runs(self) -> list[list[Segment]]:
        """Its segments, those of one run together."""
        found: dict[int, list[Segment]] = {}
        for segment in self.segments:
            if not segment.gap:
                found.setdefault(segment.dseq, []).append(segment)
        return [found[run] for run in sorted(found)]

    def file(self, segments: Iterable[Segment]) -> bytes:
        """A file of these segments, which belong to one run."""
        chosen = list(segments)
        return self.inits[chosen[0].init] + b"".join(self.media[one.msn] for one in chosen)


def take(
    node: Node, room: str, kind: str, headers: Mapping[str, str] | None = None
) -> dict[str, Taken]:
    """Downloads all that ``live`` or ``archive`` has of a room, rendition by rendition."""
    base = f"{node.http}/{kind}/{room}/index.m3u8"
    with httpx.Client(timeout=30, headers=headers, verify=TLS) as http:
        found, _ = read_multivariant(_get(http, base).text)
        uris = [stream.uri for stream in found.streams]
        uris += [media["URI"] for media in found.media if "URI" in media]
        return {uri.split("/")[0]: _take_rendition(http, urljoin(base, uri)) for uri in uris}


def _take_rendition(http: httpx.Client, url: str) -> Taken:
    playlist, _ = read_media(_get(http, url).text)
    taken = Taken(url.split("/")[-2], list(playlist.complete), ended=playlist.ended)
    for segment in taken.segments:
        if segment.gap:
            continue
        if segment.init not in taken.inits:
            taken.inits[segment.init] = _get(http, urljoin(url, segment.init)).content
        taken.media[segment.msn] = _get(http, urljoin(url, segment.uri)).content
    return taken


def _get(http: httpx.Client, url: str) -> httpx.Response:
    answer = http.get(url)
    assert answer.status_code == 200, (url, answer.status_code, answer.text[:300])
    return answer


@dataclass
class Played:
    """A rendition's pictures by media sequence number, each segment decoded by itself, but those
    that ``lean`` on what is before them: they begin without a keyframe."""

    taken: Taken
    shown: dict[int, list[Shown]]
    lean: list[int]

    @classmethod
    def of(cls, taken: Taken) -> Played:
        played = cls(taken, {}, [])
        for run in taken.runs:
            since_key: list[Segment] = []
            for one in run:
                if since_key and not _begins_with_keyframe(taken.file([one])):
                    played.lean.append(one.msn)
                else:
                    since_key = []
                before = sum(len(played.shown[each.msn]) for each in since_key)
                since_key.append(one)
                played.shown[one.msn] = pictures(taken.file(since_key))[before:]
        return played

    @property
    def runs(self) -> list[list[Shown]]:
        """All pictures, those of one run together."""
        return [[one for each in run for one in self.shown[each.msn]] for run in self.taken.runs]

    @property
    def numbers(self) -> list[int | None]:
        """The numbers of all pictures, in order."""
        return [one.number for run in self.runs for one in run]

    @property
    def by_segment(self) -> dict[int, list[int | None]]:
        """The numbers that each segment shows."""
        return {msn: [one.number for one in shown] for msn, shown in self.shown.items()}


def _begins_with_keyframe(file: bytes) -> bool:
    with av.open(io.BytesIO(file)) as container:
        return next(container.demux(video=0)).is_keyframe


def pictures(file: bytes) -> list[Shown]:
    """Every picture of an fMP4 file, in the order in which they are shown."""
    with av.open(io.BytesIO(file)) as container:
        return list(pictures_of(container.decode(video=0)))


def pictures_of(frames: Iterable[VideoFrame]) -> Iterator[Shown]:
    """What decoded frames show."""
    return map(_read, frames)


def sounds(file: bytes) -> tuple[list[float], float]:
    """When the tone begins in an fMP4 file, and when its sound ends (seconds)."""
    with av.open(io.BytesIO(file)) as container:
        heard = [frame for frame in container.decode(audio=0) if isinstance(frame, AudioFrame)]
    last = heard[-1]
    return beeps_s(heard), float(last.time) + last.samples / last.sample_rate


def sync_ms(video: Played, audio: Taken) -> list[float]:
    """How much later than its flash each tone begins, through all runs."""
    found = []
    for shown, sounding in zip(video.runs, audio.runs, strict=True):
        onsets, end_s = sounds(audio.file(sounding))
        flashes = [now.time_s for then, now in pairwise(shown) if now.lit and not then.lit]
        found += offsets_ms([at for at in flashes if at < end_s - _LAST_BEEP_S], onsets)
    return found


def _read(picture: VideoFrame) -> Shown:
    """As ``support.avcheck`` does, at a tenth of its cost: thousands of pictures are read."""
    plane = picture.planes[0]
    luma = memoryview(plane)
    *cells, flash = (
        sum(luma[at] for at in spots) > _BRIGHT
        for spots in _spots(picture.width, picture.height, plane.line_size)
    )
    return Shown(float(picture.time), pattern.number_of(cells), flash)


@cache
def _spots(width: int, height: int, stride: int) -> Sequence[Sequence[int]]:
    """Where the nine pixels in the middle of each cell, and of the flash, are."""
    middle = float(pattern.CELLS_TOP + pattern.CELLS_BOTTOM) / 2
    places = [((cell + 0.5) / pattern.CELLS, middle) for cell in range(pattern.CELLS)]
    places.append(((1 + float(pattern.FLASH_LEFT)) / 2, float(pattern.FLASH_BOTTOM) / 2))
    return [
        [
            (int(y * height) + row) * stride + int(x * width) + column
            for row in (-1, 0, 1)
            for column in (-1, 0, 1)
        ]
        for x, y in places
    ]

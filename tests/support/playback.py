"""Plays a room as its playlists say, and tells which burned-in frames and beeps each segment has.

The pictures are those of ``hausd.media.pattern``; ``support.avcheck`` reads them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from support.avcheck import beeps_s, is_flash, offsets_ms, read_frame_number
from support.hls_grammar import Segment, read_media, read_multivariant
from support.node import Node


@dataclass(frozen=True)
class Shown:
    """One decoded picture: its time (seconds since its run began), number and flash."""

    time_s: float
    number: int | None
    lit: bool


@dataclass
class Taken:
    """A rendition as it was downloaded: playlist, init segments and media by sequence number."""

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


def take(node: Node, room: str, kind: str = "archive") -> dict[str, Taken]:
    """Downloads everything that ``/live/`` or ``/archive/`` has, rendition by rendition."""
    base = f"{node.http}/{kind}/{room}/index.m3u8"
    answer = node.wait_for(base)
    found, _ = read_multivariant(answer.text)
    uris = [stream.uri for stream in found.streams]
    uris += [media["URI"] for media in found.media if "URI" in media]
    return {uri.split("/")[0]: take_rendition(node, urljoin(base, uri)) for uri in uris}


def take_rendition(node: Node, url: str) -> Taken:
    """Downloads one rendition by the URL of its playlist."""
    playlist, _ = read_media(node.wait_for(url).text)
    taken = Taken(url.split("/")[-2], list(playlist.complete), ended=playlist.ended)
    for segment in taken.segments:
        if segment.gap:
            continue
        if segment.init not in taken.inits:
            taken.inits[segment.init] = _bytes(node, urljoin(url, segment.init))
        taken.media[segment.msn] = _bytes(node, urljoin(url, segment.uri))
    return taken


def _bytes(node: Node, url: str) -> bytes:
    answer = node.get(url)
    assert answer.status_code == 200, (url, answer.status_code, answer.text[:300])
    return answer.content


def pictures(file: bytes) -> list[Shown]:
    """Every picture of an fMP4 file, in the order in which they are shown."""
    shown = []
    with av.open(io.BytesIO(file)) as container:
        container.streams.video[0].thread_type = "NONE"
        for frame in container.decode(video=0):
            assert isinstance(frame, VideoFrame)
            shown.append(Shown(float(frame.time), read_frame_number(frame), is_flash(frame)))
    return shown


def beeps(file: bytes) -> tuple[list[float], float]:
    """When the tone begins in an fMP4 file, and when its sound ends (seconds)."""
    with av.open(io.BytesIO(file)) as container:
        sounds = [f for f in container.decode(audio=0) if isinstance(f, AudioFrame)]
    last = sounds[-1]
    return beeps_s(sounds), float(last.time) + last.samples / last.sample_rate


def segment_numbers(taken: Taken) -> dict[int, list[int | None]]:
    """The numbers that each segment shows when it is decoded by itself."""
    return {
        segment.msn: [one.number for one in pictures(taken.file([segment]))]
        for run in taken.runs
        for segment in run
    }


def run_offsets_ms(video: Taken, audio: Taken) -> list[float]:
    """How much later than its flash each tone begins, run by run."""
    found = []
    for pictured, sounding in zip(video.runs, audio.runs, strict=True):
        onsets, end_s = beeps(audio.file(sounding))
        shown = pictures(video.file(pictured))
        flashes = onsets_s(shown)
        found += offsets_ms([at for at in flashes if at < end_s - 0.2], onsets)
    return found


def onsets_s(shown: Sequence[Shown]) -> list[float]:
    """When the flash lights up; one that is lit from the start on does not count."""
    return [
        now.time_s
        for before, now in zip(shown, shown[1:], strict=False)
        if now.lit and not before.lit
    ]

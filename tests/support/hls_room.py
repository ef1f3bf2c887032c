"""A room on air without an encoder: real live tracks and archive over made-up frames.

The bytes are true CMAF, cut as section 4 of the design says, for any frame rate, sample rate and
GOP; what is in the frames is noise. Implements ``http.ports.RoomView`` and ``Catalog``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction

import trio
from support.media import ASC, AVCC

from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.gating import Withheld
from hausd.core.ids import RoomId, SessionId, open_room_id
from hausd.core.live import (
    ArchivePlaylist,
    ArchiveSegment,
    FileRange,
    LivePart,
    Media,
    RoomState,
    Variant,
)
from hausd.core.media import Kind, Rendition
from hausd.core.shapes import RenditionShape, RoomShape
from hausd.rooms.archive import Archive, rank
from hausd.rooms.free import FreeKeys
from hausd.rooms.images import Images
from hausd.rooms.live import LiveTrack, Span, StoredPart
from hausd.rooms.packing import Packer
from hausd.wire.audio import read_aac
from hausd.wire.fmp4 import Sample, fragment
from hausd.wire.fmp4_init import audio_init, video_init
from hausd.wire.nal import read_avcc

ROOM = open_room_id(bytes(32))
EPOCH_MS = 1_750_000_000_000
VIDEO_SCALE = 90_000
AUDIO_FRAME = 1024


@dataclass(frozen=True)
class Script:
    """How the made-up stream is: pictures a second, keyframe distance and part length in s."""

    frame_rate: Fraction = Fraction(30)
    sample_rate_hz: int = 48_000
    gop_s: Fraction = Fraction(2)
    part_s: Fraction = Fraction(2, 5)
    target_s: int = 2
    window_s: float = 30.0
    archive_s: int = 10
    videos: tuple[str, ...] = ("source", "720p")
    audio: bool = True
    frame_bytes: int = 60

    @property
    def part_target_ms(self) -> int:
        slowest = []
        if self.videos:
            slowest.append(1 / self.frame_rate)
        if self.audio:
            slowest.append(Fraction(AUDIO_FRAME, self.sample_rate_hz))
        return math.ceil((self.part_s + max(slowest)) * 1000)


@dataclass
class _Line:
    """One rendition: what of it has been made in this run, in frames."""

    live: LiveTrack
    frame_ticks: Fraction
    frames: int = 0
    parts: int = 0
    packer: Packer = field(default_factory=Packer)
    open_ms: int | None = None
    open_ticks: int = 0

    @property
    def scale(self) -> int:
        return self.live.rendition.timescale

    def start(self, frame: int) -> int:
        return math.floor(frame * self.frame_ticks)


class StudioRoom:
    """The room. ``run_gops`` makes media; nothing happens by itself."""

    def __init__(self, script: Script | None = None, room: RoomId = ROOM) -> None:
        self.script = script or Script()
        self.id = room
        self.title = "a room <of> tests"
        self.state = RoomState.CREATED
        self.images = Images()
        self.recorded = Archive(target_s=self.script.archive_s)
        self.blocks: dict[CID, bytes] = {}
        self.session = SessionId(1, 77)
        self.silent: set[str] = set()
        self._lines: dict[str, _Line] = {}
        self._spans: dict[tuple[str, int], Span] = {}
        self._run = -1
        self._msn = 0
        self._number = 0
        self._gops = 0
        self._now_ms = EPOCH_MS
        self._zero_ms = 0
        self._segment_gops = 0
        self._changed = trio.Event()

    # -- what happens

    sought = False
    """Whether its recording is known of, and to be fetched from elsewhere."""

    def begin_run(self) -> None:
        """The encoder (re)appears: a new init for each rendition."""
        script = self.script
        self.state = RoomState.LIVE
        self._run += 1
        self._gops = self._segment_gops = 0
        self._now_ms += 40  # sound may have gone on for a frame longer than the pictures
        self._zero_ms = self._now_ms
        names = [*script.videos, *(["audio"] if script.audio else [])]
        for name in names:
            rendition, init = self._rendition(name)
            line = self._lines.get(name)
            if line is None:
                live = LiveTrack(
                    rendition,
                    target_s=script.target_s,
                    part_target_ms=script.part_target_ms,
                    window_s=script.window_s,
                )
                line = _Line(live, Fraction(0))
                self._lines[name] = line
            if rendition.kind is Kind.VIDEO:
                line.frame_ticks = VIDEO_SCALE / script.frame_rate
            else:
                line.frame_ticks = Fraction(AUDIO_FRAME)
            line.frames = 0
            cid = CID.of(init)
            self.blocks[cid] = init
            kind = f"{rendition.kind.value}/mp4"
            line.live.start_run(
                rendition, self.session, self._run, Media(cid, kind, len(init), (init,))
            )
        self.touch()

    def run_gops(self, count: int = 1, *, parts: int | None = None) -> None:
        """Makes so many GOPs in all renditions; the last only to its ``parts``-th part."""
        for number in range(count):
            self._make_gop(parts if number == count - 1 else None)

    def end_run(self) -> None:
        """The encoder is gone; it may return."""
        for line in self._lines.values():
            packed = line.packer.end_gop()
            if packed is not None:
                line.live.name_segment(self._msn, packed.cid)
                self.blocks.update(dict(packed.nodes))
            self._close_archive(line)
            line.live.end_run()
            self._now_ms = max(
                self._now_ms, self._zero_ms + line.start(line.frames) * 1000 // line.scale
            )
        if any(line.live.last_msn == self._msn for line in self._lines.values()):
            begin_ms = self._zero_ms + round(self._gops * self.script.gop_s * 1000)
            cut_short = Span(self._msn, self.session, self._run, begin_ms)
            for name in self.silent & set(self._lines):
                self._lines[name].live.add_gap(cut_short, 0.1)
            self._msn += 1
        self.state = RoomState.WAITING
        self.touch()

    def end(self) -> None:
        """The room ends."""
        self.end_run()
        for line in self._lines.values():
            line.live.end()
        self.recorded.ended = True
        self.state = RoomState.ENDED
        self.touch()

    def touch(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    # -- how

    def _make_gop(self, only_parts: int | None) -> None:
        script = self.script
        begin_s = self._gops * script.gop_s
        end_s = begin_s + script.gop_s
        span = Span(self._msn, self.session, self._run, self._zero_ms + round(begin_s * 1000))
        steps = []
        for name, line in self._lines.items():
            if name in self.silent:
                if only_parts is None:
                    line.frames = max(line.frames, math.ceil(end_s * line.scale / line.frame_ticks))
                continue
            made = self._cut(line, end_s)
            steps.append([(line, frames, last) for frames, last in made])
        for step in itertools.zip_longest(*steps):
            for item in step:
                if item is None:
                    continue
                line, frames, last = item
                if only_parts is not None and (
                    last  # it would end the GOP
                    or (
                        line.live.playlist().segments
                        and line.live.playlist().edge() >= (self._msn, only_parts)
                    )
                ):
                    continue
                self._add(line, self._own_span(line, frames), frames, last)
        if only_parts is None:
            self._gops += 1
            self._msn += 1
            self._segment_gops += 1
            self._now_ms = self._zero_ms + round(end_s * 1000)
            for name, line in self._lines.items():
                if name in self.silent:
                    line.live.add_gap(span, float(script.gop_s))
                    continue
                packed = line.packer.end_gop()
                if packed is not None:
                    line.live.name_segment(span.msn, packed.cid)
                    self.blocks.update(dict(packed.nodes))
            if (self._segment_gops + 1) * script.gop_s > script.archive_s:
                for line in self._lines.values():
                    self._close_archive(line)
                self._segment_gops = 0
                self._number += 1

    def _own_span(self, line: _Line, frames: range) -> Span:
        """The GOP's span, at the time at which this rendition's part of it begins."""
        key = line.live.rendition.name, self._msn
        if key not in self._spans:
            start_ms = round(Fraction(line.start(frames.start), line.scale) * 1000)
            self._spans[key] = Span(self._msn, self.session, self._run, self._zero_ms + start_ms)
        return self._spans[key]

    def _cut(self, line: _Line, end_s: Fraction) -> list[tuple[range, bool]]:
        """Parts, as ranges of frames, up to the GOP's end."""
        end_ticks = end_s * line.scale
        target = Fraction(self.script.part_target_ms, 1000) * line.scale
        parts: list[range] = []
        at = first = line.frames
        while at * line.frame_ticks < end_ticks:
            if line.start(at + 1) - line.start(first) > target:
                parts.append(range(first, at))
                first = at
            at += 1
        if at > first:
            parts.append(range(first, at))
        return [(frames, place == len(parts) - 1) for place, frames in enumerate(parts)]

    def _add(self, line: _Line, span: Span, frames: range, last: bool) -> None:
        if frames.start < line.frames:
            return
        video = line.live.rendition.kind is Kind.VIDEO
        key = line.live.playlist().edge()[1] == 0 or not video
        line.parts += 1
        samples = []
        for frame in frames:
            start = line.start(frame)
            data = frame.to_bytes(4) * (self.script.frame_bytes // 4)
            sync = not video or (key and frame == frames.start)
            samples.append(Sample(start, start, line.start(frame + 1) - start, sync, data))
        data = fragment(line.parts, samples)
        duration = line.start(frames.stop) - line.start(frames.start)
        line.frames = frames.stop
        cut, cid = line.packer.add(data)
        self.blocks.update({leaf: bytes(view) for leaf, view in cut})
        if line.open_ms is None:
            line.open_ms = span.program_time_ms
        line.open_ticks += duration
        independent = key if video else True
        line.live.add_part(
            span,
            LivePart(duration, independent, len(data)),
            StoredPart(cid, len(data), data),
            ends_segment=last,
        )

    def _close_archive(self, line: _Line) -> None:
        packed = line.packer.end_segment()
        if packed is None or line.open_ms is None:
            return
        self.blocks.update(dict(packed.nodes))
        init = line.live.init(self.session.counter, self._run)
        assert init is not None
        self.recorded.ended = False
        self.recorded.add(
            line.live.rendition,
            ArchiveSegment(
                number=self._number,
                session=self.session,
                run=self._run,
                program_time_ms=line.open_ms,
                duration_ms=round(line.open_ticks * 1000 / line.scale),
                cid=packed.cid,
                size=packed.size,
                init=init.cid,
            ),
        )
        line.open_ms, line.open_ticks = None, 0

    def _rendition(self, name: str) -> tuple[Rendition, bytes]:
        script = self.script
        if name == "audio":
            rate = script.sample_rate_hz
            sound = read_aac(ASC[rate])
            init = audio_init(sound)
            made = Rendition(
                "audio", Kind.AUDIO, sound.codecs, rate, 128_000, sample_rate_hz=rate, channels=2
            )
            return made, init
        picture = read_avcc(AVCC)
        init = video_init(picture, AVCC, VIDEO_SCALE)
        made = Rendition(
            name, Kind.VIDEO, picture.codecs, VIDEO_SCALE, 1_000_000, picture.width,
            picture.height, script.frame_rate,
        )  # fmt: skip
        return made, init

    # -- http.ports.RoomView

    gated = False
    refused: Withheld | None = None

    free = FreeKeys()

    def free_now(self) -> frozenset[str]:
        return frozenset()

    def free_recorded(self) -> frozenset[str]:
        return frozenset()

    async def archive_withheld(self) -> Withheld | None:
        return self.refused

    def withheld(self) -> Withheld | None:
        return self.refused

    def shape(self) -> RoomShape:
        return RoomShape(
            id=self.id,
            title=self.title,
            state=self.state,
            created=datetime.fromtimestamp(EPOCH_MS / 1000, UTC),
            watch_url=f"/?room={self.id}",
            renditions=[
                RenditionShape(name=name, kind=line.live.rendition.kind, codecs="")
                for name, line in self._lines.items()
            ],
        )

    def variants(self) -> Sequence[Variant]:
        made = [
            line.live.variant() for line in self._lines.values() if line.live.last_msn is not None
        ]
        return sorted(made, key=rank)

    def live(self, rendition: str) -> LiveTrack | None:
        line = self._lines.get(rendition)
        return line.live if line else None

    def archive_opened(self) -> bool:
        return self.sought

    recording: CID | None = None

    def archive_variants(self) -> Sequence[Variant]:
        return self.recorded.variants()

    def archive(self, rendition: str) -> ArchivePlaylist | None:
        return self.recorded.playlist(rendition)

    def archive_media(self, rendition: str, cid: CID) -> Media | None:
        if self.recorded.holds(rendition, cid) is None:
            return None
        kind = "audio/mp4" if rendition == "audio" else "video/mp4"
        data = self.content(cid)
        return Media(cid, kind, len(data), (data,))

    def poster(self) -> Media | None:
        return self.images.poster

    def storyboard(self) -> str | None:
        return self.images.storyboard()

    def sprite(self, name: str) -> Media | None:
        found = self.images.sprite(name)
        if found is None:
            return None
        data = self.blocks[found.cid]
        return Media(found.cid, "image/jpeg", len(data), (data,))

    async def changed(self) -> None:
        await self._changed.wait()

    def content(self, cid: CID) -> bytes:
        """All bytes of a file in ``blocks``."""
        node = unixfs.read_node(cid, self.blocks[cid])
        assert isinstance(node, unixfs.FileNode)
        return node.data + b"".join(self.content(link.cid) for link in node.links)


class Rooms:
    """A catalog of such rooms."""

    def __init__(self, *rooms: StudioRoom) -> None:
        self._rooms = {room.id: room for room in rooms}

    def room(self, room: RoomId) -> StudioRoom | None:
        return self._rooms.get(room)

    def rooms(self) -> Sequence[StudioRoom]:
        return list(self._rooms.values())


class MemoryBlocks:
    """A block store in memory. ``places``: files that lie on disk in one piece."""

    def __init__(self, blocks: dict[CID, bytes] | None = None) -> None:
        self.blocks = {} if blocks is None else blocks
        self.places: dict[CID, FileRange] = {}

    def has(self, cid: CID) -> bool:
        return cid in self.blocks

    def locate(self, cid: CID) -> FileRange | None:
        return self.places.get(cid)

    async def block(self, cid: CID) -> bytes | None:
        await trio.lowlevel.checkpoint()
        found = self.blocks.get(cid)
        return found if found is not None and cid.matches(found) else None

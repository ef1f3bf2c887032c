"""Snapshots of a room's two views: the live edge, and the archive from the start.

A snapshot is immutable and complete: whoever holds one can render a playlist from it without
asking anyone. ``rooms`` makes them, ``http`` serves them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from hausd.core.cid import CID
from hausd.core.gating import SegmentSeal, Withheld
from hausd.core.ids import SessionId
from hausd.core.media import Rendition


class RoomState(StrEnum):
    """Where a room is in its life."""

    CREATED = "created"
    """Nobody has published yet."""
    LIVE = "live"
    WAITING = "waiting"
    """The encoder is gone; it may return within ``ingest.reconnect_s``."""
    ENDED = "ended"
    """Nobody publishes; the recording is whole. An open room may go live again."""
    CLOSED = "closed"
    """Ended for good: no key publishes into it any more."""


@dataclass(frozen=True, slots=True)
class FileRange:
    """Bytes of a file in the block store."""

    path: str
    offset: int
    length: int


class FlowBroken(OSError):
    """Bytes that were promised are not to be had after all; ``args[0]`` says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """``length`` bytes that are made while they are sent.

    ``pieces(start, stop)`` gives those from ``start`` up to ``stop``. A piece holds until the next
    is asked for. Raises FlowBroken.
    """

    length: int
    pieces: Callable[[int, int], AsyncGenerator[memoryview]]

    async def whole(self) -> tuple[bytes, ...]:
        """All of it, to be kept. Raises FlowBroken."""
        async with aclosing(self.pieces(0, self.length)) as pieces:
            return tuple([bytes(piece) async for piece in pieces])


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """Bytes of a gated room that have to be opened, which may take I/O and a key from elsewhere.

    ``open`` gives the clear bytes, in pieces, or why they are not to be had.
    """

    open: Callable[[], Awaitable[tuple[bytes, ...] | Flow | Withheld]]


def _never() -> bool:
    return False


Body = tuple[bytes, ...] | FileRange | Flow | Sealed
"""Where media bytes are: in memory (to be sent one after the other), in a file, still to be made,
or sealed."""


@dataclass(frozen=True, slots=True)
class Media:
    """Media bytes that can be served: what they are, under which CID, and where they lie.

    ``size`` is that of the body; of one that is sealed it is what is stored. The CID is always
    that of what is stored. ``free``: whether it takes no ticket, though the room is gated.
    """

    cid: CID
    content_type: str
    size: int
    body: Body
    free: Callable[[], bool] = field(default=_never, compare=False, repr=False)


class LivePart(msgspec.Struct, frozen=True):
    """A part as the live playlist lists it; ``duration`` in the rendition's ticks.

    A ``gap`` is not to be had here: it never came.
    """

    duration: int
    independent: bool
    size: int
    gap: bool = False


@dataclass(frozen=True, slots=True)
class LiveSegment:
    """A GOP as the live playlist lists it: a segment with a media sequence number.

    ``run`` counts discontinuities since the room's first session of this playlist. Only the last
    segment of a playlist may be incomplete. A gap has a duration and is not to be had; it has parts
    only where some of them never came.
    """

    msn: int
    session: SessionId
    run: int
    program_time_ms: int
    duration: int
    size: int
    parts: tuple[LivePart, ...]
    complete: bool
    gap: bool = False


@dataclass(frozen=True, slots=True)
class LivePlaylist:
    """The live edge of one rendition.

    ``target_s`` and ``part_target_ms`` never change within a playlist. ``discontinuity_sequence``
    is that of the first segment. ``between_runs``: the last run is over and the next one, if any,
    will begin with a discontinuity (which players must be told at once). ``ended``: no more will
    come. ``bandwidth`` is measured, in bits a second. ``version`` grows with every change.
    """

    rendition: Rendition
    target_s: int
    part_target_ms: int
    discontinuity_sequence: int
    segments: tuple[LiveSegment, ...]
    between_runs: bool
    ended: bool
    version: int

    def edge(self) -> tuple[int, int]:
        """Media sequence number and part index of what comes next."""
        if not self.segments:
            return 0, 0
        last = self.segments[-1]
        return (last.msn + 1, 0) if last.complete else (last.msn, len(last.parts))

    def hint(self) -> tuple[int, int]:
        """What most likely comes next, to be asked for ahead.

        Only a segment's last part may be shorter than 85 % of the part target (RFC 8216bis,
        section 4.4.4.9), so after such a part the next segment begins.
        """
        if self.segments and not self.segments[-1].complete and self.segments[-1].parts:
            last = self.segments[-1]
            short = 0.85 * self.part_target_ms * self.rendition.timescale
            if last.parts[-1].duration * 1000 < short:
                return last.msn + 1, 0
        return self.edge()


@dataclass(frozen=True, slots=True)
class ArchiveSegment:
    """A finished segment of one rendition as manifest and archive playlist list it.

    ``seal``: in a gated room, how it and its init are sealed; CIDs and sizes are of ciphertext.
    """

    number: int
    session: SessionId
    run: int
    program_time_ms: int
    duration_ms: int
    cid: CID
    size: int
    init: CID
    seal: SegmentSeal | None = None


@dataclass(frozen=True, slots=True)
class ArchiveGap:
    """A span that the room has and this rendition has not."""

    run: int
    program_time_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ArchivePlaylist:
    """A rendition from the room's first segment on. ``entries`` only ever grow while not ended."""

    rendition: Rendition
    target_s: int
    entries: tuple[ArchiveSegment | ArchiveGap, ...]
    ended: bool
    version: int

    @property
    def segments(self) -> tuple[ArchiveSegment, ...]:
        """The entries that are no gaps."""
        return tuple(entry for entry in self.entries if isinstance(entry, ArchiveSegment))


@dataclass(frozen=True, slots=True)
class Variant:
    """A rendition as the multivariant playlist offers it, with what was measured of it.

    ``earlier``: what else the rendition was, in runs whose segments are still in its playlist.
    """

    rendition: Rendition
    peak_bps: int
    average_bps: int
    earlier: tuple[Rendition, ...] = ()

    @property
    def forms(self) -> tuple[Rendition, ...]:
        """Everything that the rendition's playlist holds, the newest first."""
        return (self.rendition, *self.earlier)

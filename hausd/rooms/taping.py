"""One rendition's recording in a followed room: the archive segment that is open, and its tree.

A segment is recorded here only where all of it came, from its first part on; any other is left to
who fetches it whole (``rooms.archivist``), with what is on disk of it already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from hausd.core.cid import CID
from hausd.core.gating import SegmentSeal
from hausd.core.live import ArchiveSegment
from hausd.core.manifest import SegmentRecord
from hausd.core.media import Rendition
from hausd.core.storage import MAX_SEGMENT_BYTES, SegmentKey
from hausd.rooms.live import StoredPart
from hausd.rooms.packing import MAX_SEGMENT_LEAVES, Leaf, Packer
from hausd.rooms.recorder import Recorder

log = structlog.get_logger("hausd.rooms")


@dataclass(slots=True)
class _OpenSegment:
    """``broken``: not recorded, for it did not begin here or something of it is missing."""

    key: SegmentKey
    run: int
    program_time_ms: int
    init: CID
    broken: bool
    seal: SegmentSeal | None
    ticks: int = 0
    leaves: int = 0
    size: int = 0


@dataclass(slots=True)
class Tape:
    """Parts come in order. ``unsure``: the next part may be of a segment begun without us."""

    recorder: Recorder
    may_record: Callable[[SegmentKey], bool]
    unsure: bool = False
    _packer: Packer = field(default_factory=Packer)
    _open: _OpenSegment | None = None
    _number: int = -1

    @property
    def number(self) -> int | None:
        """The newest archive segment that a part was of."""
        return self._number if self._number >= 0 else None

    def writes(self, number: int) -> bool:
        """Whether this segment is open and whole so far."""
        opened = self._open
        return opened is not None and opened.key.number == number and not opened.broken

    def skip(self, number: int) -> None:
        """A part of this segment came and was not wanted."""
        self._number, self.unsure = max(number, self._number), False

    def open(
        self,
        key: SegmentKey,
        run: int,
        program_time_ms: int,
        init: CID,
        part: int,
        seal: SegmentSeal | None = None,
    ) -> None:
        """Part number ``part`` of a GOP is next; it belongs to this segment."""
        opened = self._open
        if opened is not None and opened.key == key:
            if self.unsure:
                self.spoil()
                self.unsure = False
            return
        begun_before = self.unsure or key.number <= self._number or part > 0
        self._number, self.unsure = max(key.number, self._number), False
        broken = begun_before or not self.may_record(key)
        self._open = _OpenSegment(key, run, program_time_ms, init, broken, seal)

    def holds_other(self, key: SegmentKey) -> bool:
        """Whether another segment is open, which has to be closed first."""
        return self._open is not None and self._open.key != key

    def place(self, cut: tuple[Leaf, ...]) -> CID:
        """Takes a part into the tree; gives its CID."""
        if self._open is not None:
            self._open.leaves += len(cut)
            if self._open.leaves > MAX_SEGMENT_LEAVES:
                self.spoil()
        return self._packer.place(cut)

    def append(self, cut: tuple[Leaf, ...], part: StoredPart, duration: int) -> None:
        """Has a part written, unless it makes the segment larger than any honest one is."""
        opened = self._open
        if opened is None or opened.broken:
            return
        opened.size += part.size
        if opened.size > MAX_SEGMENT_BYTES:
            log.warning("segment-too-large", room=opened.key.room, number=opened.key.number)
            opened.broken = True
            return
        opened.ticks += duration
        self.recorder.append(opened.key, cut, part)

    def spoil(self) -> None:
        """Something of the open segment is missing."""
        if self._open is not None:
            self._open.broken = True

    def lost(self) -> None:
        """Nobody knows what is missing: perhaps the beginning of the next segment too."""
        self.unsure = True
        self.spoil()

    def end_gop(self) -> CID | None:
        """The GOP is over; gives its CID, None where it is empty."""
        packed = self._packer.end_gop()
        if self._open is None or self._open.broken:
            self._packer = Packer()  # a segment may be said to last for ever
        return packed.cid if packed is not None else None

    def close(self, rendition: Rendition) -> None:
        """The segment is over, if one is open."""
        opened, self._open = self._open, None
        packed = self._packer.end_segment()
        if opened is None or packed is None or opened.broken:
            return
        segment = ArchiveSegment(
            number=opened.key.number,
            session=opened.key.session,
            run=opened.run,
            program_time_ms=opened.program_time_ms,
            duration_ms=round(opened.ticks * 1000 / rendition.timescale),
            cid=packed.cid,
            size=packed.size,
            init=opened.init,
            seal=opened.seal,
        )
        self.recorder.close(packed.nodes, SegmentRecord.of(opened.key, segment, rendition))

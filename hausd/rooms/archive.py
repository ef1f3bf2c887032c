"""A room from its first segment on, as far as it was recorded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.live import ArchivePlaylist, ArchiveSegment, Variant
from hausd.core.media import Kind, Rendition
from hausd.core.storage import SegmentKey

_CONTINUOUS_MS = 500
"""Segments of one run further apart than this have a hole between them (a recording that had
stopped): players are told by a discontinuity."""


@dataclass(slots=True)
class _Track:
    rendition: Rendition
    segments: list[ArchiveSegment] = field(default_factory=list)
    by_cid: dict[CID, ArchiveSegment] = field(default_factory=dict)
    inits: set[CID] = field(default_factory=set)
    last_run: int = -1
    """Run of the last segment as its origin counted it; ``segments`` hold the stretch."""
    holes: int = 0
    """Holes within the last run."""
    peak_bps: int = 0
    size: int = 0
    duration_ms: int = 0
    snapshot: ArchivePlaylist | None = None


class Archive:
    """What was recorded, by rendition. Only the room's task changes it.

    The ``run`` of the segments given out counts stretches without a discontinuity.
    """

    def __init__(self, *, target_s: int) -> None:
        self._target_s = target_s
        self._tracks: dict[str, _Track] = {}
        self._stretches: dict[tuple[SessionId, int, int], int] = {}
        self._ended = True
        self._version = 1

    @property
    def ended(self) -> bool:
        return self._ended

    @ended.setter
    def ended(self, value: bool) -> None:
        self._ended = value
        self._version += 1
        for track in self._tracks.values():
            track.snapshot = None

    def add(self, rendition: Rendition, segment: ArchiveSegment) -> None:
        """Appends a recorded segment; segments come in the order of their numbers."""
        track = self._tracks.get(rendition.name)
        if track is None:
            track = self._tracks[rendition.name] = _Track(rendition)
        if track.segments:
            last = track.segments[-1]
            hole_ms = segment.program_time_ms - last.program_time_ms - last.duration_ms
            if (last.session, track.last_run) != (segment.session, segment.run):
                track.holes = 0
            elif hole_ms > _CONTINUOUS_MS or last.init != segment.init:
                track.holes += 1
        # the same stretch has the same number in every rendition
        stretch = (segment.session, segment.run, track.holes)
        number = self._stretches.setdefault(stretch, len(self._stretches))
        # an origin elsewhere may cut longer segments than this node would
        self._target_s = max(self._target_s, round(segment.duration_ms / 1000))
        track.rendition = rendition
        track.last_run = segment.run
        placed = replace(segment, run=number)
        track.segments.append(placed)
        track.by_cid[segment.cid] = placed
        track.inits.add(segment.init)
        track.size += segment.size
        track.duration_ms += segment.duration_ms
        if segment.duration_ms:
            track.peak_bps = max(track.peak_bps, segment.size * 8000 // segment.duration_ms)
        track.snapshot = None
        self._version += 1

    def drop(self, key: SegmentKey) -> None:
        """Forgets a segment that was evicted."""
        track = self._tracks.get(key.rendition)
        if track is None:
            return
        for index, segment in enumerate(track.segments):
            if (segment.session, segment.number) == (key.session, key.number):
                del track.segments[index]
                track.by_cid.pop(segment.cid, None)
                track.size -= segment.size
                track.duration_ms -= segment.duration_ms
                track.snapshot = None
                self._version += 1
                return

    def playlist(self, rendition: str) -> ArchivePlaylist | None:
        """A rendition's snapshot; the same object until something is added."""
        track = self._tracks.get(rendition)
        if track is None:
            return None
        if track.snapshot is None:
            track.snapshot = ArchivePlaylist(
                rendition=track.rendition,
                target_s=self._target_s,
                segments=tuple(track.segments),
                ended=self._ended,
                version=self._version,
            )
        return track.snapshot

    def variants(self) -> list[Variant]:
        """Videos from best to least, then audio."""
        made = [
            Variant(
                track.rendition,
                track.peak_bps,
                track.size * 8000 // track.duration_ms if track.duration_ms else track.peak_bps,
            )
            for track in self._tracks.values()
        ]
        return sorted(made, key=rank)

    def holds(self, rendition: str, cid: CID) -> int | None:
        """The size of a segment with this CID, 0 for an init, None where neither is."""
        track = self._tracks.get(rendition)
        if track is None:
            return None
        found = track.by_cid.get(cid)
        if found is not None:
            return found.size
        return 0 if cid in track.inits else None

    @property
    def segments(self) -> int:
        return max((len(track.segments) for track in self._tracks.values()), default=0)

    @property
    def duration_s(self) -> float:
        return max((track.duration_ms for track in self._tracks.values()), default=0) / 1000

    @property
    def size(self) -> int:
        return sum(track.size for track in self._tracks.values())


def rank(variant: Variant) -> tuple[bool, int, int]:
    """Sorts video before audio, then the larger picture, then the higher bit rate."""
    rendition = variant.rendition
    return (
        rendition.kind is Kind.AUDIO,
        -rendition.width * rendition.height,
        -variant.average_bps,
    )

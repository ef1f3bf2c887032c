"""A room from its first segment on, as far as it was recorded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hausd.core.cid import CID
from hausd.core.live import ArchiveGap, ArchivePlaylist, ArchiveSegment, Variant
from hausd.core.media import Kind, Rendition
from hausd.core.storage import SegmentKey
from hausd.policy.ladder import SOURCE
from hausd.policy.stretches import Stretches

MAX_GAPS = 4096
"""Of a rendition, beside two for each segment that the room has: a hole of 11 h in all others'
segments of 10 s. An origin may sign any times; what would be more is not listed."""


@dataclass(slots=True)
class _Init:
    """What the rendition was under an init segment, and how many segments have it."""

    rendition: Rendition
    of: ArchiveSegment
    """One of them."""
    segments: int = 0


@dataclass(slots=True)
class _Track:
    rendition: Rendition
    entries: list[ArchiveSegment | ArchiveGap] = field(default_factory=list)
    last: ArchiveSegment | None = None
    gaps: int = 0
    count: int = 0
    by_cid: dict[CID, ArchiveSegment] = field(default_factory=dict)
    inits: dict[CID, _Init] = field(default_factory=dict)
    peak_bps: int = 0
    size: int = 0
    duration_ms: int = 0
    snapshot: ArchivePlaylist | None = None

    @property
    def earlier(self) -> tuple[Rendition, ...]:
        """What else the rendition was in what is recorded of it."""
        forms = dict.fromkeys(init.rendition for init in reversed(self.inits.values()))
        forms.pop(self.rendition, None)
        return tuple(forms)


class Archive:
    """What was recorded, by rendition. Only the room's task changes it.

    The ``run`` of the segments given out counts stretches without a discontinuity. What a video
    has not of them are gaps, so that players take another quality. Sound has no other one, and
    hls.js (1.7) asks for a gap in it for ever: there, what is missing is just not listed.
    """

    def __init__(self, *, target_s: int) -> None:
        self._target_s = target_s
        self._tracks: dict[str, _Track] = {}
        self._stretches = Stretches(target_s * 1000)
        self._ended = True
        self._version = 1
        self._late: list[tuple[_Track, ArchiveSegment]] = []
        self.sealed = False
        """Whether anything that was ever listed is sealed."""
        self._changed = False
        """Whether something was evicted or inserted, since the stretches were told."""

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
        self._tell_again_if_changed()
        track = self._tracks.get(rendition.name)
        if track is None:
            track = self._tracks[rendition.name] = _Track(rendition)
        track.rendition = rendition
        self._append(track, segment)
        self._count(track, rendition, segment)

    def insert(self, rendition: Rendition, segment: ArchiveSegment) -> None:
        """Puts a segment into its place before others, which no playlist may show to players that
        hold it to grow only at its end."""
        track = self._tracks.get(rendition.name)
        if track is None or track.last is None or track.last.number < segment.number:
            return self.add(rendition, segment)
        self._late.append((track, segment))
        track.by_cid[segment.cid] = segment
        self._changed = True
        self._count(track, rendition, segment)
        for each in self._tracks.values():
            each.snapshot = None
        return None

    def _count(self, track: _Track, rendition: Rendition, segment: ArchiveSegment) -> None:
        # an origin elsewhere may cut longer segments than this node would
        self._target_s = max(self._target_s, target_s(segment.duration_ms))
        track.count += 1
        self.sealed |= segment.seal is not None
        init = track.inits.setdefault(segment.init, _Init(rendition, segment))
        init.segments += 1
        track.size += segment.size
        track.duration_ms += segment.duration_ms
        if segment.duration_ms:
            track.peak_bps = max(track.peak_bps, segment.size * 8000 // segment.duration_ms)
        track.snapshot = None
        self._version += 1

    def drop(self, key: SegmentKey) -> None:
        """Forgets a segment that was evicted. Many are at a time, so what is left is told again
        when it is asked for."""
        if self._late:  # in no place yet
            self._tell_again_if_changed()
        track = self._tracks.get(key.rendition)
        if track is None:
            return
        for index, segment in enumerate(track.entries):
            if isinstance(segment, ArchiveGap):
                continue
            if (segment.session, segment.number) == (key.session, key.number):
                del track.entries[index]
                self._changed = True
                track.count -= 1
                track.by_cid.pop(segment.cid, None)
                init = track.inits[segment.init]
                init.segments -= 1
                if not init.segments:
                    del track.inits[segment.init]
                track.size -= segment.size
                track.duration_ms -= segment.duration_ms
                for each in self._tracks.values():
                    each.snapshot = None
                self._version += 1
                return

    def playlist(self, rendition: str) -> ArchivePlaylist | None:
        """A rendition's snapshot; the same object until something is added."""
        self._tell_again_if_changed()
        track = self._tracks.get(rendition)
        if track is None:
            return None
        if track.snapshot is None:
            # What was missing when it ended players learn then: before, it may still come.
            finished = self._ended and track.count and track.rendition.kind is Kind.VIDEO
            after = self._gaps(track) if finished else []
            track.snapshot = ArchivePlaylist(
                rendition=track.rendition,
                target_s=self._target_s,
                entries=(*track.entries, *after),
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
                track.earlier,
            )
            for track in self._tracks.values()
            if track.count
        ]
        return sorted(made, key=rank)

    def find(self, rendition: str, cid: CID) -> ArchiveSegment | None:
        """The segment with this CID, or one whose init it is."""
        track = self._tracks.get(rendition)
        if track is None:
            return None
        init = track.inits.get(cid)
        return track.by_cid.get(cid) or (init.of if init is not None else None)

    def holds(self, rendition: str, cid: CID) -> int | None:
        """The size of a segment with this CID, 0 for an init, None where neither is."""
        track = self._tracks.get(rendition)
        if track is None:
            return None
        found = track.by_cid.get(cid)
        if found is not None:
            return found.size
        return 0 if cid in track.inits else None

    def _append(self, track: _Track, segment: ArchiveSegment) -> None:
        placed = replace(segment, run=self._stretches.place(segment))
        if track.rendition.kind is Kind.VIDEO:
            gaps = self._gaps(track, placed)
            track.gaps += len(gaps)
            track.entries += gaps
        track.entries.append(placed)
        track.last = placed
        track.by_cid[segment.cid] = placed

    def _gaps(self, track: _Track, until: ArchiveSegment | None = None) -> list[ArchiveGap]:
        recorded = sum(each.count for each in self._tracks.values())
        return self._stretches.gaps(MAX_GAPS + 2 * recorded - track.gaps, track.last, until)

    def _tell_again_if_changed(self) -> None:
        """Stretches and gaps are of what is there."""
        if not self._changed:
            return
        self._changed = False
        told, self._stretches = self._stretches, Stretches(self._target_s * 1000)
        kept: list[tuple[int, int, _Track, ArchiveSegment]] = []
        for place, track in enumerate(self._tracks.values()):
            real = (entry for entry in track.entries if isinstance(entry, ArchiveSegment))
            came = [one for of, one in self._late if of is track]
            kept += [(one.number, place, track, one) for one in came]
            kept += [(one.number, place, track, replace(one, run=told.run_of(one))) for one in real]
            track.entries, track.last, track.gaps = [], None, 0
        self._late.clear()
        for _, _, track, one in sorted(kept, key=lambda each: each[:2]):
            self._append(track, one)

    @property
    def segments(self) -> int:
        return max((track.count for track in self._tracks.values()), default=0)

    @property
    def duration_s(self) -> float:
        return max((track.duration_ms for track in self._tracks.values()), default=0) / 1000

    @property
    def size(self) -> int:
        return sum(track.size for track in self._tracks.values())


def target_s(longest_ms: int) -> int:
    """The target duration of segments of which none is longer: the nearest second, at least 1
    (RFC 8216bis, section 4.4.3.1)."""
    return max(1, (longest_ms + 500) // 1000)


def rank(variant: Variant) -> tuple[bool, int, int, bool, str]:
    """Sorts video before audio, then the larger picture, then the higher bit rate.

    Of two that are alike in all that, the source, then by name: the same at every node, in
    whatever order it heard of them.
    """
    rendition = variant.rendition
    return (
        rendition.kind is Kind.AUDIO,
        -rendition.width * rendition.height,
        -variant.average_bps,
        rendition.name != SOURCE,
        rendition.name,
    )

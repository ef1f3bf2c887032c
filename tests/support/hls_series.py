"""The rules of RFC 8216bis between playlists: reloads of one, and renditions of one room.

Section numbers are those of draft-pantos-hls-rfc8216bis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from support.hls_grammar import Finding, MediaPlaylist, Segment

_ALIGN_SLACK_S = Fraction(1, 10)


def check_alignment(playlists: Sequence[MediaPlaylist]) -> list[Finding]:
    """Live playlists of one room: a media sequence number means one span of time in all."""
    findings = []
    reference: dict[int, Segment] = {}
    for playlist in playlists:
        for segment in playlist.segments:
            other = reference.setdefault(segment.msn, segment)
            if other is segment:
                continue
            if other.dseq != segment.dseq:
                findings.append(
                    Finding(
                        "aligned-discontinuity",
                        f"segment {segment.msn} is in run {segment.dseq} and {other.dseq}",
                    )
                )
            if other.date and segment.date and not (segment.gap or other.gap):
                apart = abs(Fraction((other.date - segment.date).total_seconds()))
                if apart > _ALIGN_SLACK_S:
                    findings.append(
                        Finding("aligned-date", f"segment {segment.msn}: {float(apart):.3f} s")
                    )
    return findings


class Series:
    """Reloads of one playlist over time (6.2.1): what may change, and what may not."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.last: MediaPlaylist | None = None
        self._segments: dict[int, Segment] = {}
        self._uris: dict[str, tuple[object, ...]] = {}
        self.hints_broken = 0

    def feed(self, playlist: MediaPlaylist) -> list[Finding]:
        """The next reload (a delta update merged); returns what is new of ``findings``."""
        before = len(self.findings)
        if self.last is not None:
            self._compare(self.last, playlist)
        for segment in playlist.segments:
            self._remember(segment)
        self.last = playlist
        return self.findings[before:]

    def _fault(self, rule: str, text: str) -> None:
        self.findings.append(Finding(rule, text))

    def _compare(self, old: MediaPlaylist, new: MediaPlaylist) -> None:
        if old.target != new.target:
            self._fault("changed-target", f"{old.target} -> {new.target}")
        if old.part_target != new.part_target:
            self._fault("changed-part-target", f"{old.part_target} -> {new.part_target}")
        if old.control != new.control and not new.ended:
            self._fault("changed-control", f"{old.control} -> {new.control}")
        if new.media_sequence < old.media_sequence:
            self._fault("msn-back", f"{old.media_sequence} -> {new.media_sequence}")
        if new.discontinuity_sequence < old.discontinuity_sequence:
            self._fault(
                "dseq-back", f"{old.discontinuity_sequence} -> {new.discontinuity_sequence}"
            )
        if new.edge() < old.edge():
            self._fault("edge-back", f"{old.edge()} -> {new.edge()}")
        if old.ended and (not new.ended or new.edge() != old.edge()):
            self._fault("after-end", "the playlist went on after its end")
        if old.type in ("EVENT", "VOD") and new.media_sequence != old.media_sequence:
            self._fault("event-removed", "segments of an EVENT playlist were removed")
        first = self._segments.get(new.media_sequence)
        # A discontinuity right before the first segment may have gone with what it followed.
        kept = int(new.segments[0].discontinuity) if new.segments else 0
        if first is not None and first.dseq != new.discontinuity_sequence + kept:
            self._fault(
                "dseq",
                f"segment {new.media_sequence} was in run {first.dseq}, "
                f"EXT-X-DISCONTINUITY-SEQUENCE is {new.discontinuity_sequence}",
            )
        for hint in old.hints:
            self._check_hint(old, new, hint.get("URI", ""))

    def _check_hint(self, old: MediaPlaylist, new: MediaPlaylist, uri: str) -> None:
        if any(hint.get("URI") == uri for hint in new.hints):
            return
        if any(part.uri == uri for segment in new.segments for part in segment.parts):
            return
        if new.ended or new.trailing_discontinuity or new.edge()[0] > old.edge()[0] + 1:
            return
        msn, index = old.edge()
        for segment in new.segments:
            if segment.msn == msn and segment.gap:
                return
            if segment.msn == msn and (segment.discontinuity or len(segment.parts) > index):
                self._fault("hint-name", f"{uri} was hinted, the part has another name")
                return
            if segment.msn == msn + 1 and segment.discontinuity:
                return
        self.hints_broken += 1
        self._fault("hint-broken", f"{uri} was hinted and never came")

    def _remember(self, segment: Segment) -> None:
        known = self._segments.get(segment.msn)
        if known is not None:
            where = f"segment {segment.msn}"
            if known.dseq != segment.dseq:
                self._fault("changed-dseq", f"{where}: {known.dseq} -> {segment.dseq}")
            if known.date != segment.date:
                self._fault("changed-date", f"{where}: {known.date} -> {segment.date}")
            if known.init and segment.init and known.init != segment.init:
                self._fault("changed-map", f"{where}: {known.init} -> {segment.init}")
            if known.uri and (known.uri, known.duration, known.gap) != (
                segment.uri,
                segment.duration,
                segment.gap,
            ):
                self._fault("changed-segment", f"{where}: {known.uri} -> {segment.uri}")
            if segment.parts and known.parts != segment.parts[: len(known.parts)]:
                self._fault("changed-part", where)
            if known.uri and len(segment.parts) > len(known.parts) and known.parts:
                self._fault("changed-part", f"{where} grew after it was complete")
            if not segment.parts:
                segment.parts = known.parts
        for part in segment.parts:
            self._name(part.uri, (segment.msn, part.duration))
        if segment.uri:
            self._name(segment.uri, (segment.msn, segment.duration))
        self._segments[segment.msn] = segment

    def _name(self, uri: str, what: tuple[object, ...]) -> None:
        if self._uris.setdefault(uri, what) != what:
            self._fault("name-reused", uri)


def merge_delta(old: MediaPlaylist, delta: MediaPlaylist) -> MediaPlaylist:
    """The full playlist that a delta update stands for, given an older one (6.2.5.1, 6.3.7).

    Raises ValueError where the older one does not hold what was skipped.
    """
    if not delta.skipped:
        return delta
    known = {segment.msn: segment for segment in old.complete}
    first = delta.media_sequence
    kept = [known.get(msn) for msn in range(first, first + delta.skipped)]
    skipped = [replace(segment, parts=[]) for segment in kept if segment is not None]
    if len(skipped) != delta.skipped:
        raise ValueError("the older playlist does not hold what was skipped")
    ahead = skipped[-1].dseq - delta.discontinuity_sequence
    rest = [
        replace(segment, dseq=segment.dseq + ahead, init=segment.init or skipped[-1].init)
        for segment in delta.segments
    ]
    return replace(delta, skipped=0, segments=skipped + rest)


def difference(left: MediaPlaylist, right: MediaPlaylist) -> str:
    """How two playlists differ in what they say of segments; empty where they don't."""
    if (left.media_sequence, len(left.segments)) != (right.media_sequence, len(right.segments)):
        return f"{len(left.segments)} segments from {left.media_sequence}"
    for ours, theirs in zip(left.segments, right.segments, strict=True):
        # Whether the first one begins a run is said by the sequence number alone.
        if replace(ours, discontinuity=False) != replace(theirs, discontinuity=False):
            return f"{ours} is {theirs}"
    if left.edge() != right.edge() or left.ended != right.ended:
        return f"edge {left.edge()} is {right.edge()}"
    return ""

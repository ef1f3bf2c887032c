"""The live media playlist of one rendition, low-latency (RFC 8216bis).

Section numbers are those of draft-pantos-hls-rfc8216bis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hausd.core.live import LivePlaylist, LiveSegment
from hausd.wire.hls_names import InitName, PartName, SegmentName
from hausd.wire.hls_text import date_text, millis_text, quoted, seconds_text

HOLD_BACK_TARGETS = 3
"""HOLD-BACK in target durations, and PART-HOLD-BACK in part targets (4.4.3.8)."""
SKIP_TARGETS = 6
"""CAN-SKIP-UNTIL in target durations (4.4.3.8)."""
PARTS_TARGETS = 3
"""Parts are listed as far from the end as so many target durations (6.2.2)."""
BLOCK_TARGETS = 3
"""A request is held for so many target durations at most (6.2.5.2)."""
_MAX_DISCONTINUITIES = 64
"""Runs are counted by a worker, which is not trusted to count."""


@dataclass(frozen=True, slots=True)
class Report:
    """How far another rendition is: for EXT-X-RENDITION-REPORT. ``part`` None: it has no parts."""

    rendition: str
    msn: int
    part: int | None


def report_of(playlist: LivePlaylist) -> Report | None:
    """The report on a rendition; None while it has no segment (4.4.5.4)."""
    for segment in reversed(playlist.segments):
        if segment.parts:
            return Report(playlist.rendition.name, segment.msn, len(segment.parts) - 1)
    if not playlist.segments:
        return None
    return Report(playlist.rendition.name, playlist.segments[-1].msn, None)


def begins_with_keyframes(playlist: LivePlaylist) -> bool:
    """Whether every segment can be decoded without the ones before it."""
    return all(
        segment.gap
        or (bool(segment.parts) and (segment.parts[0].independent or segment.parts[0].gap))
        for segment in playlist.segments
    )


def goes_on_with_keyframes(playlist: LivePlaylist) -> bool:
    """Whether the same may be said beforehand of segments to come.

    Not before a session's second one has begun so: its first ends early, keyframe or not.
    """
    newest = playlist.segments[-2:]
    started = len(newest) == 2 and newest[0].session == newest[1].session
    return started and begins_with_keyframes(playlist)


class LiveRenderer:
    """Renders the playlists of one rendition; keeps the text of segments that are complete.

    What is kept is bounded by the playlist's own window.
    """

    def __init__(self) -> None:
        self._kept: dict[int, _SegmentText] = {}

    def render(
        self, playlist: LivePlaylist, reports: Sequence[Report] = (), *, delta: bool = False
    ) -> str:
        """The playlist's text; with ``delta`` what is old is skipped (6.2.5.1).

        ``reports`` on the other renditions stand at its end.
        """
        playlist = _without_holes(playlist)
        segments = self._segment_texts(playlist)
        skipped = _skippable(playlist) if delta else 0
        lines = _head(playlist)
        if skipped:
            lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")
        lines += segments[skipped:]
        lines += _tail(playlist, reports)
        return "\n".join(lines) + "\n"

    def _segment_texts(self, playlist: LivePlaylist) -> list[str]:
        timescale = playlist.rendition.timescale
        with_parts = _first_with_parts(playlist)
        before, self._kept = self._kept, {}
        texts = []
        run: int | None = None
        init: tuple[int, int] | None = None
        for place, segment in enumerate(playlist.segments):
            kept = before.get(segment.msn)
            if kept is None or kept.segment is not segment or kept.timescale != timescale:
                kept = _SegmentText(segment, timescale)
            if segment.complete:
                self._kept[segment.msn] = kept
            head = ""
            if run is not None and segment.run != run:
                # One tag for each discontinuity, so that the sequence numbers stay true when
                # this rendition took no part in a run.
                count = min(max(1, segment.run - run), _MAX_DISCONTINUITIES)
                head = "#EXT-X-DISCONTINUITY\n" * count
            run = segment.run
            if not segment.gap and (segment.session.counter, segment.run) != init:
                # A rendition that was shed has gaps in runs for which it has no init.
                init = (segment.session.counter, segment.run)
                head += f'#EXT-X-MAP:URI="{InitName(*init)}"\n'
            texts.append(head + (kept.full if place >= with_parts else kept.plain))
        return texts


def live_media_playlist(
    playlist: LivePlaylist, reports: Sequence[Report] = (), *, delta: bool = False
) -> str:
    """One rendering without keeping anything; see ``LiveRenderer.render``."""
    return LiveRenderer().render(playlist, reports, delta=delta)


class _SegmentText:
    """A segment's lines: ``full`` with its parts, ``plain`` without."""

    __slots__ = ("full", "plain", "segment", "timescale")

    def __init__(self, segment: LiveSegment, timescale: int) -> None:
        self.segment = segment
        self.timescale = timescale
        date = f"#EXT-X-PROGRAM-DATE-TIME:{date_text(segment.program_time_ms)}"
        parts = []
        session = segment.session.counter
        for index, part in enumerate(segment.parts):
            line = (
                f"#EXT-X-PART:DURATION={seconds_text(part.duration, timescale)},"
                f'URI="{PartName(session, segment.msn, index)}"'
            )
            line += ",INDEPENDENT=YES" if part.independent else ""
            parts.append(line + ",GAP=YES" if part.gap else line)
        end = []
        if segment.complete:
            if segment.gap:
                end.append("#EXT-X-GAP")
            end.append(f"#EXTINF:{seconds_text(segment.duration, timescale)},")
            end.append(str(SegmentName(session, segment.msn)))
        self.plain = "\n".join((date, *end))
        self.full = "\n".join((date, *parts, *end))


def _without_holes(playlist: LivePlaylist) -> LivePlaylist:
    """Segments are numbered by their place, so nothing can be shown before a missing number."""
    segments = playlist.segments
    if not segments or segments[-1].msn - segments[0].msn == len(segments) - 1:
        return playlist
    first = len(segments) - 1
    while first and segments[first - 1].msn == segments[first].msn - 1:
        first -= 1
    return replace(
        playlist,
        segments=segments[first:],
        discontinuity_sequence=segments[first].run,
    )


def _head(playlist: LivePlaylist) -> list[str]:
    target_s = playlist.target_s
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:9",
        f"#EXT-X-TARGETDURATION:{target_s}",
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,"
        f"PART-HOLD-BACK={millis_text(HOLD_BACK_TARGETS * playlist.part_target_ms)},"
        f"CAN-SKIP-UNTIL={SKIP_TARGETS * target_s},HOLD-BACK={HOLD_BACK_TARGETS * target_s}",
        f"#EXT-X-PART-INF:PART-TARGET={millis_text(playlist.part_target_ms)}",
    ]
    if playlist.segments and begins_with_keyframes(playlist):
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    first = playlist.segments[0].msn if playlist.segments else 0
    lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
    lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{playlist.discontinuity_sequence}")
    return lines


def _tail(playlist: LivePlaylist, reports: Sequence[Report]) -> list[str]:
    lines = []
    if playlist.ended:
        lines.append("#EXT-X-ENDLIST")
    elif playlist.segments:
        last = playlist.segments[-1]
        if playlist.between_runs:
            # At once, though what follows it is yet to come: hls.js keeps the last parts as
            # belonging to the segment after them, and stops for good if that turns out to be
            # one of another run.
            lines.append("#EXT-X-DISCONTINUITY")
        elif not last.gap:
            hint = PartName(last.session.counter, *playlist.hint())
            lines.append(f'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="{hint}"')
    for report in reports:
        uri = quoted(f"../{report.rendition}/index.m3u8")
        part = "" if report.part is None else f",LAST-PART={report.part}"
        lines.append(f"#EXT-X-RENDITION-REPORT:URI={uri},LAST-MSN={report.msn}{part}")
    return lines


def _first_with_parts(playlist: LivePlaylist) -> int:
    """Place of the first segment whose parts are listed: its end is near the playlist's."""
    limit = PARTS_TARGETS * playlist.target_s * playlist.rendition.timescale
    behind = 0
    for place in range(len(playlist.segments) - 1, -1, -1):
        if behind > limit:
            return place + 1
        behind += playlist.segments[place].duration
    return 0


def _skippable(playlist: LivePlaylist) -> int:
    """How many segments end further from the playlist's end than CAN-SKIP-UNTIL; 0 once it has
    ended, when the directive is ignored."""
    if playlist.ended:
        return 0
    limit = SKIP_TARGETS * playlist.target_s * playlist.rendition.timescale
    behind = 0
    for place in range(len(playlist.segments) - 1, -1, -1):
        segment = playlist.segments[place]
        if behind > limit:
            return place + 1
        if segment.complete:
            behind += segment.duration
    return 0

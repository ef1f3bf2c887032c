"""A follower in its simplest form: live windows made of verified announcements alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from hausd.core.ids import SessionId
from hausd.core.live import LivePart, LivePlaylist, Media
from hausd.core.media import LEAF_BYTES
from hausd.core.unixfs import file_over, raw_child
from hausd.rooms.live import LiveTrack, Span, StoredPart
from hausd.wire.statements import End, Tick, TickGap, TickGop, TickPart, Track


@dataclass
class Follower:
    """Applies tracks and ticks; ``windows`` are what it would serve."""

    windows: dict[str, LiveTrack] = field(default_factory=dict)
    session: SessionId | None = None
    _runs: dict[str, int] = field(default_factory=dict)
    _tracks: list[Track] = field(default_factory=list)

    def hear_track(self, track: Track) -> None:
        """Kept until the tick from which on it holds."""
        self._tracks.append(track)

    def hear(self, said: Tick | End) -> None:
        if said.session != self.session:  # another session is another playlist
            self.session = said.session
            self.windows.clear()
            self._runs.clear()
            self._tracks = [one for one in self._tracks if one.session == said.session]
        for track in [one for one in self._tracks if one.tick <= said.n]:
            self._tracks.remove(track)
            self._apply_track(track)
        if isinstance(said, End):
            for window in self.windows.values():
                window.end()
            return
        for name in self.windows:
            self._apply(name, said)
        if said.ends_run:
            for window in self.windows.values():
                window.end_run()

    def playlist(self, name: str) -> LivePlaylist:
        return self.windows[name].playlist()

    def _apply_track(self, track: Track) -> None:
        name = track.rendition.name
        window = self.windows.get(name)
        if window is None:
            window = self.windows[name] = LiveTrack(
                track.rendition,
                target_s=track.target_s,
                part_target_ms=track.part_target_ms,
                window_s=track.window_ms / 1000,
            )
        if self._runs.get(name) != track.run or (track.active and not window.active):
            self._runs[name] = track.run
            init = Media(track.init, "video/mp4", track.init_size, (b"",))
            window.start_run(track.rendition, track.session, track.run, init)
        if not track.active:
            window.active = False
            window.close_segment()

    def _apply(self, name: str, tick: Tick) -> None:
        """What a tick has of one rendition, in the order of media sequence numbers."""
        listed: list[tuple[int, TickGop | TickGap]] = [(gop.msn, gop) for gop in tick.gops]
        listed += [(gap.msn, gap) for gap in tick.gaps if gap.rendition == name]
        for _, one in sorted(listed, key=lambda item: item[0]):
            if isinstance(one, TickGap):
                span = Span(one.msn, tick.session, one.run, one.program_time_ms)
                timescale = self.windows[name].rendition.timescale
                self.windows[name].add_gap(span, one.duration / timescale)
                continue
            for part in one.parts:
                if part.rendition == name:
                    span = Span(one.msn, tick.session, one.run, part.program_time_ms)
                    self._add(self.windows[name], span, part)

    @staticmethod
    def _add(window: LiveTrack, span: Span, part: TickPart) -> None:
        sizes = [min(LEAF_BYTES, part.size - at) for at in range(0, part.size, LEAF_BYTES)]
        children = [raw_child(*leaf) for leaf in zip(part.leaves, sizes, strict=True)]
        shown = LivePart(part.duration, part.independent, part.size)
        stored = StoredPart(file_over(children).cid, part.size, bytes(part.size))
        if window.takes(span.msn):
            window.add_part(span, shown, stored, ends_segment=part.ends_gop)


def comparable(playlist: LivePlaylist) -> tuple[object, ...]:
    """Everything that a playlist's text depends on: all but how often it changed."""
    return (
        playlist.rendition,
        playlist.target_s,
        playlist.part_target_ms,
        playlist.discontinuity_sequence,
        playlist.segments,
        playlist.between_runs,
        playlist.ended,
    )

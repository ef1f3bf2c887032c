"""The archive's media playlist: a rendition from its first segment on (RFC 8216bis).

EVENT while the room is live, VOD once it has ended. Segments are named by their CIDs.
"""

from __future__ import annotations

from collections.abc import Callable

from hausd.core.cid import CID
from hausd.core.live import ArchiveGap, ArchivePlaylist, ArchiveSegment
from hausd.wire.hls_text import date_text, millis_text, quoted

SKIP_TARGETS = 6
"""CAN-SKIP-UNTIL in target durations (4.4.3.8)."""

_Entry = ArchiveSegment | ArchiveGap


def gap_uri(gap: ArchiveGap) -> str:
    """What stands in the place of a segment that is not there; none is to ask for it (4.4.4.7)."""
    return f"gap-{gap.program_time_ms}.m4s"


def segment_uri(segment: ArchiveSegment) -> str:
    """``<cid>.m4s``, beside the playlist."""
    return f"{segment.cid}.m4s"


def init_uri(init: CID) -> str:
    """``<cid>.mp4``, beside the playlist."""
    return f"{init}.mp4"


def archive_media_playlist(
    playlist: ArchivePlaylist,
    uri: Callable[[ArchiveSegment], str] = segment_uri,
    init: Callable[[CID], str] = init_uri,
) -> str:
    """The whole playlist, rendered once; see ``ArchiveRenderer``."""
    return ArchiveRenderer(uri, init).render(playlist)


class ArchiveRenderer:
    """Renders a rendition's archive; what was rendered of it is kept, since it only grows.

    12 h of 10 s segments are 0.7 MB of text; an append costs one segment and joining them.
    """

    def __init__(
        self,
        uri: Callable[[ArchiveSegment], str] = segment_uri,
        init: Callable[[CID], str] = init_uri,
    ) -> None:
        self._uri = uri
        self._init = init
        self._texts: list[str] = []
        self._last: _Entry | None = None
        self._mapped: tuple[int, CID] | None = None
        """Stretch and init that the newest EXT-X-MAP is for."""
        self._gaps = False

    def render(self, playlist: ArchivePlaylist, *, delta: bool = False) -> str:
        """The playlist's text; with ``delta`` what is old is skipped, while it is not ended."""
        self._append(playlist)
        skipped = _skippable(playlist) if delta else 0
        lines = [
            "#EXTM3U",
            f"#EXT-X-VERSION:{9 if not playlist.ended else 8 if self._gaps else 6}",
            f"#EXT-X-TARGETDURATION:{playlist.target_s}",
            f"#EXT-X-PLAYLIST-TYPE:{'VOD' if playlist.ended else 'EVENT'}",
        ]
        if not playlist.ended:
            # A player that watches a long event from the start would fetch the whole list again
            # every segment.
            until_s = SKIP_TARGETS * playlist.target_s
            lines.append(f"#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL={until_s}")
        lines.append("#EXT-X-MEDIA-SEQUENCE:0")
        if skipped:
            lines.append(f"#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}")
            lines += self._texts[skipped:]
        else:
            lines += self._texts
        if playlist.ended:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"

    def _append(self, playlist: ArchivePlaylist) -> None:
        entries, kept = playlist.entries, len(self._texts)
        if kept > len(entries) or (kept and entries[kept - 1] is not self._last):
            self._texts, self._last, self._mapped, kept = [], None, None, 0
            self._gaps = False
        for entry in entries[kept:]:
            self._texts.append(self._text(entry))
            self._last = entry

    def _text(self, entry: _Entry) -> str:
        last = self._last
        # One tag for each stretch, so that a discontinuity has one number in all renditions. None
        # before the first entry: hls.js (1.7) never begins where sound does so in a later stretch
        # than the picture.
        head = "#EXT-X-DISCONTINUITY\n" * (entry.run - last.run if last is not None else 0)
        if isinstance(entry, ArchiveGap):
            self._gaps = True
            name = gap_uri(entry)
        else:
            name = self._uri(entry)
            if self._mapped != (entry.run, entry.init):
                self._mapped = entry.run, entry.init
                head += f"#EXT-X-MAP:URI={quoted(self._init(entry.init))}\n"
        gap = "#EXT-X-GAP\n" if isinstance(entry, ArchiveGap) else ""
        return (
            f"{head}#EXT-X-PROGRAM-DATE-TIME:{date_text(entry.program_time_ms)}\n"
            f"{gap}#EXTINF:{millis_text(entry.duration_ms)},\n{name}"
        )


def _skippable(playlist: ArchivePlaylist) -> int:
    if playlist.ended:
        return 0
    limit_ms = SKIP_TARGETS * playlist.target_s * 1000
    behind_ms = 0
    for place in range(len(playlist.entries) - 1, -1, -1):
        if behind_ms > limit_ms:
            return place + 1
        behind_ms += playlist.entries[place].duration_ms
    return 0

"""The archive's media playlist: a rendition from its first segment on (RFC 8216bis).

EVENT while the room is live, VOD once it has ended. Segments are named by their CIDs.
"""

from __future__ import annotations

from collections.abc import Callable

from hausd.core.cid import CID
from hausd.core.live import ArchivePlaylist, ArchiveSegment
from hausd.wire.hls_text import date_text, millis_text, quoted

SKIP_TARGETS = 6
"""CAN-SKIP-UNTIL in target durations (4.4.3.8)."""


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
        self._last: ArchiveSegment | None = None

    def render(self, playlist: ArchivePlaylist, *, delta: bool = False) -> str:
        """The playlist's text; with ``delta`` what is old is skipped, while it is not ended."""
        self._append(playlist)
        skipped = _skippable(playlist) if delta else 0
        lines = [
            "#EXTM3U",
            f"#EXT-X-VERSION:{6 if playlist.ended else 9}",
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
        segments, kept = playlist.segments, len(self._texts)
        if kept > len(segments) or (kept and segments[kept - 1] is not self._last):
            self._texts, self._last, kept = [], None, 0
        last = self._last
        for segment in segments[kept:]:
            self._texts.append(self._text(segment, last))
            last = segment
        self._last = last

    def _text(self, segment: ArchiveSegment, last: ArchiveSegment | None) -> str:
        new_run = last is not None and (last.run != segment.run or last.session != segment.session)
        head = "#EXT-X-DISCONTINUITY\n" if new_run else ""
        if last is None or new_run or last.init != segment.init:
            head += f"#EXT-X-MAP:URI={quoted(self._init(segment.init))}\n"
        return (
            f"{head}#EXT-X-PROGRAM-DATE-TIME:{date_text(segment.program_time_ms)}\n"
            f"#EXTINF:{millis_text(segment.duration_ms)},\n{self._uri(segment)}"
        )


def _skippable(playlist: ArchivePlaylist) -> int:
    if playlist.ended:
        return 0
    limit_ms = SKIP_TARGETS * playlist.target_s * 1000
    behind_ms = 0
    for place in range(len(playlist.segments) - 1, -1, -1):
        if behind_ms > limit_ms:
            return place + 1
        behind_ms += playlist.segments[place].duration_ms
    return 0

"""An LL-HLS client that plays nothing: it follows one rendition and notes when bytes came.

Blocking reload (RFC 8216bis, section 6.2.5.2) on one connection, parts on another, each part as
soon as a playlist names it.
"""

from __future__ import annotations

import http.client
import re
import socket
import time
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urljoin, urlsplit

from mediabench.publisher import marks

_POLL_S = 0.02
_TIMEOUT_S = 15
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')


class Connection:
    """One kept-alive HTTP connection to one host; asks again once where it was closed."""

    def __init__(self) -> None:
        self._open: http.client.HTTPConnection | None = None
        self._host = ""

    def get(self, url: str, span: str = "") -> tuple[int, bytes, int]:
        """Status, body, and CLOCK_MONOTONIC (ns) when its last byte was read."""
        parts = urlsplit(url)
        if parts.netloc != self._host:
            self.close()
            self._host = parts.netloc
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        fields = {"Range": f"bytes={span}"} if span else {}
        for attempt in range(2):
            try:
                connection = self._connected()
                connection.request("GET", path, headers=fields)
                answer = connection.getresponse()
                return answer.status, answer.read(), time.monotonic_ns()
            except (http.client.HTTPException, OSError):
                self.close()
                if attempt:
                    raise
        raise AssertionError

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connected(self) -> http.client.HTTPConnection:
        if self._open is None:
            self._open = http.client.HTTPConnection(self._host, timeout=_TIMEOUT_S)
            self._open.connect()
            self._open.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._open


@dataclass(frozen=True, slots=True)
class PartRef:
    """A part that a playlist names; ``span`` is a byte range where it has one."""

    url: str
    duration_s: float
    span: str = ""


@dataclass(slots=True)
class Playlist:
    """What a client needs of a media playlist."""

    parts: list[PartRef] = field(default_factory=list)
    init: str = ""
    part_target_s: float = 0.0
    next_msn: int = 0
    next_part: int = 0


def read_playlist(text: str, url: str) -> Playlist:
    """Reads a media playlist (RFC 8216bis); what a measuring client needs no more."""
    found = Playlist()
    for line in map(str.strip, text.splitlines()):
        tag, _, value = line.partition(":")
        match tag:
            case "#EXT-X-MEDIA-SEQUENCE":
                found.next_msn = int(value)
            case "#EXT-X-SKIP":
                found.next_msn += int(_attributes(value)["SKIPPED-SEGMENTS"])
            case "#EXT-X-PART-INF":
                found.part_target_s = float(_attributes(value)["PART-TARGET"])
            case "#EXT-X-MAP":
                found.init = urljoin(url, _attributes(value)["URI"])
            case "#EXT-X-PART":
                given = _attributes(value)
                size, _, start = given.get("BYTERANGE", "").partition("@")
                span = f"{start}-{int(start) + int(size) - 1}" if start else ""
                uri = urljoin(url, given["URI"])
                found.parts.append(PartRef(uri, float(given["DURATION"]), span))
                found.next_part += 1
            case _ if line and not line.startswith("#"):
                found.next_msn += 1
                found.next_part = 0
    return found


def _attributes(text: str) -> dict[str, str]:
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


@dataclass(slots=True)
class Seen:
    """Milliseconds from a frame's sending to the reading of its part: the newest of each part,
    and all."""

    newest_ms: list[float] = field(default_factory=list)
    newest: list[int] = field(default_factory=list)
    """The number of each part's newest frame: the same part has the same at every node."""
    all_ms: list[float] = field(default_factory=list)
    part_s: list[float] = field(default_factory=list)
    lost: int = 0
    refused: int = 0


class Watcher:
    """Follows the first video rendition of a multivariant playlist."""

    def __init__(self, multivariant: str) -> None:
        self._multivariant = multivariant
        self._playlists = Connection()
        self._media = Connection()
        self._url = ""
        self._known: set[PartRef] = set()
        self._playlist = Playlist()
        self._last = -1

    def close(self) -> None:
        self._playlists.close()
        self._media.close()

    def first_part(self, patience_s: float) -> int:
        """Asks until init and one part have been read; when that was (ns)."""
        end_s = time.monotonic() + patience_s
        while time.monotonic() < end_s:
            try:
                read_ns = self._try_first()
            except (OSError, http.client.HTTPException):
                read_ns = 0
            if read_ns:
                return read_ns
            time.sleep(_POLL_S)
        raise SystemExit(f"{self._multivariant}: nothing to play after {patience_s:g} s")

    def _try_first(self) -> int:
        if not self._url:
            status, body, _ = self._playlists.get(self._multivariant)
            lines = body.decode(errors="replace").splitlines() if status == 200 else []
            for line, after in pairwise(lines):
                if line.startswith("#EXT-X-STREAM-INF"):
                    self._url = urljoin(self._multivariant, after)
            if not self._url:
                return 0
        status, body, _ = self._playlists.get(self._url)
        if status != 200:
            return 0
        self._playlist = read_playlist(body.decode(), self._url)
        if not self._playlist.parts or not self._playlist.init:
            return 0
        self._media.get(self._playlist.init)
        newest = self._playlist.parts[-1]
        status, _, read_ns = self._media.get(newest.url, newest.span)
        self._known = set(self._playlist.parts)
        return read_ns if status in (200, 206) else 0

    def follow(self, seconds: float) -> Seen:
        """Reads every part that comes within so many seconds."""
        seen = Seen()
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._step(seen)
        return seen

    def _step(self, seen: Seen) -> None:
        at = self._playlist
        joint = "&" if "?" in self._url else "?"
        wanted = f"{joint}_HLS_msn={at.next_msn}&_HLS_part={at.next_part}"
        status, body, _ = self._playlists.get(self._url + wanted)
        if status != 200:
            seen.refused += 1
            time.sleep(_POLL_S)
            status, body, _ = self._playlists.get(self._url)
            if status != 200:
                return
        self._playlist = read_playlist(body.decode(), self._url)
        fresh = [part for part in self._playlist.parts if part not in self._known]
        self._known = set(self._playlist.parts)
        for part in fresh:
            status, data, read_ns = self._media.get(part.url, part.span)
            if status in (200, 206):
                self._take(seen, part, data, read_ns)
            else:
                seen.refused += 1

    def _take(self, seen: Seen, part: PartRef, data: bytes, read_ns: int) -> None:
        found = marks(data)
        if not found:
            return
        took_ms = [(read_ns - sent_ns) / 1e6 for _, sent_ns in found]
        seen.newest.append(max(number for number, _ in found))
        seen.newest_ms.append(min(took_ms))
        seen.all_ms.extend(took_ms)
        seen.part_s.append(part.duration_s)
        if self._last >= 0:
            seen.lost += found[0][0] != self._last + 1
        self._last = max(number for number, _ in found)

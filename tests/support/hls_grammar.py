"""HLS playlists read strictly, line by line, by someone who never saw the code that writes them.

Source: RFC 8216bis (draft-pantos-hls-rfc8216bis). Every departure from the grammar is a Finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction


@dataclass(frozen=True)
class Finding:
    """A rule that was broken: its short name, and where and how."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass
class Part:
    uri: str
    duration: Fraction
    independent: bool
    gap: bool


@dataclass
class Segment:
    """``uri`` is empty while it is open (only parts of it are there). ``dseq`` is its
    discontinuity sequence number, ``init`` the URI of the MAP that applies."""

    msn: int
    dseq: int
    uri: str = ""
    duration: Fraction = Fraction(0)
    parts: list[Part] = field(default_factory=list)
    date: datetime | None = None
    init: str = ""
    gap: bool = False
    discontinuity: bool = False


@dataclass
class MediaPlaylist:
    version: int = 1
    target: int = 0
    part_target: Fraction | None = None
    control: dict[str, str] = field(default_factory=dict)
    media_sequence: int = 0
    discontinuity_sequence: int = 0
    type: str = ""
    independent: bool = False
    ended: bool = False
    skipped: int = 0
    segments: list[Segment] = field(default_factory=list)
    """Complete ones, then the open one if there is one."""
    hints: list[dict[str, str]] = field(default_factory=list)
    reports: list[dict[str, str]] = field(default_factory=list)
    trailing_discontinuity: bool = False
    has_map: bool = False

    @property
    def complete(self) -> list[Segment]:
        return [segment for segment in self.segments if segment.uri]

    @property
    def low_latency(self) -> bool:
        return self.part_target is not None

    def edge(self) -> tuple[int, int]:
        """Media sequence number and part index of what comes next."""
        if not self.segments:
            return self.media_sequence + self.skipped, 0
        last = self.segments[-1]
        return (last.msn + 1, 0) if last.uri else (last.msn, len(last.parts))


@dataclass
class Stream:
    """A variant of a multivariant playlist."""

    uri: str
    attributes: dict[str, str]


@dataclass
class Multivariant:
    version: int = 1
    independent: bool = False
    streams: list[Stream] = field(default_factory=list)
    media: list[dict[str, str]] = field(default_factory=list)


_ATTRIBUTE = re.compile(
    r'(?P<name>[A-Z0-9-]+)=(?P<value>"[^"\r\n]*"|0[xX][0-9A-Fa-f]+|[0-9]+x[0-9]+'
    r"|-?[0-9]+(?:\.[0-9]+)?|[^\s\",]+)(?:,|$)"
)
_NUMBER = re.compile(r"[0-9]{1,20}")
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_URI = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)")

_ONCE = {
    "EXTM3U",
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-INDEPENDENT-SEGMENTS",
    "EXT-X-SKIP",
}
_QUOTED = {
    "EXT-X-MAP": {"URI"},
    "EXT-X-PART": {"URI"},
    "EXT-X-PRELOAD-HINT": {"URI"},
    "EXT-X-RENDITION-REPORT": {"URI"},
    "EXT-X-STREAM-INF": {"CODECS", "AUDIO"},
    "EXT-X-MEDIA": {"GROUP-ID", "NAME", "LANGUAGE", "INSTREAM-ID", "CHANNELS", "URI"},
}


class _Reader:
    """What both kinds of playlist have in common."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.findings: list[Finding] = []
        self.seen: set[str] = set()

    def fault(self, rule: str, text: str) -> None:
        self.findings.append(Finding(rule, text))

    def lines(self) -> list[str]:
        if self.text.startswith("\ufeff"):
            self.fault("bom", "a playlist has no byte order mark")
        if "\r" in self.text.replace("\r\n", ""):
            self.fault("line-end", "a bare CR")
        if not self.text.endswith("\n"):
            self.fault("line-end", "the last line has no end")
        lines = self.text.replace("\r\n", "\n").split("\n")[:-1]
        if not lines or lines[0] != "#EXTM3U":
            self.fault("extm3u", "the first line is not #EXTM3U")
        return lines

    def tag(self, line: str) -> tuple[str, str | None]:
        name, colon, value = line[1:].partition(":")
        if name in _ONCE:
            if name in self.seen:
                self.fault("repeated-tag", name)
            self.seen.add(name)
        return name, value if colon else None

    def number(self, name: str, value: str | None) -> int:
        if value is None or not _NUMBER.fullmatch(value):
            self.fault("number", f"{name}:{value} is not a decimal integer")
            return 0
        return int(value)

    def decimal(self, name: str, value: str | None) -> Fraction:
        if value is None or not _DECIMAL.fullmatch(value):
            self.fault("number", f"{name}={value} is not a decimal number")
            return Fraction(0)
        return Fraction(value)

    def attributes(self, name: str, value: str | None) -> dict[str, str]:
        found: dict[str, str] = {}
        at, text = 0, value or ""
        while at < len(text):
            match = _ATTRIBUTE.match(text, at)
            if match is None:
                self.fault("attribute-list", f"{name}:{value}")
                break
            key, raw = match["name"], match["value"]
            if key in found:
                self.fault("attribute-list", f"{name} has {key} twice")
            quoted = raw.startswith('"')
            if key in _QUOTED.get(name, ()) and not quoted:
                self.fault("attribute-list", f"{name}: {key} is to be a quoted string")
            found[key] = raw[1:-1] if quoted else raw
            at = match.end()
            if match.group(0).endswith(",") and at == len(text):
                self.fault("attribute-list", f"{name} ends in a comma")
        if not found:
            self.fault("attribute-list", f"{name} has no attributes")
        return found

    def uri(self, name: str, value: str | None) -> str:
        if not value or not _URI.fullmatch(value):
            self.fault("uri", f"{name}: {value!r} is not a URI")
        return value or ""


def read_media(text: str) -> tuple[MediaPlaylist, list[Finding]]:
    """A media playlist, and what is wrong with its form."""
    reader = _MediaReader(text)
    reader.read()
    return reader.playlist, reader.findings


def read_multivariant(text: str) -> tuple[Multivariant, list[Finding]]:
    """A multivariant playlist, and what is wrong with its form."""
    reader = _Reader(text)
    found = Multivariant()
    pending: dict[str, str] | None = None
    for line in reader.lines():
        if not line:
            reader.fault("blank-line", "an empty line")
        elif not line.startswith("#"):
            if pending is None:
                reader.fault("uri", f"{line} has no EXT-X-STREAM-INF")
            else:
                found.streams.append(Stream(reader.uri("STREAM-INF", line), pending))
            pending = None
        elif line.startswith("#EXT"):
            if pending is not None:
                reader.fault("stream-inf", f"{line} between EXT-X-STREAM-INF and its URI")
                pending = None
            name, value = reader.tag(line)
            if name == "EXT-X-VERSION":
                found.version = reader.number(name, value)
            elif name == "EXT-X-INDEPENDENT-SEGMENTS":
                found.independent = True
            elif name == "EXT-X-STREAM-INF":
                pending = reader.attributes(name, value)
            elif name == "EXT-X-MEDIA":
                found.media.append(reader.attributes(name, value))
            elif name != "EXTM3U":
                reader.fault("unknown-tag", line)
    if pending is not None:
        reader.fault("stream-inf", "the last EXT-X-STREAM-INF has no URI")
    return found, reader.findings


class _MediaReader(_Reader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.playlist = MediaPlaylist()
        self._open: Segment | None = None
        self._init = ""
        self._dseq = 0
        self._extinf: Fraction | None = None
        self._pending_discontinuity = False
        self._over = False

    def read(self) -> None:
        playlist = self.playlist
        for line in self.lines():
            if not line:
                self.fault("blank-line", "an empty line")
            elif not line.startswith("#"):
                self._segment_uri(line)
            elif line.startswith("#EXT"):
                self._tag(line)
        if self._extinf is not None:
            self.fault("extinf", "the last EXTINF has no URI")
        if self._open is not None:
            if not self._open.parts:
                self.fault("dangling", "tags of a segment that has neither parts nor a URI")
            playlist.segments.append(self._open)
        playlist.trailing_discontinuity = self._pending_discontinuity
        if "EXT-X-TARGETDURATION" not in self.seen:
            self.fault("targetduration", "there is no EXT-X-TARGETDURATION")

    def _next(self) -> Segment:
        """The segment that the tags at hand belong to."""
        if self._open is None:
            playlist = self.playlist
            msn = playlist.media_sequence + playlist.skipped + len(playlist.segments)
            self._open = Segment(
                msn, self._dseq, init=self._init, discontinuity=self._pending_discontinuity
            )
            self._pending_discontinuity = False
        return self._open

    def _segment_uri(self, line: str) -> None:
        segment = self._next()
        segment.uri = self.uri("segment", line)
        if self._extinf is None:
            self.fault("extinf", f"{line} has no EXTINF")
        else:
            segment.duration = self._extinf
        self.playlist.segments.append(segment)
        self._open = self._extinf = None
        if self._over:
            self.fault("after-end", f"{line} after what ends a playlist")

    def _tag(self, line: str) -> None:
        name, value = self.tag(line)
        playlist = self.playlist
        match name:
            case "EXTM3U":
                pass
            case "EXT-X-VERSION":
                playlist.version = self.number(name, value)
            case "EXT-X-TARGETDURATION":
                playlist.target = self.number(name, value)
            case "EXT-X-MEDIA-SEQUENCE":
                playlist.media_sequence = self.number(name, value)
                self._head(name)
            case "EXT-X-DISCONTINUITY-SEQUENCE":
                playlist.discontinuity_sequence = self._dseq = self.number(name, value)
                self._head(name)
            case "EXT-X-PLAYLIST-TYPE":
                playlist.type = value or ""
                if value not in ("EVENT", "VOD"):
                    self.fault("playlist-type", f"{value}")
            case "EXT-X-INDEPENDENT-SEGMENTS":
                playlist.independent = True
            case "EXT-X-PART-INF":
                playlist.part_target = self.decimal(
                    "PART-TARGET", self.attributes(name, value).get("PART-TARGET")
                )
            case "EXT-X-SERVER-CONTROL":
                playlist.control = self.attributes(name, value)
            case "EXT-X-SKIP":
                playlist.skipped = self.number(
                    name, self.attributes(name, value).get("SKIPPED-SEGMENTS")
                )
                self._head(name)
            case "EXT-X-ENDLIST":
                playlist.ended = True
            case "EXT-X-PRELOAD-HINT":
                hint = self.attributes(name, value)
                self.uri(name, hint.get("URI"))
                if hint.get("TYPE") not in ("PART", "MAP"):
                    self.fault("hint", f"{line}: TYPE is PART or MAP")
                playlist.hints.append(hint)
                self._over = True
            case "EXT-X-RENDITION-REPORT":
                report = self.attributes(name, value)
                self.uri(name, report.get("URI"))
                playlist.reports.append(report)
                self._over = True
            case _:
                self._segment_tag(line, name, value)

    def _segment_tag(self, line: str, name: str, value: str | None) -> None:
        playlist = self.playlist
        match name:
            case "EXT-X-DISCONTINUITY":
                if self._open is not None:
                    self.fault("order", "EXT-X-DISCONTINUITY after other tags of its segment")
                self._dseq += 1
                self._pending_discontinuity = True
            case "EXT-X-MAP":
                self._init = self.uri(name, self.attributes(name, value).get("URI"))
                segment = self._next()
                segment.init = self._init
                playlist.has_map = True
                self._before_parts(segment, name)
            case "EXT-X-PROGRAM-DATE-TIME":
                segment = self._next()
                if value is None or not _DATE.fullmatch(value):
                    self.fault("date", f"{value}")
                else:
                    segment.date = datetime.fromisoformat(value)
                self._before_parts(segment, name)
            case "EXT-X-GAP":
                self._next().gap = True
            case "EXT-X-PART":
                found = self.attributes(name, value)
                for flag in ("INDEPENDENT", "GAP"):
                    if found.get(flag, "YES") != "YES":
                        self.fault("part", f"{line}: {flag} can only be YES")
                segment = self._next()
                if self._extinf is not None:
                    self.fault("order", f"{line} after its segment's EXTINF")
                segment.parts.append(
                    Part(
                        self.uri(name, found.get("URI")),
                        self.decimal("DURATION", found.get("DURATION")),
                        "INDEPENDENT" in found,
                        "GAP" in found,
                    )
                )
            case "EXTINF":
                self._next()
                duration, comma, _ = (value or "").partition(",")
                if not comma:
                    self.fault("extinf", f"{line} has no comma")
                if self._extinf is not None:
                    self.fault("extinf", f"{line}: a second one")
                self._extinf = self.decimal(name, duration)
            case _:
                self.fault("unknown-tag", line)

    def _head(self, name: str) -> None:
        if self.playlist.segments or self._open is not None:
            self.fault("order", f"{name} after the first segment")

    def _before_parts(self, segment: Segment, name: str) -> None:
        if segment.parts:
            self.fault("order", f"{name} after the first part of its segment")

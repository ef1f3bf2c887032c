"""A player that only looks: follows a room as its playlists say, and checks all it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from urllib.parse import urljoin

import httpx
import trio
from support.hls_boxes import BadBytes, Fragment, Init, read_fragments, read_init, same_codec
from support.hls_grammar import Finding, MediaPlaylist, Multivariant, Segment, Stream, read_media
from support.hls_rules import AUDIO_CODECS, check_archive, check_live, check_multivariant
from support.hls_series import Series, check_alignment, merge_delta

from .tls import TLS

_BANDWIDTH_SLACK = 1.10
"""BANDWIDTH is measured while the stream goes on: what comes later may be a little more."""


@dataclass
class Track:
    """One rendition as it was watched. ``media``: fragments and sizes by URI."""

    url: str
    attributes: dict[str, str] = field(default_factory=dict)
    playlist: MediaPlaylist | None = None
    reloads: int = 0
    inits: dict[str, Init] = field(default_factory=dict)
    segments: dict[int, Segment] = field(default_factory=dict)
    fragments: dict[int, list[Fragment]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    parts: dict[str, bytes] = field(default_factory=dict)
    waited_s: list[float] = field(default_factory=list)
    """How long each hinted part took to come after it was asked for."""


@dataclass
class Watched:
    """What was seen and what was wrong with it."""

    findings: list[Finding] = field(default_factory=list)
    multivariant: Multivariant | None = None
    tracks: dict[str, Track] = field(default_factory=dict)

    def fault(self, rule: str, text: str) -> None:
        self.findings.append(Finding(rule, text))

    def require(self) -> None:
        """Raises AssertionError with everything that was found."""
        if self.findings:
            raise AssertionError("\n".join(map(str, self.findings[:40])))


async def watch(
    url: str, seconds: float, *, client: httpx.AsyncClient | None = None, delta: bool = True
) -> Watched:
    """Follows a live multivariant playlist for so long: every rendition at once, with blocking
    reloads, hinted parts asked for ahead, delta updates merged, all media fetched."""
    found = Watched()
    async with _client(client) as http:
        base, text = await _text(http, url, found)
        found.multivariant, faults = check_multivariant(text)
        found.findings += faults
        tracks = _tracks(base, found.multivariant)
        found.tracks = tracks
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for track in tracks.values():
                    nursery.start_soon(_follow, http, track, found, delta)
    found.findings += check_alignment([t.playlist for t in tracks.values() if t.playlist])
    for track in tracks.values():
        _check_track(track, found)
    _check_bandwidth(found)
    return found


async def inspect_archive(url: str, *, client: httpx.AsyncClient | None = None) -> Watched:
    """Fetches an archive, playlists and media, and checks all of it."""
    found = Watched()
    async with _client(client) as http:
        base, text = await _text(http, url, found)
        found.multivariant, faults = check_multivariant(text)
        found.findings += faults
        found.tracks = _tracks(base, found.multivariant)
        for track in found.tracks.values():
            _, text = await _text(http, track.url, found)
            track.playlist, faults = check_archive(text)
            found.findings += faults
            for segment in track.playlist.complete:
                await _fetch_segment(http, track, segment, found)
            _check_track(track, found)
    _check_bandwidth(found)
    return found


class _client:
    def __init__(self, given: httpx.AsyncClient | None) -> None:
        self._given = given
        limits = httpx.Limits(max_connections=64)
        self._own = (
            httpx.AsyncClient(timeout=40, limits=limits, verify=TLS) if given is None else None
        )

    async def __aenter__(self) -> httpx.AsyncClient:
        client = self._given or self._own
        assert client is not None
        return client

    async def __aexit__(self, *_: object) -> None:
        if self._own is not None:
            await self._own.aclose()


def _tracks(base: str, multivariant: Multivariant) -> dict[str, Track]:
    tracks = {}
    for stream in multivariant.streams:
        tracks[stream.uri] = Track(urljoin(base, stream.uri), stream.attributes)
    for media in multivariant.media:
        if uri := media.get("URI"):
            tracks[uri] = Track(urljoin(base, uri), media)
    return tracks


async def _text(http: httpx.AsyncClient, url: str, found: Watched) -> tuple[str, str]:
    answer = await http.get(url)
    if answer.status_code != 200:
        found.fault("status", f"{url}: {answer.status_code} {answer.text[:200]}")
        raise AssertionError(f"{url}: {answer.status_code} {answer.text[:300]}")
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind not in ("application/vnd.apple.mpegurl", "audio/mpegurl"):
        found.fault("content-type", f"{url}: {kind}")
    return str(answer.url), answer.text


async def _follow(http: httpx.AsyncClient, track: Track, found: Watched, delta: bool) -> None:
    series = Series()
    hinted: dict[str, trio.Event] = {}
    async with trio.open_nursery() as nursery:
        url = track.url
        while True:
            try:
                _, text = await _text(http, url, found)
            except AssertionError:
                return
            now, faults = check_live(text)
            if now.skipped and track.playlist is not None:
                try:
                    now = merge_delta(track.playlist, now)
                except ValueError as fault:
                    found.fault("skip", str(fault))
            found.findings += faults + series.feed(now)
            track.playlist = now
            track.reloads += 1
            for hint in now.hints:
                uri = hint["URI"]
                if uri not in hinted:
                    hinted[uri] = trio.Event()
                    nursery.start_soon(_fetch_hint, http, track, uri, hinted[uri], found)
            await _fetch_new(http, track, now, hinted, found)
            if now.ended:
                nursery.cancel_scope.cancel()
                return
            msn, part = now.edge()
            directives = f"_HLS_msn={msn}&_HLS_part={part}"
            if delta and track.reloads % 2:
                directives += "&_HLS_skip=YES"
            url = f"{track.url}?{directives}"
            if now.trailing_discontinuity:
                await trio.sleep(0.1)


async def _fetch_hint(
    http: httpx.AsyncClient, track: Track, uri: str, done: trio.Event, found: Watched
) -> None:
    began = trio.current_time()
    answer = await http.get(urljoin(track.url, uri))
    track.waited_s.append(trio.current_time() - began)
    if answer.status_code == 200:
        track.parts[uri] = answer.content
        _check_headers(answer, found)
    elif answer.status_code not in (404, 503):
        found.fault("status", f"hinted {uri}: {answer.status_code}")
    done.set()


async def _fetch_new(
    http: httpx.AsyncClient,
    track: Track,
    playlist: MediaPlaylist,
    hinted: dict[str, trio.Event],
    found: Watched,
) -> None:
    for segment in playlist.segments:
        for part in segment.parts:
            if part.uri in hinted:
                await hinted[part.uri].wait()
            if part.uri not in track.parts:
                data = await _media(http, urljoin(track.url, part.uri), found)
                if data is None:
                    continue
                track.parts[part.uri] = data
        if segment.uri and segment.msn not in track.fragments and not segment.gap:
            await _fetch_segment(http, track, segment, found)


async def _fetch_segment(
    http: httpx.AsyncClient, track: Track, segment: Segment, found: Watched
) -> None:
    if segment.gap:
        return
    if segment.init not in track.inits:
        data = await _media(http, urljoin(track.url, segment.init), found)
        if data is not None:
            with _faults(found, f"init {segment.init}"):
                track.inits[segment.init] = read_init(data)
    data = await _media(http, urljoin(track.url, segment.uri), found)
    if data is None:
        return
    with _faults(found, f"segment {segment.uri}"):
        track.fragments[segment.msn] = read_fragments(data)
    track.segments[segment.msn] = segment
    track.sizes[segment.msn] = len(data)
    parts = [track.parts.get(part.uri) for part in segment.parts]
    held = [part for part in parts if part is not None]
    if parts and len(held) == len(parts) and b"".join(held) != data:
        found.fault("part-bytes", f"the parts of segment {segment.msn} are not its bytes")


async def _media(http: httpx.AsyncClient, url: str, found: Watched) -> bytes | None:
    answer = await http.get(url)
    if answer.status_code != 200:
        found.fault("status", f"{url}: {answer.status_code}")
        return None
    _check_headers(answer, found)
    return answer.content


def _check_headers(answer: httpx.Response, found: Watched) -> None:
    headers = answer.headers
    if headers.get("content-type") not in ("video/mp4", "audio/mp4"):
        found.fault("content-type", f"{answer.url}: {headers.get('content-type')}")
    if not headers.get("etag", "").startswith('"baf'):
        found.fault("etag", f"{answer.url}: {headers.get('etag')} is no CID")
    if "immutable" not in headers.get("cache-control", ""):
        found.fault("cache-control", f"{answer.url}: {headers.get('cache-control')}")


@contextmanager
def _faults(found: Watched, where: str) -> Iterator[None]:
    try:
        yield
    except (BadBytes, IndexError) as fault:
        found.fault("bytes", f"{where}: {fault}")


def _check_track(track: Track, found: Watched) -> None:
    check_media_bytes(track, found.fault)


def check_media_bytes(track: Track, fault: Callable[[str, str], None]) -> None:
    """What a rendition's bytes say against what its playlists said: codecs, picture size, frame
    rate, durations, where each segment begins, and which parts can be decoded alone."""
    codecs = track.attributes.get("CODECS", "").split(",")
    for uri, init in track.inits.items():
        if "CODECS" in track.attributes and not any(same_codec(c, init.codec) for c in codecs):
            fault("codecs", f"{uri} is {init.codec}, CODECS={','.join(codecs)}")
        size = track.attributes.get("RESOLUTION")
        if size is not None and init.kind == "video" and size != f"{init.width}x{init.height}":
            fault("resolution", f"{uri} is {init.width}x{init.height}, not {size}")
    before: tuple[Segment, int, Init] | None = None
    frames, length = 0, Fraction(0)
    for msn in sorted(track.fragments):
        segment, fragments = track.segments[msn], track.fragments[msn]
        init = track.inits.get(segment.init)
        if init is None:
            continue
        scale = init.timescale
        ticks = sum(fragment.duration for fragment in fragments)
        off = abs(Fraction(ticks, scale) - segment.duration)
        # A playlist may round to milliseconds.
        if off > Fraction(1, 1000):
            fault("extinf", f"segment {msn}: {float(segment.duration)} s, {ticks}/{scale} in bytes")
        at = fragments[0].start
        for fragment in fragments:
            if fragment.start != at:
                fault("tfdt", f"segment {msn}: a fragment at {fragment.start}, not {at}")
            at = fragment.start + fragment.duration
        if before is not None:
            last, end, last_init = before
            goes_on = last.msn + 1 == msn and last.dseq == segment.dseq
            if goes_on and last_init is init and fragments[0].start != end:
                fault("tfdt", f"segment {msn} begins at {fragments[0].start}, not {end}")
        before = segment, at, init
        _check_part_bytes(track, segment, init, fault)
        frames += sum(fragment.samples for fragment in fragments)
        length += Fraction(ticks, scale)
    rate = track.attributes.get("FRAME-RATE")
    if rate is not None and length > 2:
        measured = frames / length
        if abs(measured - Fraction(rate)) > Fraction(rate) / 50:
            fault("frame-rate", f"{rate} is said, {float(measured):.3f} measured")


def _check_part_bytes(
    track: Track, segment: Segment, init: Init, fault: Callable[[str, str], None]
) -> None:
    for part in segment.parts:
        data = track.parts.get(part.uri)
        if data is None:
            continue
        try:
            fragments = read_fragments(data)
        except BadBytes as why:
            fault("bytes", f"part {part.uri}: {why}")
            continue
        ticks = sum(fragment.duration for fragment in fragments)
        if abs(Fraction(ticks, init.timescale) - part.duration) > Fraction(1, 1000):
            fault("part-duration", f"{part.uri}: {float(part.duration)} s, {ticks} ticks in bytes")
        if part.independent and not fragments[0].sync:
            fault("independent", f"{part.uri} does not begin with a keyframe")


def _check_bandwidth(found: Watched) -> None:
    """Measured bit rates against BANDWIDTH (4.4.6.2): sets of segments of 0.5 to 1.5 targets."""
    if found.multivariant is None:
        return
    sounds = 0.0
    for media in found.multivariant.media:
        track = found.tracks.get(media.get("URI", ""))
        if track is not None:
            sounds = max(sounds, peak_bps(track))
    for stream in found.multivariant.streams:
        _check_stream_bandwidth(found, stream, sounds)


def _check_stream_bandwidth(found: Watched, stream: Stream, sounds: float) -> None:
    track = found.tracks[stream.uri]
    stated = int(stream.attributes.get("BANDWIDTH", "0"))
    peak = peak_bps(track)
    if any(init.kind == "audio" for init in track.inits.values()):
        sounds = 0.0
    if "AUDIO" in stream.attributes:
        peak += sounds
    if peak > stated * _BANDWIDTH_SLACK:
        found.fault("bandwidth", f"{stream.uri}: {peak:.0f} bit/s measured, {stated} said")


def peak_bps(track: Track) -> float:
    """The peak segment bit rate of what was fetched, in bits a second."""
    target = track.playlist.target if track.playlist else 0
    peak = 0.0
    order = sorted(track.sizes)
    for place in range(len(order)):
        size, length = 0, Fraction(0)
        for msn in order[place:]:
            size += track.sizes[msn]
            length += track.segments[msn].duration
            if length > Fraction(3, 2) * target:
                break
            if length >= Fraction(1, 2) * target:
                peak = max(peak, float(size * 8 / length))
    return peak


__all__ = ["AUDIO_CODECS", "Track", "Watched", "check_media_bytes", "inspect_archive",
           "peak_bps", "read_media", "watch"]  # fmt: skip

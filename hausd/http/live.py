"""Answers about the live edge: ``/live/<room>/…``.

A playlist is rendered once for each change, whoever asks: everyone gets the same Response object.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import trio

from hausd.core.gating import Withheld
from hausd.core.live import FileRange, Flow, LivePlaylist, Media, RoomState, Sealed, Variant
from hausd.http.directives import (
    BadDirectives,
    Directives,
    is_reached,
    is_too_far,
    parse_directives,
)
from hausd.http.messages import (
    Accounting,
    Answer,
    Body,
    Chunks,
    Fetch,
    Request,
    Response,
    Wait,
    refusal,
)
from hausd.http.ports import LiveView, RoomView
from hausd.http.sharing import OURS_ONLY, Headers, Sharing
from hausd.wire.hls import PLAYLIST_TYPE, multivariant_playlist
from hausd.wire.hls_live import BLOCK_TARGETS, LiveRenderer, goes_on_with_keyframes, report_of
from hausd.wire.hls_names import InitName, PartName, SegmentName, parse_media_name

_CONTENT_TYPE = (b"content-type", PLAYLIST_TYPE.encode())
_START_WAIT_S = 8.0
"""For the first parts of a room whose encoder has just connected."""
_COMPLETE_WAIT_S = 2.0
"""For the slowest rendition's first part, before players choose without it."""
_FIRST_SEGMENT_MAX_S = 9.0
"""For a stream's first segment: hls.js (1.7) gives up a playlist that is not there after 10 s."""
_RETURN_TARGETS = 0.6
"""In target durations, for an encoder that is gone. hls.js (1.7) takes a playlist that was held
for 0.8 of them for lost."""
_LOOK_AGAIN_S = 0.25
_RETRY = (b"retry-after", b"2")
_MAX_TRACKS = 1024
_SMALL_BYTES = 64 * 1024
_MAX_SMALL = 256
_WITHHELD_STATUS = {"not-here": 404, "broken": 502}


class LiveAnswers:
    """Keeps what was rendered, for at most ``_MAX_TRACKS`` renditions (then it begins anew)."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], _Track] = {}
        self._rooms: dict[str, _Choice] = {}
        self._small: OrderedDict[tuple[str, str, str], tuple[Media, Response]] = OrderedDict()

    def multivariant(self, room: RoomView, sharing: Sharing) -> Answer:
        """``/live/<room>/index.m3u8``."""
        variants = room.variants()
        if not variants:
            return self._nothing_yet(room, sharing)
        choice = self._rooms.get(room.id)
        if choice is None or choice.sharing != sharing:
            if len(self._rooms) >= _MAX_TRACKS:
                self._rooms.clear()
            choice = self._rooms[room.id] = _Choice(sharing)
        response = choice.response(room, variants)
        names = _names(variants)
        if names <= choice.complete or not _missing(room):
            choice.complete |= names
            return response

        async def complete() -> None:
            # A player reads this once: what is not in it now, such as the sound, it never gets.
            with trio.move_on_after(_COMPLETE_WAIT_S):
                await _until(room, lambda: not _missing(room))
            choice.complete |= _names(room.variants())

        return Wait(complete, 2 * _COMPLETE_WAIT_S, response)

    def _nothing_yet(self, room: RoomView, sharing: Sharing) -> Answer:
        """No rendition can be played.

        A room that nobody streams into is not found rather than waited for: it may begin in days.
        Retry-After tells players that ask again when to. Where an encoder is there, or may come
        back any moment, the first parts are waited for.
        """
        if room.state in (RoomState.LIVE, RoomState.WAITING):
            later = refusal(
                503,
                "not-begun",
                "The stream is about to begin.",
                "Try again in a moment.",
                (*sharing.errors(), _RETRY),
            )

            async def playable() -> None:
                going = (RoomState.LIVE, RoomState.WAITING)
                await _until(room, lambda: bool(room.variants()) or room.state not in going)

            return Wait(playable, _START_WAIT_S, later)
        if room.state is RoomState.CREATED:
            hint = "Try again once the encoder publishes."
        else:
            hint = f"What was recorded is at /archive/{room.id}/index.m3u8."
        return refusal(404, "not-live", "The room is not live.", hint, (*sharing.errors(), _RETRY))

    def playlist(
        self, room: RoomView, view: LiveView, request: Request, sharing: Sharing
    ) -> Answer:
        """``/live/<room>/<rendition>/index.m3u8``, held back as its directives say."""
        playlist = view.playlist()
        track = self._track(room, view, playlist.rendition.name, sharing)
        if not playlist.segments:
            return self._first_part(view, playlist, sharing)
        query = request.query
        if not query and _has_segment(playlist):
            return track.response(playlist, delta=False, held=False)
        directives = parse_directives(query)
        if isinstance(directives, BadDirectives):
            hint = "See RFC 8216bis, section 6.2.5."
            return refusal(400, "bad-directive", directives.message, hint, sharing.errors())
        msn, part = directives.msn, directives.part
        if msn is None:
            if not _has_segment(playlist):
                return Fetch(lambda: self._first_segment(track, view))
            return track.response(playlist, delta=directives.skip, held=False)
        if is_reached(playlist, msn, part):
            return track.response(playlist, delta=directives.skip, held=not playlist.ended)
        if is_too_far(playlist, msn, part):
            edge_msn, edge_part = playlist.edge()
            return refusal(
                400,
                "too-far",
                f"The playlist is at segment {edge_msn}, part {edge_part}; this is far ahead.",
                "Ask for what follows the playlist's end.",
                sharing.errors(),
            )
        return Fetch(lambda: self._held(track, view, playlist, directives, sharing))

    async def _held(
        self,
        track: _Track,
        view: LiveView,
        playlist: LivePlaylist,
        directives: Directives,
        sharing: Sharing,
    ) -> Response:
        """The playlist as soon as it holds what was asked for.

        When the run ends meanwhile, players are told at once (hls.js needs to know before the
        next run begins). While nobody publishes, the unchanged playlist comes before they take
        it for lost: the stream may go on any moment, and players give up after a few 503.
        """
        assert directives.msn is not None
        msn, part = directives.msn, directives.part
        told = playlist.between_runs
        patience = _RETURN_TARGETS if told else BLOCK_TARGETS
        with trio.move_on_after(patience * playlist.target_s):
            while not is_reached(playlist, msn, part) and (told or not playlist.between_runs):
                told = playlist.between_runs
                await view.changed(playlist.version)
                playlist = view.playlist()
        playlist = view.playlist()
        reached = is_reached(playlist, msn, part)
        if not reached and not playlist.between_runs:
            return refusal(
                503,
                "not-in-time",
                "The stream did not go on in time.",
                "Try again.",
                (*sharing.errors(), (b"retry-after", b"1")),
            )
        return track.response(playlist, delta=directives.skip, held=reached and not playlist.ended)

    async def _first_segment(self, track: _Track, view: LiveView) -> Response:
        """What a player gets first, in the first seconds of a stream: not without a segment.

        FFmpeg takes a playlist of parts alone for one of a stream that isn't there, hls.js for an
        error. Who knows of parts asks for them by directives, and is not held back.
        """
        playlist = view.playlist()
        longest_s = min(BLOCK_TARGETS * playlist.target_s, _FIRST_SEGMENT_MAX_S)
        with trio.move_on_after(longest_s):
            while not _has_segment(playlist):
                await view.changed(playlist.version)
                playlist = view.playlist()
        return track.response(view.playlist(), delta=False, held=False)

    def _first_part(self, view: LiveView, playlist: LivePlaylist, sharing: Sharing) -> Answer:
        later = refusal(
            503,
            "not-begun",
            "This rendition has not begun yet.",
            "Try again in a moment.",
            (*sharing.errors(), _RETRY),
        )
        if playlist.ended:
            return later

        async def begun() -> None:
            now = view.playlist()
            while not now.segments and not now.ended:
                await view.changed(now.version)
                now = view.playlist()

        return Wait(begun, BLOCK_TARGETS * playlist.target_s, later)

    def media(self, room: RoomView, view: LiveView, name: str, sharing: Sharing) -> Answer:
        """``/live/<room>/<rendition>/<name>``: a part, a segment, an init, or a hinted part."""
        match parse_media_name(name):
            case PartName(session, msn, part):
                media = view.part(session, msn, part)
                if media is None:
                    return self._hinted(view, PartName(session, msn, part), sharing)
            case SegmentName(session, msn):
                media = view.segment(session, msn)
            case InitName(session, run):
                media = view.init(session, run)
            case None:
                media = None
        if media is None:
            return _gone(sharing)
        rendition = view.playlist().rendition.name
        if media.size > _SMALL_BYTES or not isinstance(media.body, tuple):
            return media_answer(room, media, sharing)
        # Small answers are put together once for everybody, so they have to be the same object.
        key = (room.id, rendition, name)
        kept = self._small.get(key)
        if kept is not None and kept[0].cid == media.cid:
            return kept[1]
        response = media_answer(room, media, sharing)
        assert isinstance(response, Response)  # its bytes are in memory
        self._small[key] = media, response
        if len(self._small) > _MAX_SMALL:
            self._small.popitem(last=False)
        return response

    def _hinted(self, view: LiveView, name: PartName, sharing: Sharing) -> Answer:
        """A part that is not there: waited for if it was hinted, until it is, or never will be."""

        def is_next(playlist: LivePlaylist) -> bool:
            last = playlist.segments[-1] if playlist.segments else None
            return (
                last is not None
                and not (playlist.between_runs or playlist.ended)
                and last.session.counter == name.session
                and (name.msn, name.part) in (playlist.edge(), playlist.hint())
            )

        playlist = view.playlist()
        if not is_next(playlist):
            return _gone(sharing)

        async def decided() -> None:
            now = view.playlist()
            while is_next(now):
                await view.changed(now.version)
                now = view.playlist()

        late = refusal(503, "not-in-time", "The part did not come in time.", "", sharing.errors())
        return Wait(decided, BLOCK_TARGETS * playlist.target_s, late)

    def _track(self, room: RoomView, view: LiveView, rendition: str, sharing: Sharing) -> _Track:
        key = (room.id, rendition)
        track = self._tracks.get(key)
        if track is None or track.view is not view or track.sharing != sharing:
            if len(self._tracks) >= _MAX_TRACKS:
                self._tracks.clear()
            track = self._tracks[key] = _Track(room, view, rendition, sharing)
        return track


def media_answer(room: RoomView, media: Media, sharing: Sharing) -> Answer:
    """Bytes that never change under their name; their CID is the ETag."""
    return body_answer(room, media, sharing.media(), sharing)


def body_answer(room: RoomView, media: Media, kept: Headers, sharing: Sharing) -> Answer:
    """The same with other words about caches. What is sealed is opened first, and never shared."""
    body = media.body
    if isinstance(body, Sealed) and sharing.open and not media.free():
        sharing, kept = OURS_ONLY, OURS_ONLY.media()
    headers = (
        (b"content-type", media.content_type.encode()),
        (b"etag", f'"{media.cid}"'.encode()),
        *kept,
    )
    if not isinstance(body, Sealed):
        return _answer(room, headers, body)
    sealed = body

    async def opened() -> Response:
        clear = await sealed.open()
        if isinstance(clear, Withheld):
            return locked(clear, sharing)
        return _answer(room, headers, clear)

    return Fetch(opened)


def _answer(
    room: RoomView, headers: Headers, clear: tuple[bytes, ...] | FileRange | Flow
) -> Response:
    body: Body = clear if not isinstance(clear, Flow) else _chunks(clear)
    return Response(200, headers, body, Accounting(room.id))


def _chunks(flow: Flow) -> Chunks:
    return Chunks(lambda: flow.pieces(0, flow.length), flow.length, flow.pieces)


def locked(withheld: Withheld, sharing: Sharing) -> Response:
    """Why something of a gated room is not to be had: never ciphertext in its place."""
    status = _WITHHELD_STATUS.get(withheld.code, 403)
    return refusal(status, withheld.code, withheld.message, withheld.hint, sharing.errors())


class _Choice:
    """A room's multivariant playlist, as last rendered."""

    def __init__(self, sharing: Sharing) -> None:
        self.complete: frozenset[str] = frozenset()
        self.sharing = sharing
        self._headers = (_CONTENT_TYPE, *sharing.changing())
        self._last: tuple[Sequence[Variant], bool] | None = None
        self._response: Response | None = None

    def response(self, room: RoomView, variants: Sequence[Variant]) -> Response:
        views = [room.live(variant.rendition.name) for variant in variants]
        independent = all(goes_on_with_keyframes(v.playlist()) for v in views if v is not None)
        if self._response is None or self._last != (variants, independent):
            self._last = variants, independent
            text = multivariant_playlist(variants, independent_segments=independent)
            self._response = Response(200, self._headers, (text.encode(),), Accounting(room.id))
        return self._response


class _Track:
    """One rendition's playlists, as last rendered."""

    def __init__(self, room: RoomView, view: LiveView, rendition: str, sharing: Sharing) -> None:
        self.view = view
        self.sharing = sharing
        self._room = room
        self._rendition = rendition
        self._renderer = LiveRenderer()
        self._headers = (_CONTENT_TYPE, *sharing.changing())
        # What was asked for is in it, and stays in it: a cache may give it to all who ask for
        # just this within its second.
        self._held_headers = (_CONTENT_TYPE, *sharing.changing(1))
        self._account = Accounting(room.id, watches=True)
        self._version = -1
        self._others: list[LiveView] = []
        self._others_versions: list[int] = []
        self._responses: dict[tuple[bool, bool], Response] = {}

    def response(self, playlist: LivePlaylist, *, delta: bool, held: bool) -> Response:
        """``held``: it was (or could have been) waited for, and has what was asked for."""
        if playlist.version != self._version:
            self._version = playlist.version
            self._others = self._other_views()
            self._others_versions = []
        versions = [view.playlist().version for view in self._others]
        if versions != self._others_versions:
            self._others_versions = versions
            self._responses.clear()
        response = self._responses.get((delta, held))
        if response is None:
            reports = [report_of(view.playlist()) for view in self._others]
            text = self._renderer.render(
                playlist, [report for report in reports if report is not None], delta=delta
            )
            headers = self._held_headers if held else self._headers
            response = Response(200, headers, (text.encode(),), self._account)
            self._responses[delta, held] = response
        return response

    def _other_views(self) -> list[LiveView]:
        self._responses.clear()
        names = sorted(_names(self._room.variants()) - {self._rendition})
        views = (self._room.live(name) for name in names)
        return [view for view in views if view is not None]


def _has_segment(playlist: LivePlaylist) -> bool:
    """Whether players that know nothing of parts find something; or nothing more will come."""
    complete = any(segment.complete and not segment.gap for segment in playlist.segments)
    return complete or playlist.ended or playlist.between_runs


def _names(variants: Sequence[Variant]) -> frozenset[str]:
    return frozenset(variant.rendition.name for variant in variants)


def _missing(room: RoomView) -> frozenset[str]:
    """Renditions that are being made and can't be played yet."""
    active = (shape.name for shape in room.shape().renditions if shape.active)
    return frozenset(active) - _names(room.variants())


async def _until(room: RoomView, holds: Callable[[], bool]) -> None:
    while not holds():
        # A rendition's first part is no change of the room, hence the look from time to time.
        with trio.move_on_after(_LOOK_AGAIN_S):
            await room.changed()


def _gone(sharing: Sharing) -> Response:
    return refusal(
        404,
        "not-found",
        "There is no such part, segment or init at the live edge.",
        "What is older is in the archive playlist.",
        sharing.errors(),
    )

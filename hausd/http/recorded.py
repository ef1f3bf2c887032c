"""Answers about what was recorded: ``/archive/<room>/…``."""

from __future__ import annotations

import hashlib

from hausd.core.cid import CID, CIDError
from hausd.core.live import ArchivePlaylist, RoomState
from hausd.http.directives import BadDirectives, parse_directives
from hausd.http.live import body_answer, media_answer
from hausd.http.messages import Accounting, Answer, Response, refusal
from hausd.http.ports import RoomView
from hausd.http.sharing import Sharing
from hausd.wire.hls import PLAYLIST_TYPE, multivariant_playlist
from hausd.wire.hls_archive import ArchiveRenderer

_CONTENT_TYPE = (b"content-type", PLAYLIST_TYPE.encode())
_POSTER_MAX_AGE_S = 10
_MAX_TRACKS = 1024


class ArchiveAnswers:
    """Keeps what was rendered, for at most ``_MAX_TRACKS`` renditions (then it begins anew)."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[str, str], _Track] = {}

    def multivariant(self, room: RoomView, sharing: Sharing) -> Response:
        """``/archive/<room>/index.m3u8``."""
        variants = room.archive_variants()
        if not variants:
            headers = sharing.errors()
            if room.state in (RoomState.LIVE, RoomState.WAITING):
                headers += ((b"retry-after", b"5"),)
                hint = "The first segment is recorded a few seconds after the stream began."
            else:
                hint = "Nobody has streamed into this room, or it was not kept."
            return refusal(404, "nothing-recorded", "Nothing is recorded here.", hint, headers)
        text = multivariant_playlist(variants).encode()
        headers = (_CONTENT_TYPE, _etag(text), *sharing.changing())
        return Response(200, headers, (text,), Accounting(room.id))

    def playlist(
        self, room: RoomView, playlist: ArchivePlaylist, query: str, sharing: Sharing
    ) -> Response:
        """``/archive/<room>/<rendition>/index.m3u8``, or what is new in it (``_HLS_skip``)."""
        directives = parse_directives(query)
        if isinstance(directives, BadDirectives):
            return refusal(400, "bad-directive", directives.message, "", sharing.errors())
        key = (room.id, playlist.rendition.name)
        track = self._tracks.get(key)
        if track is None or track.sharing != sharing:
            if len(self._tracks) >= _MAX_TRACKS:
                self._tracks.clear()
            track = self._tracks[key] = _Track(room, sharing)
        return track.response(playlist, delta=directives.skip)

    def media(self, room: RoomView, rendition: str, name: str, sharing: Sharing) -> Answer:
        """``/archive/<room>/<rendition>/<cid>.m4s`` or ``.mp4``."""
        text, dot, ending = name.partition(".")
        try:
            cid = CID.parse(text) if dot and ending in ("m4s", "mp4") else None
        except CIDError:
            cid = None
        media = room.archive_media(rendition, cid) if cid is not None else None
        if media is None:
            return _not_here("There is no such segment or init in this recording.", sharing)
        return media_answer(room, media, sharing)

    def poster(self, room: RoomView, sharing: Sharing) -> Answer:
        """``/archive/<room>/poster.jpg``: the newest."""
        media = room.poster()
        if media is None:
            return _not_here("There is no picture of this room yet.", sharing)
        return body_answer(room, media, sharing.changing(_POSTER_MAX_AGE_S), sharing)

    def storyboard(self, room: RoomView, sharing: Sharing) -> Response:
        """``/archive/<room>/storyboard.vtt``."""
        text = room.storyboard()
        if text is None:
            return _not_here("There is no storyboard of this room yet.", sharing)
        body = text.encode()
        headers = ((b"content-type", b"text/vtt; charset=utf-8"), _etag(body))
        return Response(200, headers + sharing.changing(), (body,), Accounting(room.id))

    def sprite(self, room: RoomView, name: str, sharing: Sharing) -> Answer:
        """``/archive/<room>/<cid>.jpg``: a sheet of the storyboard."""
        media = room.sprite(name)
        if media is None:
            return _not_here("The storyboard has no such picture.", sharing)
        return media_answer(room, media, sharing)


class _Track:
    """One rendition's playlist, as last rendered."""

    def __init__(self, room: RoomView, sharing: Sharing) -> None:
        self._renderer = ArchiveRenderer()
        self.sharing = sharing
        self._account = Accounting(room.id, watches=True)
        self._playlist: ArchivePlaylist | None = None
        self._responses: dict[bool, Response] = {}

    def response(self, playlist: ArchivePlaylist, *, delta: bool) -> Response:
        if playlist is not self._playlist:
            self._playlist = playlist
            self._responses.clear()
        response = self._responses.get(delta)
        if response is None:
            body = self._renderer.render(playlist, delta=delta).encode()
            headers = (_CONTENT_TYPE, _etag(body), *self.sharing.changing())
            response = Response(200, headers, (body,), self._account)
            self._responses[delta] = response
        return response


def _etag(body: bytes) -> tuple[bytes, bytes]:
    """Hours of playlist are worth a 304."""
    return b"etag", b'"%s"' % hashlib.blake2b(body, digest_size=12).hexdigest().encode()


def _not_here(message: str, sharing: Sharing) -> Response:
    return refusal(404, "not-found", message, "", sharing.errors())

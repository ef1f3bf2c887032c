"""The door of a gated room: who gets its media from this node.

The node's owner on this machine, by a page of the node's own or the token in the room's watch URL;
and who signed in, by a playback token: in the path (``/live/<room>/t/<token>/…``, for players that
send nothing but URLs) or in a cookie. Whether the node itself has the keys is another question.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from hausd.core.ids import RoomId
from hausd.http.messages import Answer, Request, Response, Wait, refusal
from hausd.http.ports import Playback
from hausd.http.sharing import OURS_ONLY, keeps_out, may_fetch, own_page
from hausd.policy.playback import TurnedAway

_CHECK_S = 5.0
_STATUS = {TurnedAway.TOO_MANY: 429, TurnedAway.LOST: 403, TurnedAway.UNCHECKED: 503}
_SIGN_IN = "Sign in at /api/v1/sign-in with the wallet that has the ticket."
_HINTS = {
    TurnedAway.TOO_MANY: "Stop one of them; its place is free a minute later.",
    TurnedAway.ELSEWHERE: "Sign in from here: a token is for one network.",
    TurnedAway.UNCHECKED: "Try again in a moment.",
}
_NO_PLAYER = (b"vary", b"cookie, origin, sec-fetch-site")


def cookie_of(room: RoomId, node: str) -> str:
    """The name of the cookie that holds a room's token. ``node``: ``Playback.node``; a browser
    sends what nodes at other ports of this host gave it too."""
    return f"haus-{node}-{room}"


def token_of(untrusted_cookies: str, room: RoomId, node: str) -> str:
    """A room's token out of a Cookie field, or nothing.

    Cookies know no ports: whatever else serves pages under this name puts its own in there, in
    forms that no grammar has. So each is looked at by itself.
    """
    name = cookie_of(room, node)
    for pair in untrusted_cookies.split(";"):
        key, mark, value = pair.partition("=")
        if mark and key.strip() == name:
            return value.strip().strip('"')
    return ""


def token_in(names: list[str]) -> tuple[str, list[str]]:
    """The token in a room's path (split at ``/``), if any, and the path without it."""
    if len(names) > 5 and names[3] == "t":
        return names[4], [*names[:3], *names[5:]]
    return "", names


class Doorkeeper:
    """``playback`` is None where nobody can sign in."""

    def __init__(self, playback: Playback | None) -> None:
        self._playback = playback

    def keeps_out(
        self, request: Request, room: RoomId, token: str, view: str, preview: str = ""
    ) -> Answer | None:
        """What somebody gets instead of a gated room; None where they may have it.

        ``token``: the one in the path; ``view``: ``live`` or ``archive``; ``preview``: what became
        of one, in a sentence.
        """
        if foreign(request):
            return keeps_out(OURS_ONLY, request)
        playback = self._playback
        here = may_fetch(request)
        if not token and here and own_page(request):
            return None
        if playback is not None:
            if here and token and playback.owns(room, token):
                return None
            if here and not token and playback.owns(room, told := _told(request)):
                place = f"/{view}/{room}/t/{told}/index.m3u8".encode()
                return Response(307, ((b"location", place), *OURS_ONLY.media()))
            token = token or token_of(request.headers.get("cookie", ""), room, playback.node)
            if token:
                return self._by_token(playback, request, room, token)
        return refusal(
            401,
            "sign-in-needed",
            f"{preview} This room is for who has a ticket.".strip(),
            _SIGN_IN if playback is not None else "Nobody can sign in at this node.",
            (*OURS_ONLY.errors(), _NO_PLAYER),
        )

    def _by_token(
        self, playback: Playback, request: Request, room: RoomId, token: str
    ) -> Answer | None:
        away = playback.look(room, token, request.peer, request.headers.get("user-agent", ""))
        if away is None:
            return None
        answer = refusal(
            _STATUS.get(away, 401),
            away.value,
            away.words,
            _HINTS.get(away, _SIGN_IN),
            (*OURS_ONLY.errors(), _NO_PLAYER),
        )
        if away is TurnedAway.UNCHECKED:
            return Wait(lambda: playback.checked(room, token), _CHECK_S, answer)
        return answer


def foreign(request: Request) -> bool:
    """Whether a browser says that another site's page asks."""
    site = request.headers.get("sec-fetch-site", "none")
    return site not in ("none", "same-origin") or (
        "origin" in request.headers and not own_page(request)
    )


def _told(request: Request) -> str:
    return parse_qs(request.query).get("token", [""])[0]

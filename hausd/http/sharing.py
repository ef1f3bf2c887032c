"""Who may read a room, and the header fields that say so to browsers and caches.

A daemon on loopback is within reach of every page its user opens. What is open anyway may be read
by any page (CORS ``*``) and kept by any cache; the rest is for this node's own pages only.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from hausd.core.ids import RoomId
from hausd.http.messages import Request, Response, refusal
from hausd.policy.origin import BY_PROXIES, same_origin

Headers = tuple[tuple[bytes, bytes], ...]

FOR_GOOD = (b"cache-control", b"public, max-age=31536000, immutable")
_NEVER = (b"cache-control", b"private, no-store")
_READ_BY_ANYONE: Headers = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"content-length, content-range, date, etag"),
    (b"timing-allow-origin", b"*"),
)
_READ_BY_US: Headers = ((b"cross-origin-resource-policy", b"same-origin"),)
_PREFLIGHT: Headers = (
    (b"allow", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"range, if-none-match, if-range"),
    (b"access-control-max-age", b"86400"),
)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How answers are shared. ``open``: with every page, and with caches between us and them."""

    open: bool

    def readers(self) -> Headers:
        """Which pages may read it."""
        return _READ_BY_ANYONE if self.open else _READ_BY_US

    def media(self) -> Headers:
        """For bytes that never change under their URL."""
        return (*self.readers(), FOR_GOOD if self.open else _NEVER)

    def changing(self, max_age_s: int = 0) -> Headers:
        """For what changes: kept by caches for ``max_age_s``, asked for each time where 0."""
        age = b"public, max-age=%d" % max_age_s if max_age_s else b"no-cache"
        return (*self.readers(), (b"cache-control", age) if self.open else _NEVER)

    def errors(self) -> Headers:
        """For refusals (which are never cached): a page's player must be able to read them."""
        return _READ_BY_ANYONE[:1] if self.open else _READ_BY_US

    def preflight(self) -> Response:
        """The answer to OPTIONS."""
        if self.open:
            return Response(204, _READ_BY_ANYONE[:1] + _PREFLIGHT)
        return Response(204, _PREFLIGHT[:1])


OPEN = Sharing(open=True)
OURS_ONLY = Sharing(open=False)


def sharing_of(room: RoomId, *, gated: bool = False) -> Sharing:
    """Open rooms are named by a key (``k51…``); a room of an event may be gated."""
    return OPEN if room.startswith("k51") and not gated else OURS_ONLY


def own_page(request: Request) -> bool:
    """Whether a browser vouches that one of this node's own pages asks."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if origin is not None:
        return same_origin(origin, request.host) and site in (None, "same-origin")
    return site == "same-origin"


def keeps_out(sharing: Sharing, request: Request) -> Response | None:
    """Refuses what is for our own pages only to everyone else; None where it may go on.

    Without an Origin or Fetch Metadata nobody vouches for the request, so it stays outside too.
    """
    if sharing.open or own_page(request):
        return None
    return refusal(
        403,
        "not-for-other-sites",
        "This room may be watched from this node's own page only.",
        "Open the room's watch URL.",
        sharing.errors(),
    )


def may_fetch(request: Request) -> bool:
    """Whether blocks that are not here may be fetched for this request: its client is a program
    or a page of ours on this machine, not another site's page, a proxy or another gateway."""
    headers = request.headers
    if not BY_PROXIES.isdisjoint(headers):
        return False
    try:
        if not ipaddress.ip_address(request.peer).is_loopback:
            return False
    except ValueError:
        return False
    origin = headers.get("origin")
    if origin is not None and not same_origin(origin, request.host):
        return False
    # "none" is what somebody typed into the address bar
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")

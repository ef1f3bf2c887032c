"""What the two lanes and the responder say to each other: requests in, answers out.

The responder is pure (no socket, no clock): it looks at a request and the snapshots it was given
and answers at once, asks to be asked again later, or says that the request is not its own. Both
lanes (raw trio sockets, and ASGI for TLS, HTTP/2 and connections that were handed over) call the
same one. HEAD, Range and conditional requests are not its concern: see ``conditional``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from hausd.core.ids import RoomId
from hausd.core.live import FileRange
from hausd.policy.origin import BY_PROXIES

KEPT_HEADERS = BY_PROXIES | frozenset(
    (
        "accept",
        "accept-encoding",
        "authorization",
        "cookie",
        "host",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "origin",
        "range",
        "referer",
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
        "user-agent",
    )
)
"""Header fields that a ``Request`` carries; the others are checked for form and dropped."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose form was checked at the door; what it asks for is still untrusted.

    ``method`` is upper case; a responder sees GET and HEAD alike and need not tell them apart.
    ``path`` is percent-decoded UTF-8 without query, begins with ``/`` and is not normalized
    (``..`` may be in it). ``query`` is raw, without ``?``. ``headers`` holds KEPT_HEADERS by
    lower-case name; repeated fields are joined by ``", "`` (Cookie: ``"; "``). ``host`` is the
    Host field (or HTTP/2's authority) as sent, already allowed by ``policy.origin``. ``peer`` is
    the client's address without port (from a trusted proxy's X-Forwarded-For where one is
    configured).
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    version: str
    secure: bool
    peer: str
    host: str

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "https" if self.secure else "http"


@dataclass(frozen=True, slots=True)
class Chunks:
    """A body made while it is sent. ``length`` in bytes where it is known beforehand.

    A piece holds until the next is asked for. Sent whole whatever Range says, but where
    ``between`` gives the bytes from one place up to another. The generator is closed when the
    client goes away.
    """

    begin: Callable[[], AsyncGenerator[bytes | memoryview, None]]
    length: int | None = None
    between: Callable[[int, int], AsyncGenerator[bytes | memoryview, None]] | None = None


Body = tuple[bytes, ...] | FileRange | Chunks


@dataclass(frozen=True, slots=True)
class Accounting:
    """On whose account a response is sent. ``watches``: who asks for this is a viewer.

    Playlists are asked for by players only, media also by caches and downloads.
    """

    room: RoomId
    watches: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """An answer in full, as for a plain GET.

    ``headers`` have lower-case names, and ETag, Content-Type, Cache-Control, CORS and the like
    in them, but none of content-length, transfer-encoding, connection, date, accept-ranges,
    content-range and ``x-content-type-options: nosniff``: the lanes add those. Compared by
    identity: give the *same object* for the same content (per playlist version, say) and its
    bytes are put together once only.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: Body = ()
    account: Accounting | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again when ``until()`` returned (blocking playlist reload).

    All waits of one request together last at most the first one's ``deadline_s``; at its end the
    answer is ``expired``.
    """

    until: Callable[[], Awaitable[None]]
    deadline_s: float
    expired: Response


@dataclass(frozen=True, slots=True)
class Fetch:
    """The answer needs I/O (blocks from the store): it is what ``get()`` returns."""

    get: Callable[[], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class NotMine:
    """Not a path of the responder: the ASGI app answers."""


NOT_MINE = NotMine()

Answer = Response | Wait | Fetch | NotMine


class Responder(Protocol):
    """Decides what a request gets. Called in the event loop: it must not block."""

    def respond(self, request: Request) -> Answer:
        """Raises nothing that a request can bring about: refusals are Responses."""


def refusal(
    status: int,
    code: str,
    message: str,
    hint: str = "",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> Response:
    """An error answer in the API's error shape, never cached."""
    body = msgspec.json.encode({"error": {"code": code, "message": message, "hint": hint}})
    fixed = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
    return Response(status, fixed + headers, (body,))

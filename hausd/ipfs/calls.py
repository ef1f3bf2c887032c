"""One HTTP call to a service that was configured: bounded, and every failure in plain words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import httpx
import msgspec

from hausd import __version__
from hausd.core.clock import Clock
from hausd.core.foreign import UNREADABLE_JSON
from hausd.ipfs.ports import TryFailed
from hausd.policy.gateways import pause_s

MAX_ANSWER_BYTES = 1 << 20
_MAX_SAID = 200
_MAX_SECRET_BYTES = 16 * 1024
_CONNECT_S = 10.0

Secret = Callable[[], str]
"""Reads a secret anew each time, so that it can be changed. Raises TryFailed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was read whole. ``body`` is untrusted."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Raises TryFailed."""
        try:
            return msgspec.json.decode(self.body)
        except UNREADABLE_JSON:
            raise TryFailed("its answer is not JSON") from None


@asynccontextmanager
async def open_client(answer_s: float) -> AsyncIterator[httpx.AsyncClient]:
    """A client that waits so long for the next byte of an answer."""
    async with httpx.AsyncClient(
        headers={"accept-encoding": "identity", "user-agent": f"hausd/{__version__}"},
        timeout=httpx.Timeout(answer_s, connect=_CONNECT_S),
        follow_redirects=False,  # the secret is for the configured address alone
    ) as client:
        keep_no_cookies(client)
        yield client


def keep_no_cookies(client: httpx.AsyncClient) -> None:
    """Nobody here needs any, and httpx would keep all that it is ever given."""
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))


def is_plain(answer: httpx.Response) -> bool:
    """Whether an answer's bytes are as they stand: of compressed ones a few hundred make hundreds
    of megabytes before anybody counts them."""
    return answer.headers.get("content-encoding", "").strip().lower() in ("", "identity")


class Caller:
    """Calls to one service."""

    def __init__(
        self, client: httpx.AsyncClient, base: str, clock: Clock, authorization: Secret
    ) -> None:
        self._client = client
        self._base = base.rstrip("/")
        self._clock = clock
        self._authorization = authorization

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        json: Any = None,
        content: AsyncIterator[bytes] | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Gives answers of 2xx and 404; raises TryFailed for every other."""
        headers = {"accept": "application/json"}
        if secret := self._authorization():
            headers["authorization"] = secret
        body: bytes | AsyncIterator[bytes] | None = content
        if json is not None:
            body = msgspec.json.encode(json)
        if body is not None:
            headers["content-type"] = content_type
        try:
            async with self._client.stream(
                method, f"{self._base}{path}", params=params, content=body, headers=headers
            ) as answer:
                received = await _bounded(answer)
                asked = pause_s(answer.headers.get("retry-after"), self._clock.now_ms() / 1000)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as fault:
            raise TryFailed(_words(fault)) from None
        status = answer.status_code
        if 200 <= status < 300 or status == 404:
            return Answer(status, received)
        raise TryFailed(_refusal(status, received, secret), asked)


async def _bounded(answer: httpx.Response) -> bytes:
    if not is_plain(answer):
        raise TryFailed("its answer is compressed, which it was asked not to be")
    received = bytearray()
    async for piece in answer.aiter_raw():
        received += piece
        if len(received) > MAX_ANSWER_BYTES:
            raise TryFailed(f"its answer is larger than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(received)


def said(untrusted: object) -> str:
    """What a service says, on one short line."""
    if not isinstance(untrusted, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in untrusted).split())[:_MAX_SAID]


def read_secret(read: Callable[[], bytes]) -> str:
    """The one line of a secret's file. Raises TryFailed."""
    try:
        raw = read()
    except OSError as fault:
        raise TryFailed(f"its token's file can't be read ({fault.strerror})") from None
    try:
        text = raw[:_MAX_SECRET_BYTES].decode("ascii").strip()
    except UnicodeDecodeError:
        raise TryFailed("its token's file holds no token") from None
    if not text or not text.isprintable():
        raise TryFailed("its token's file holds no token")
    return text


def _refusal(status: int, untrusted: bytes, secret: str) -> str:
    """Why it refused: in its own words, as the Pinning Service API and Kubo give them."""
    words = ""
    try:
        told = msgspec.json.decode(untrusted)
    except UNREADABLE_JSON:
        told = None
    if isinstance(told, dict):
        error = told.get("error")
        if isinstance(error, dict):
            parts = (said(error.get("reason")), said(error.get("details")))
            words = ": ".join(part for part in parts if part)
        words = words or said(told.get("Message")) or said(error)
    for part in (secret, secret.rpartition(" ")[2]):
        if len(part) > 3:
            words = words.replace(part, "[redacted]")
    match status:
        case 401 | 403:
            why = "it does not accept the token"
        case 402 | 409:
            why = "it asks for money, or its quota is used up"
        case 429 | 503:
            why = "it is busy"
        case _ if 300 <= status < 400:
            why = "it sends to another address, where the token must not go"
        case _:
            why = "it refuses" if status < 500 else "it failed"
    return f"{why} (HTTP {status}{', ' + words if words else ''})"


def _words(fault: Exception) -> str:
    match fault:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return "it can't be reached"
        case httpx.TimeoutException():
            return "it did not answer in time"
        case httpx.RemoteProtocolError():
            return "its answer is broken off or no HTTP"
        case _:
            return f"the connection failed ({type(fault).__name__})"

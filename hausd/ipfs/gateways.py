"""Blocks from trustless HTTP gateways, each verified against its CID before it counts.

Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/ (``?format=raw``). Redirects are
followed to the gateway's own names only, and to public addresses only, unless the gateway is on
this machine. What is sent is bounded in size and time; nothing of it is believed.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx
import structlog
import trio

from hausd import __version__
from hausd.core.cid import CID
from hausd.core.clock import Clock
from hausd.core.following import LeafMissing, SourceFailed, SourceLied
from hausd.ipfs.calls import is_plain, keep_no_cookies
from hausd.ipfs.metrics import GATEWAY_ANSWERS
from hausd.policy.gateways import MAX_REDIRECTS, is_loopback_name, is_public, pause_s, redirected
from hausd.policy.sources import MAX_UNDER_WAY

log = structlog.get_logger("hausd.ipfs")

RAW_TYPE = "application/vnd.ipld.raw"
VIA = "1.1 hausd"
"""Said with every request: a gateway of another node then gives what it has, and asks nobody in
its turn, so that nodes which are each other's gateways can't send a request round and round."""
_CONNECT_S = 5.0
_STALL_S = 10.0
"""Without a byte for so long an answer is given up."""
_ABSENT = (404, 410, 412, 504)
"""504: the gateway itself found nobody in time."""
_BUSY = (429, 503)
_REDIRECTS = (301, 302, 303, 307, 308)


class HttpGateway:
    """One gateway. Implements ``core.following.BlockSource``."""

    def __init__(self, base: str, client: httpx.AsyncClient, clock: Clock) -> None:
        parts = urlsplit(base)
        self._base = base.rstrip("/")
        self._name = parts.netloc + parts.path.rstrip("/")
        self._near = is_loopback_name(parts.hostname or "")
        self._client = client
        self._clock = clock

    @property
    def name(self) -> str:
        return self._name

    async def fetch(self, cid: CID, max_bytes: int, *, deadline_s: float) -> bytes:
        """See ``core.following.BlockSource``. Raises SourceFailed, SourceLied, LeafMissing."""
        answer = "failed"
        try:
            with trio.CancelScope(deadline=deadline_s):
                block = await self._fetch(cid, max_bytes)
                answer = "block"
                return block
            raise SourceFailed(cid, "it did not answer in time")
        except SourceLied:
            answer = "wrong"
            raise
        except SourceFailed as fault:
            log.debug("gateway-failed", gateway=self._name, because=fault.because)
            raise
        except LeafMissing:
            answer = "absent"
            raise
        finally:
            GATEWAY_ANSWERS.labels(self._name, answer).inc()

    async def _fetch(self, cid: CID, max_bytes: int) -> bytes:
        url = f"{self._base}/ipfs/{cid}?format=raw"
        try:
            for _ in range(MAX_REDIRECTS + 1):
                async with self._client.stream("GET", url) as answer:
                    if answer.status_code not in _REDIRECTS:
                        return await self._read(answer, cid, max_bytes)
                    url = await self._next(cid, url, answer.headers.get("location", ""))
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as fault:
            raise SourceFailed(cid, _words(fault)) from fault
        raise SourceFailed(cid, "it redirects again and again")

    async def _read(self, answer: httpx.Response, cid: CID, max_bytes: int) -> bytes:
        status = answer.status_code
        if status in _ABSENT:
            raise LeafMissing(cid)
        if status != 200:
            asked = pause_s(answer.headers.get("retry-after"), self._clock.now_ms() / 1000)
            why = "it is busy" if status in _BUSY else "it refuses"
            raise SourceFailed(cid, f"{why} (HTTP {status})", asked)
        if not is_plain(answer):
            raise SourceFailed(cid, "its answer is compressed, which it was asked not to be")
        untrusted = bytearray()
        async for piece in answer.aiter_raw():
            untrusted += piece
            if len(untrusted) > max_bytes:
                raise SourceFailed(cid, f"it sends more than the {max_bytes:,} bytes of a block")
        block = bytes(untrusted)
        if not cid.matches(block):
            raise SourceLied(cid)
        return block

    async def _next(self, cid: CID, at: str, untrusted_location: str) -> str:
        target = redirected(self._base, at, untrusted_location)
        if target is None:
            raise SourceFailed(cid, "it redirects to another place")
        if not self._near:
            host = urlsplit(target).hostname or ""
            try:
                found = await trio.socket.getaddrinfo(host, None)
            except OSError as fault:
                raise SourceFailed(cid, "it redirects to a name without an address") from fault
            # who answers there must have a certificate of that name besides
            if not all(is_public(str(each[4][0])) for each in found):
                raise SourceFailed(cid, "it redirects to a private address")
        return target


@asynccontextmanager
async def open_gateways(
    bases: Sequence[str], clock: Clock, tls: ssl.SSLContext | None = None
) -> AsyncIterator[list[HttpGateway]]:
    """The gateways of these URLs, each with connections of its own that are kept.

    ``tls`` says whose certificates are believed; None: those that the world believes.
    """
    async with AsyncExitStack() as stack:
        made = []
        for base in bases:
            client = httpx.AsyncClient(
                headers={
                    "accept": RAW_TYPE,
                    "accept-encoding": "identity",
                    "user-agent": f"hausd/{__version__}",
                    "via": VIA,
                },
                timeout=httpx.Timeout(_STALL_S, connect=_CONNECT_S, pool=None),
                limits=httpx.Limits(max_connections=MAX_UNDER_WAY),
                verify=tls if tls is not None else True,
                follow_redirects=False,
                # a proxy from the environment would make every look at addresses void
                trust_env=False,
            )
            keep_no_cookies(client)
            made.append(HttpGateway(base, await stack.enter_async_context(client), clock))
        yield made


def _words(fault: Exception) -> str:
    """What happened, without the URL."""
    match fault:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return "it can't be reached"
        case httpx.TimeoutException():
            return f"it sent nothing for {_STALL_S:g} s"
        case httpx.RemoteProtocolError():
            return "its answer is broken off or no HTTP"
        case _:
            return f"the connection failed ({type(fault).__name__})"

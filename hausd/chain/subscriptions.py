"""What is new on chain, as it happens: a subscription that begins anew wherever it broke off.

It tells that something happened to a program; what, is read and checked by whoever is told. So
nothing is lost in a gap: each new beginning tells as well.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import SplitResult, urlsplit, urlunsplit

import msgspec
import structlog
import trio
import trio_websocket
from solders.pubkey import Pubkey

from hausd.chain.metrics import RESUMED
from hausd.core.foreign import UNREADABLE_JSON
from hausd.telemetry import count_swallowed

PING_S = 15.0
SILENT_S = 10.0
"""A server that does not answer a ping within this time is gone."""
CONNECT_S = 10.0
MAX_MESSAGE_BYTES = 256 * 1024
_AGAIN_S, _AGAIN_MOST_S = 1.0, 60.0
log = structlog.get_logger("hausd.chain")


class _Told(msgspec.Struct):
    subscription: int
    result: msgspec.Raw = msgspec.Raw()


class _Logs(msgspec.Struct):
    err: object
    logs: list[str]


class _LogsTold(msgspec.Struct):
    value: _Logs


class Message(msgspec.Struct):
    """What a server sends: an answer to the call ``id``, or ``params`` by a ``method``."""

    id: int | None = None
    result: int | bool | None = None
    error: object = None
    method: str = ""
    params: _Told | None = None


class Broken(Exception):
    """A subscription ended; ``args[0]`` says why."""


def websocket_urls(rpc_urls: Iterable[str], *, same_port: bool = False) -> tuple[str, ...]:
    """Where the endpoints' subscriptions may be, the likeliest first.

    With a port named it is on the next one, as Solana's own node has it (source: its clients), or
    on that port, as many providers do; without one it is there. ``same_port``: it is (the embedded
    chain).
    """
    return tuple(place for url in rpc_urls for place in _places(urlsplit(url), same_port))


def _places(rpc: SplitResult, same_port: bool) -> Iterator[str]:
    scheme = "wss" if rpc.scheme == "https" else "ws"
    if rpc.port is not None and not same_port:
        host = f"[{rpc.hostname}]" if rpc.hostname and ":" in rpc.hostname else rpc.hostname
        yield urlunsplit((scheme, f"{host}:{rpc.port + 1}", rpc.path, rpc.query, ""))
    yield urlunsplit((scheme, rpc.netloc, rpc.path, rpc.query, ""))


async def tell_of(
    urls: Sequence[str],
    program: Pubkey,
    tell: Callable[[], None],
    read: Callable[[Sequence[str]], None] | None = None,
) -> None:
    """Calls ``tell`` whenever the program was named in a transaction, and at each begin and end.

    ``read`` is given the log's lines of each transaction that did not fail, before. It is for what
    is of use and may be missed: what happens in a gap is in no log that comes. Goes on until
    cancelled; pauses grow while the endpoint does not answer.
    """

    async def once(url: str) -> None:
        try:
            await _subscribed(url, program, tell, read)
        finally:
            tell()  # nobody does until it is there again

    await again_and_again(urls, once)


async def again_and_again(urls: Sequence[str], connected: Callable[[str], Awaitable[None]]) -> None:
    """Has a connection begin anew whenever it ended, until cancelled, with the first of these
    places that takes one; pauses grow while it ends soon. Whatever comes of foreign bytes ends
    it."""
    wait_s = _AGAIN_S
    while True:
        began_s = trio.current_time()
        why = ""
        for url in urls:
            why = await _connected(connected, url)
            if trio.current_time() - began_s > _AGAIN_MOST_S:
                wait_s = _AGAIN_S
                break
        RESUMED.inc()
        log.info("subscription-broken", because=why, again_in_s=wait_s)
        await trio.sleep(wait_s)
        wait_s = min(2 * wait_s, _AGAIN_MOST_S)


async def _connected(connected: Callable[[str], Awaitable[None]], url: str) -> str:
    """Why it ended."""
    try:
        await connected(url)
    except* Exception as faults:  # noqa: BLE001 the door to a server that may send anything
        # beside a cancellation too, which goes on
        count_swallowed("chain.subscription", faults)
        why = _why(faults)
    else:
        why = ""
    return why


def _why(fault: BaseException) -> str:
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return str(fault) if isinstance(fault, Broken) else type(fault).__name__


@asynccontextmanager
async def subscribing(
    url: str,
) -> AsyncIterator[tuple[trio_websocket.WebSocketConnection, Callable[[], None]]]:
    """A connection, kept alive; to call once what it is for is under way, CONNECT_S from now at
    the latest. Raises Broken, and what the library makes of foreign bytes."""
    connecting = trio_websocket.open_websocket_url(
        url, disconnect_timeout=1.0, max_message_size=MAX_MESSAGE_BYTES
    )
    with trio.CancelScope(deadline=trio.current_time() + CONNECT_S) as opening:

        def opened() -> None:
            opening.deadline = math.inf

        async with connecting as socket, trio.open_nursery() as nursery:
            nursery.start_soon(_keep_alive, socket)
            yield socket, opened
            nursery.cancel_scope.cancel()
    if opening.cancelled_caught:
        raise Broken("the endpoint does not answer")


async def _subscribed(
    url: str,
    program: Pubkey,
    tell: Callable[[], None],
    read: Callable[[Sequence[str]], None] | None,
) -> None:
    """One subscription, to its end. Raises as ``subscribing`` does."""
    async with subscribing(url) as (socket, opened):
        await _begin(socket, program)
        opened()
        tell()  # whatever happened before is read now
        while True:
            message = await message_of(socket)
            if message.method == "logsNotification":
                if read is not None and message.params is not None:
                    read(_lines_of(message.params))
                tell()


def _lines_of(untrusted: _Told) -> Sequence[str]:
    try:
        told = msgspec.json.decode(untrusted.result, type=_LogsTold).value
    except UNREADABLE_JSON:
        raise Broken("the endpoint sends logs that are none") from None
    return told.logs if told.err is None else ()


async def _begin(socket: trio_websocket.WebSocketConnection, program: Pubkey) -> None:
    asked = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "logsSubscribe",
        "params": [{"mentions": [str(program)]}, {"commitment": "confirmed"}],
    }
    await socket.send_message(msgspec.json.encode(asked).decode())
    answer = await message_of(socket)
    if answer.id != 1 or type(answer.result) is not int:
        raise Broken("the endpoint does not subscribe")


async def message_of(socket: trio_websocket.WebSocketConnection) -> Message:
    """The next message. Raises Broken, and what the library does."""
    untrusted = await socket.get_message()
    try:
        return msgspec.json.decode(untrusted, type=Message)
    except UNREADABLE_JSON:
        raise Broken("the endpoint sends what is no JSON-RPC") from None


async def _keep_alive(socket: trio_websocket.WebSocketConnection) -> None:
    while True:
        await trio.sleep(PING_S)
        with trio.fail_after(SILENT_S):
            await socket.ping()

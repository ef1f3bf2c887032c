"""What happens on chain is told at once, and after every break."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio_websocket
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from trio.testing import MockClock

from hausd.chain.subscriptions import tell_of, websocket_urls
from hausd.chain.watching import MAX_WATCHED, AccountWatch
from tests.support.chain import SOL, Running, running_chain


class Told:
    """Counts, and lets a test wait for a count."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1

    async def reaches(self, count: int) -> None:
        with trio.fail_after(200):
            while self.count < count:
                await trio.sleep(0.05)


async def _pay(chain: Running, payer: Keypair) -> None:
    transfer = await chain.transfer(payer, Keypair().pubkey(), SOL)
    await chain.client.send_transaction(transfer)


async def test_a_transaction_is_told_when_it_happens(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain") as chain, trio.open_nursery() as nursery:
        payer = await chain.rich()
        told = Told()
        nursery.start_soon(tell_of, [chain.ws_url], payer.pubkey(), told)
        await told.reaches(1)  # it has begun: what was before is to be read now
        await _pay(chain, payer)
        await told.reaches(2)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def breakable(port: int) -> AsyncIterator[tuple[str, list[trio.SocketStream]]]:
    """A way to a chain's WebSocket: its URL, and the connections that came over it."""
    came: list[trio.SocketStream] = []

    async def passes(stream: trio.SocketStream) -> None:
        came.append(stream)
        upstream = await trio.open_tcp_stream("127.0.0.1", port)
        async with upstream, trio.open_nursery() as pipes:
            pipes.start_soon(_pipe, stream, upstream, pipes.cancel_scope)
            pipes.start_soon(_pipe, upstream, stream, pipes.cancel_scope)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, passes, listeners)
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", came
        nursery.cancel_scope.cancel()


async def test_a_broken_subscription_begins_anew_and_says_so(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    mock_clock.rate = 10
    async with (
        running_chain(tmp_path / "chain") as chain,
        breakable(chain.port) as (url, came),
        trio.open_nursery() as nursery,
    ):
        payer = await chain.rich()
        told = Told()
        nursery.start_soon(tell_of, [url], payer.pubkey(), told)
        await told.reaches(1)
        await came[-1].aclose()
        await told.reaches(2)
        await _pay(chain, payer)
        await told.reaches(3)
        nursery.cancel_scope.cancel()


class ToldOf:
    """Which accounts a watch told of."""

    def __init__(self) -> None:
        self.counts: Counter[Pubkey] = Counter()

    def __call__(self, account: Pubkey) -> None:
        self.counts[account] += 1

    async def reaches(self, account: Pubkey, count: int) -> None:
        with trio.fail_after(200):
            while self.counts[account] < count:
                await trio.sleep(0.05)


async def test_watched_accounts_are_told_of_when_they_change_and_no_others(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain") as chain, trio.open_nursery() as nursery:
        mine, later, others = [await chain.rich() for _ in range(3)]
        told = ToldOf()
        watch = AccountWatch([chain.ws_url], told)
        nursery.start_soon(watch.run)
        watch.watch([mine.pubkey()])
        await told.reaches(mine.pubkey(), 1)  # what was before is to be read now
        await _pay(chain, others)
        await _pay(chain, mine)
        await told.reaches(mine.pubkey(), 2)
        watch.watch([later.pubkey()])
        await told.reaches(later.pubkey(), 1)
        await _pay(chain, mine)
        await _pay(chain, later)
        await told.reaches(later.pubkey(), 2)
        assert told.counts == {mine.pubkey(): 2, later.pubkey(): 2}
        nursery.cancel_scope.cancel()


async def test_a_watch_goes_on_after_a_break_with_what_is_watched_then(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    mock_clock.rate = 10
    async with (
        running_chain(tmp_path / "chain") as chain,
        breakable(chain.port) as (url, came),
        trio.open_nursery() as nursery,
    ):
        mine = await chain.rich()
        told = ToldOf()
        watch = AccountWatch([url], told)
        nursery.start_soon(watch.run)
        assert not came, "nobody is asked while nothing is watched"
        watch.watch([mine.pubkey()])
        await told.reaches(mine.pubkey(), 1)
        await came[-1].aclose()
        await told.reaches(mine.pubkey(), 2)
        await _pay(chain, mine)
        await told.reaches(mine.pubkey(), 3)
        nursery.cancel_scope.cancel()


async def test_no_more_accounts_are_watched_than_an_endpoint_bears(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain") as chain, trio.open_nursery() as nursery:
        accounts = [Keypair().pubkey() for _ in range(2 * MAX_WATCHED)]
        told = ToldOf()
        watch = AccountWatch([chain.ws_url], told)
        nursery.start_soon(watch.run)
        watch.watch(accounts)
        for account in accounts[:MAX_WATCHED]:
            await told.reaches(account, 1)
        assert len(told.counts) == MAX_WATCHED
        nursery.cancel_scope.cancel()


_NOTICE = '{"method":"accountNotification","params":{"subscription":%s,"result":{}}}'


@pytest.mark.parametrize(
    "says",
    [
        "",
        "[]",
        '{"params":{"subscription":"x"}}',
        _NOTICE % 7,
        _NOTICE % -1,
        '{"id":77,"result":7}',
        '{"id":2,"result":true}',
        '{"id":1,"result":7}\n{"id":2,"result":7}',
    ],
)
async def test_a_server_that_says_anything_tells_of_nothing_that_is_not_watched(
    says: str, mock_clock: MockClock
) -> None:
    mock_clock.rate = 50
    accounts = [Keypair().pubkey() for _ in range(2)]
    told, connections = ToldOf(), 0

    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        nonlocal connections
        connections += 1
        async with await request.accept() as socket:
            for _ in accounts:
                await socket.get_message()
            for line in says.splitlines():
                await socket.send_message(line)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None)
        watch = AccountWatch([f"ws://127.0.0.1:{server.port}/"], told)
        nursery.start_soon(watch.run)
        watch.watch(accounts)
        with trio.fail_after(500):
            while connections < 3:
                await trio.sleep(0.1)
        assert set(told.counts) <= set(accounts)
        nursery.cancel_scope.cancel()


async def _pipe(
    source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, scope: trio.CancelScope
) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 500 no\r\n\r\n", b"\x00" * 100])
async def test_an_endpoint_that_does_not_subscribe_is_tried_again(
    says: bytes, mock_clock: MockClock
) -> None:
    mock_clock.rate = 50
    tries = 0

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal tries
        tries += 1
        try:
            await stream.receive_some()
            if says:
                await stream.send_all(says)
            else:
                await trio.sleep_forever()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, listeners)
        port = listeners[0].socket.getsockname()[1]
        told = Told()
        nursery.start_soon(tell_of, [f"ws://127.0.0.1:{port}/"], Keypair().pubkey(), told)
        with trio.fail_after(500):
            while tries < 3:
                await trio.sleep(0.1)
        assert 1 <= told.count <= tries  # as long as it tells nothing, each try does
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("rpc", "websockets"),
    [
        ("https://api.devnet.solana.com", ("wss://api.devnet.solana.com",)),
        ("https://rpc.example/v1?key=1", ("wss://rpc.example/v1?key=1",)),
        ("http://127.0.0.1:8899", ("ws://127.0.0.1:8900", "ws://127.0.0.1:8899")),
        ("http://[::1]:8899/", ("ws://[::1]:8900/", "ws://[::1]:8899/")),
    ],
)
def test_subscriptions_are_where_solanas_clients_look_for_them_or_where_answers_are(
    rpc: str, websockets: tuple[str, ...]
) -> None:
    assert websocket_urls([rpc]) == websockets
    (there,) = websocket_urls([rpc], same_port=True)
    assert there.removeprefix("ws") == rpc.removeprefix("http")


async def test_what_does_not_take_subscriptions_is_passed_over(tmp_path: Path) -> None:
    """A provider with one port for all, and a second endpoint for when the first is down."""

    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")

    async with running_chain(tmp_path / "chain") as chain, trio.open_nursery() as nursery:
        payer = await chain.rich()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, refuse, listeners)
        refusing = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
        closed = f"ws://127.0.0.1:{_unused_port()}/"
        told, of_account = Told(), ToldOf()
        places = [closed, refusing, chain.ws_url]
        nursery.start_soon(tell_of, places, payer.pubkey(), told)
        watch = AccountWatch(places, of_account)
        nursery.start_soon(watch.run)
        watch.watch([payer.pubkey()])
        await told.reaches(3)  # each try that fails tells as well
        await of_account.reaches(payer.pubkey(), 1)
        await _pay(chain, payer)
        await told.reaches(4)
        await of_account.reaches(payer.pubkey(), 2)
        nursery.cancel_scope.cancel()


def _unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

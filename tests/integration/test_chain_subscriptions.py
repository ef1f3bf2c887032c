"""What happens on chain is told at once, and after every break."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from solders.keypair import Keypair
from trio.testing import MockClock

from hausd.chain.subscriptions import tell_of, websocket_url
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
        nursery.start_soon(tell_of, chain.ws_url, payer.pubkey(), told)
        await told.reaches(1)  # it has begun: what was before is to be read now
        await _pay(chain, payer)
        await told.reaches(2)
        nursery.cancel_scope.cancel()


async def test_a_broken_subscription_begins_anew_and_says_so(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    mock_clock.rate = 10
    breaks: list[trio.SocketStream] = []

    async def passes(upstream_port: int, stream: trio.SocketStream) -> None:
        breaks.append(stream)
        upstream = await trio.open_tcp_stream("127.0.0.1", upstream_port)
        async with upstream, trio.open_nursery() as pipes:
            pipes.start_soon(_pipe, stream, upstream, pipes.cancel_scope)
            pipes.start_soon(_pipe, upstream, stream, pipes.cancel_scope)

    async with running_chain(tmp_path / "chain") as chain, trio.open_nursery() as nursery:
        payer = await chain.rich()
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, partial(passes, chain.port), listeners)
        port = listeners[0].socket.getsockname()[1]
        told = Told()
        nursery.start_soon(tell_of, f"ws://127.0.0.1:{port}/", payer.pubkey(), told)
        await told.reaches(1)
        await breaks[-1].aclose()
        await told.reaches(2)
        await _pay(chain, payer)
        await told.reaches(3)
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
        nursery.start_soon(tell_of, f"ws://127.0.0.1:{port}/", Keypair().pubkey(), told)
        with trio.fail_after(500):
            while tries < 3:
                await trio.sleep(0.1)
        assert 1 <= told.count <= tries  # as long as it tells nothing, each try does
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("rpc", "websocket"),
    [
        ("https://api.devnet.solana.com", "wss://api.devnet.solana.com"),
        ("https://rpc.example/v1?key=1", "wss://rpc.example/v1?key=1"),
        ("http://127.0.0.1:8899", "ws://127.0.0.1:8900"),
        ("http://[::1]:8899/", "ws://[::1]:8900/"),
    ],
)
def test_subscriptions_are_where_solanas_clients_look_for_them(rpc: str, websocket: str) -> None:
    assert websocket_url(rpc) == websocket
    assert websocket_url(rpc, same_port=True).removeprefix("ws") == rpc.removeprefix("http")

"""The faults of py-libp2p 0.8.1: there in the stock library, gone here.

docs/decisions/0011-p2p.md lists them. Each test does the same to a program of stock py-libp2p and
to a host of ours.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from support.hosts import LOOPBACK, host, seed_of
from support.rawpeer import RST, SYN, WINDOW, RawPeer, frame, lives, raw_peer, rpc

from hausd.core.keys import SigningKey
from hausd.core.peers import HostSettings, PeerId, PeerStream, Verdict
from hausd.p2p import Host
from hausd.wire import gossip_rpc as codec
from hausd.wire.gossip_rpc import Rpc

STOCK = [sys.executable, "-P", str(Path(__file__).parents[1] / "support" / "stock_libp2p.py")]
MESHSUB = "/meshsub/1.1.0"


async def stock_says(*arguments: str) -> dict[str, Any]:
    """What became of it; nothing where it got stuck, as it sometimes does."""
    with trio.move_on_after(40):
        done = await trio.run_process([*STOCK, *arguments], capture_stdout=True)
        result: dict[str, Any] = json.loads(done.stdout)
        return result
    return {}


class Victim:
    """A node that is attacked."""

    def __init__(self, address: str, look: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self.address = address
        self.look = look


@asynccontextmanager
async def stock(*options: str) -> AsyncIterator[Victim]:
    process = await trio.lowlevel.open_process(
        [*STOCK, "serve", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    lines = bytearray()

    async def line() -> dict[str, Any]:
        assert process.stdout is not None
        while b"\n" not in lines:
            lines.extend(await process.stdout.receive_some() or b"{}\n")
        text, _, rest = bytes(lines).partition(b"\n")
        lines[:] = rest
        result: dict[str, Any] = json.loads(text)
        return result

    async def look() -> dict[str, Any]:
        assert process.stdin is not None
        await process.stdin.send_all(b"\n")
        return await line()

    try:
        with trio.fail_after(30):
            yield Victim((await line())["address"], look)
    finally:
        process.kill()
        await process.wait()


async def echo(stream: PeerStream) -> None:
    while received := await stream.receive_some():
        await stream.send_all(received)


async def hold(stream: PeerStream) -> None:
    await trio.sleep_forever()


def accept(peer: PeerId, data: bytes) -> Verdict:
    return Verdict.ACCEPT


@asynccontextmanager
async def ours(validator: Callable[[PeerId, bytes], Verdict] = accept) -> AsyncIterator[Victim]:
    heard = 0
    async with (
        host("victim") as victim,
        victim.topic("t", validator) as topic,
        trio.open_nursery() as nursery,
    ):
        victim.handle("/echo/1", echo)
        victim.handle("/hold/1", hold)

        async def listen() -> None:
            nonlocal heard
            async for _ in topic:
                heard += 1

        async def look() -> dict[str, Any]:
            await trio.sleep(0)
            rss = psutil.Process().memory_info().rss
            return {"heard": heard, "peers": len(victim.peers()), "rss": rss}

        nursery.start_soon(listen)
        with trio.fail_after(30):
            yield Victim(victim.addresses[0], look)
        nursery.cancel_scope.cancel()


def message(seqno: int = 1, **changes: Any) -> bytes:
    """An RPC with a message of a stranger, signed and well formed but for the changes."""
    signed = codec.signed(SigningKey(seed_of("stranger")), "t", b"data", seqno.to_bytes(8, "big"))
    packed = rpc_pb2.RPC.FromString(codec.encode(Rpc(messages=[signed])))
    for name, value in changes.items():
        setattr(packed.publish[0], name, value)
    return rpc(packed.SerializeToString())


def messages(count: int) -> bytes:
    """One RPC with so many of them."""
    key = SigningKey(seed_of("stranger"))
    listed = [codec.signed(key, "t", b"data", at.to_bytes(8, "big")) for at in range(count)]
    return rpc(codec.encode(Rpc(messages=listed)))


async def not_utf8(peer: RawPeer) -> None:
    await peer.open(1, more=b"\x04\xff\xfe\xfd\n")


async def no_protobuf(peer: RawPeer) -> None:
    await peer.open(1, MESHSUB, more=rpc(b"\xff\xff\xff\xff garbage"))


async def topic_not_utf8(peer: RawPeer) -> None:
    await peer.open(1, MESHSUB, more=rpc(b"\x0a\x05\x08\x01\x12\x01\xff"))


async def bad_public_key(peer: RawPeer) -> None:
    await peer.open(1, MESHSUB, more=message(from_id=b"\x00bad", key=b"\x08\x01\x12\x03abc"))


async def good_message(peer: RawPeer) -> None:
    await peer.open(1, MESHSUB, more=message())


def raises(peer: PeerId, data: bytes) -> Verdict:
    raise ValueError("a validator's fault")


@pytest.mark.parametrize(
    ("attack", "stock_options", "validator"),
    [
        (not_utf8, (), accept),
        (no_protobuf, (), accept),
        (bad_public_key, (), accept),
        (good_message, ("--raising-validator",), raises),
    ],
    ids=["token-not-utf8", "no-protobuf", "bad-public-key", "validator-raises"],
)
async def test_no_peer_can_end_the_node(
    attack: Callable[[RawPeer], Awaitable[None]],
    stock_options: tuple[str, ...],
    validator: Callable[[PeerId, bytes], Verdict],
) -> None:
    async def survives(node: AbstractAsyncContextManager[Victim]) -> bool:
        async with node as victim:
            assert await lives(victim.address)
            async with raw_peer(victim.address) as peer:
                await attack(peer)
                await peer.drained(0.5)
            return await lives(victim.address)

    assert not await survives(stock(*stock_options))
    assert await survives(ours(validator))


async def test_a_topic_that_is_not_text_is_no_rpc() -> None:
    async with ours() as victim, raw_peer(victim.address) as peer:
        await topic_not_utf8(peer)
        await peer.drained(0.2)
        assert await lives(victim.address)


async def test_it_still_listens_after_many_connections() -> None:
    async def listens_after(node: AbstractAsyncContextManager[Victim], count: int) -> bool:
        async with node as victim:
            for _ in range(count):
                try:
                    async with raw_peer(victim.address):
                        pass
                except Exception:
                    return False
            return await lives(victim.address)

    assert not await listens_after(stock(), 300)
    assert await listens_after(ours(), 300)


async def test_both_ends_may_send_bulk_and_open_streams_at_once() -> None:
    # it takes a moment in which both read loops write: nearly every time, not each
    stuck = False
    for _ in range(4):
        if (await stock_says("deadlock")).get("done", 0) < 48:
            stuck = True
            break
    assert stuck

    done = 0

    async def drain(stream: PeerStream) -> None:
        while await stream.receive_some():
            pass

    async def push(one: Host, peer: PeerId) -> None:
        nonlocal done
        stream = await one.open_stream(peer, "/drain/1")
        for _ in range(64):
            await stream.send_all(bytes(62_500))
        await stream.send_eof()
        assert await stream.receive_some() == b""
        done += 1

    async with host("a") as a, host("b") as b:
        for each in (a, b):
            each.handle("/drain/1", drain)
        await a.connect(b.addresses[0])
        with trio.fail_after(60):
            while not b.peers():
                await trio.sleep(0.01)
            async with trio.open_nursery() as nursery:
                for _ in range(24):
                    nursery.start_soon(push, a, b.peer_id)
                    nursery.start_soon(push, b, a.peer_id)
    assert done == 48


async def test_a_peer_that_overruns_its_window_is_cut_off() -> None:
    async def overrun(node: AbstractAsyncContextManager[Victim]) -> tuple[bool, int]:
        """Whether the connection was closed, and by how much memory grew."""
        async with node as victim, raw_peer(victim.address) as peer:
            before = (await victim.look())["rss"]
            await peer.open(1, "/hold/1")
            await trio.sleep(0.5)
            closed = False
            try:
                with trio.move_on_after(10):
                    for _ in range(100):
                        await peer.send(1, bytes(1_000_000))
            except Exception:
                closed = True
            closed = closed or await peer.drained(1)
            return closed, (await victim.look())["rss"] - before

    closed, grown = await overrun(stock())
    assert not closed
    assert grown > 50_000_000
    closed, grown = await overrun(ours())
    assert closed
    assert grown < 20_000_000


async def test_a_writer_may_wait_for_a_slow_reader() -> None:
    assert (await stock_says("stalled-writer"))["broke_after_s"] < 6

    go_on = trio.Event()
    received = 0

    async def slow(stream: PeerStream) -> None:
        nonlocal received
        await go_on.wait()
        while more := await stream.receive_some():
            received += len(more)

    async with host("a") as a, host("b") as b:
        b.handle("/slow/1", slow)
        await a.connect(b.addresses[0])
        stream = await a.open_stream(b.peer_id, "/slow/1")
        with trio.move_on_after(6) as waited:
            await stream.send_all(bytes(10_000_000))
        assert waited.cancelled_caught
        go_on.set()
        with trio.fail_after(10):
            await stream.send_all(b"and it goes on")
            while not received:
                await trio.sleep(0.01)


async def test_a_silent_peer_is_dropped() -> None:
    async def peers_after(victim: Victim, silence_s: float) -> int:
        async with raw_peer(victim.address) as peer:
            await peer.open(1, "/hold/1")
            await trio.sleep(silence_s)  # reads nothing, answers no ping
            return int((await victim.look())["peers"])

    async with stock() as victim:
        assert await peers_after(victim, 8) == 1
    silent = HostSettings(listen=LOOPBACK, ping_interval_s=0.5)
    async with host("victim", silent) as quick:

        async def look() -> dict[str, Any]:
            await trio.sleep(0)
            return {"peers": len(quick.peers())}

        assert await peers_after(Victim(quick.addresses[0], look), 3) == 0


async def test_a_message_that_two_deliver_is_heard_once() -> None:
    async def heard(node: AbstractAsyncContextManager[Victim]) -> int:
        async with (
            node as victim,
            raw_peer(victim.address) as one,
            raw_peer(victim.address) as other,
        ):
            for peer in (one, other):
                await peer.open(1, MESHSUB, more=message())
            await one.drained(1)
            return int((await victim.look())["heard"])

    assert await heard(stock("--async-validator")) == 2
    assert await heard(ours()) == 1


async def test_a_forged_message_is_not_heard_and_its_bringer_pays() -> None:
    async with (
        host("victim") as victim,
        victim.topic("t", accept) as topic,
        raw_peer(victim.addresses[0]) as peer,
    ):
        await peer.open(1, MESHSUB, more=message(data=b"other") + message(seqno=2))
        with trio.fail_after(5):
            assert (await anext(topic)).data == b"data"
        (seen,) = victim.peers()
        assert seen.score < -9


async def test_a_taken_port_is_said() -> None:
    assert (await stock_says("taken-port"))["raised"] is False
    # ours: test_a_taken_port_names_the_option


async def test_no_socket_is_left_open() -> None:
    assert (await stock_says("sockets"))["left_open"] > 0
    # ours: test_leaving_closes_every_socket


async def test_a_burst_arrives_whole() -> None:
    assert (await stock_says("spam")).get("heard", 0) < 30
    async with host("a") as a, host("b") as b:
        await a.connect(b.addresses[0])
        async with a.topic("t", accept) as sender, b.topic("t", accept) as receiver:
            with trio.fail_after(10):
                while not sender.peers():
                    await trio.sleep(0.01)
                for number in range(30):
                    sender.publish(b"%d" % number)
                for number in range(30):
                    assert (await anext(receiver)).data == b"%d" % number


def test_gossip_beats_once_a_second() -> None:
    stock_default = inspect.signature(GossipSub).parameters["heartbeat_interval"].default
    assert stock_default == 120
    assert HostSettings().heartbeat_s == 1.0


async def test_streams_reset_as_soon_as_they_are_opened_leave_nothing() -> None:
    async with host("victim") as victim, raw_peer(victim.addresses[0]) as peer:
        victim.handle("/echo/1", echo)
        try:
            for number in range(1, 4000, 2):
                await peer.channel.send(
                    frame(WINDOW, SYN, number, 0) + frame(WINDOW, RST, number, 0)
                )
        except Exception:
            pass  # cut off: as good
        with trio.fail_after(5):
            assert await lives(victim.addresses[0])


async def test_what_comes_behind_a_message_that_is_rejected_is_not_judged() -> None:
    judged = 0

    def reject(peer: PeerId, data: bytes) -> Verdict:
        nonlocal judged
        judged += 1
        return Verdict.REJECT

    async with ours(reject) as victim, raw_peer(victim.address) as peer:
        await peer.open(1, MESHSUB, more=messages(15))
        await peer.drained(0.5)
    assert judged == 1

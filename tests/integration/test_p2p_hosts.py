"""Two hosts on loopback: they connect, speak over streams, and hear each other on topics."""

from __future__ import annotations

import os

import psutil
import pytest
import trio
from support.hosts import LOOPBACK, host

from hausd.core.peers import (
    Direction,
    PeerId,
    PeerStream,
    PeerUnreachable,
    ProtocolRefused,
    StreamBroken,
    Verdict,
    parse_multiaddr,
)
from hausd.p2p import ListenFailed


def accept(peer: PeerId, data: bytes) -> Verdict:
    return Verdict.ACCEPT


async def everything(stream: PeerStream) -> bytes:
    received = bytearray()
    while more := await stream.receive_some():
        received += more
    return bytes(received)


async def echo(stream: PeerStream) -> None:
    await stream.send_all(await everything(stream))


async def test_a_stream_carries_bytes_there_and_back() -> None:
    data = os.urandom(3_000_000)
    async with host("a") as a, host("b") as b:
        b.handle("/echo/1", echo)
        with trio.fail_after(20):
            assert await a.connect(b.addresses[0]) == b.peer_id
            stream = await a.open_stream(b.peer_id, "/echo/1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, data[:1_000_000])
            await stream.send_all(data[1_000_000:])
            await stream.send_eof()
            assert await everything(stream) == data
            await stream.aclose()
        (seen,) = a.peers()
        assert (seen.id, seen.direction) == (b.peer_id, Direction.OUT)
        assert seen.sent_bytes >= len(data)
        assert seen.received_bytes >= len(data)


async def test_a_protocol_that_is_not_spoken_is_said_so() -> None:
    async with host("a") as a, host("b") as b:
        with trio.fail_after(20):
            await a.connect(b.addresses[0])
            with pytest.raises(ProtocolRefused):
                await a.open_stream(b.peer_id, "/nope/1")


async def test_a_handlers_fault_resets_its_stream_only() -> None:
    async def faulty(stream: PeerStream) -> None:
        raise RuntimeError("a bug")

    async with host("a") as a, host("b") as b:
        b.handle("/faulty/1", faulty)
        b.handle("/echo/1", echo)
        with trio.fail_after(20):
            await a.connect(b.addresses[0])
            with pytest.raises(StreamBroken):  # as soon as the reset arrives
                await (await a.open_stream(b.peer_id, "/faulty/1")).receive_some()
            stream = await a.open_stream(b.peer_id, "/echo/1")
            await stream.send_all(b"still there")
            await stream.send_eof()
            assert await everything(stream) == b"still there"


async def test_a_message_is_heard_two_hops_away_from_who_delivered_it_first() -> None:
    async with host("a") as a, host("b") as b, host("c") as c:
        with trio.fail_after(20):
            await a.connect(b.addresses[0])
            await b.connect(c.addresses[0])
            async with (
                a.topic("t", accept) as at_a,
                b.topic("t", accept) as at_b,
                c.topic("t", accept) as at_c,
            ):
                while not (at_a.peers() and len(at_b.peers()) == 2 and at_c.peers()):
                    await trio.sleep(0.01)
                await trio.sleep(0.5)
                at_a.publish(b"hello")
                heard = await anext(at_b)
                assert (heard.peer, heard.data) == (a.peer_id, b"hello")
                heard = await anext(at_c)
                assert (heard.peer, heard.data) == (b.peer_id, b"hello")


async def test_a_taken_port_names_the_option() -> None:
    async with host("a") as a:
        taken = parse_multiaddr(a.addresses[0].rpartition("/p2p/")[0])
        with pytest.raises(ListenFailed, match=r"p2p\.listen: .* is taken") as failure:
            async with host("b", listen=(taken,)):
                pass
        assert "p2p.listen" in failure.value.hint


async def test_an_address_that_another_peer_answers_is_refused() -> None:
    async with host("a") as a, host("b") as b, host("c") as c:
        wrong = parse_multiaddr(b.addresses[0].replace(b.peer_id, c.peer_id))
        with trio.fail_after(20), pytest.raises(PeerUnreachable):
            await a.connect(wrong)


async def test_leaving_closes_every_socket() -> None:
    process = psutil.Process()
    before = process.num_fds()
    for _ in range(3):
        async with host("a") as a, host("b", listen=LOOPBACK * 2) as b:
            with trio.fail_after(20):
                await a.connect(b.addresses[0])
                b.handle("/echo/1", echo)
                stream = await a.open_stream(b.peer_id, "/echo/1")
                await stream.send_all(b"left open")
    assert process.num_fds() <= before


async def test_who_comes_late_to_a_topic_that_is_retained_hears_what_was_said_before() -> None:
    async with host("a") as a, host("b") as b, host("c") as c:
        with trio.fail_after(20):
            async with (
                a.topic("t", accept, retains=True) as at_a,
                b.topic("t", accept, retains=True) as at_b,
            ):
                at_a.publish(b"to nobody")
                await a.connect(b.addresses[0])
                assert (await anext(at_b)).data == b"to nobody"
                await b.connect(c.addresses[0])
                async with c.topic("t", accept) as at_c:
                    assert (await anext(at_c)).data == b"to nobody"

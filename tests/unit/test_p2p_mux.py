"""Connections over memory streams and a virtual clock."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from hausd.core.peers import PeerId, PeerUnreachable, StreamBroken
from hausd.p2p.channel import SecureChannel
from hausd.p2p.mux import LINGER_S, Mux
from hausd.p2p.muxstream import MuxStream
from hausd.p2p.rate import Bucket
from hausd.wire.noise import SealFault
from hausd.wire.yamux import Yamux


class Plain:
    """A cipher for tests: nothing is hidden, 16 bytes of tag are added."""

    def seal_into(self, plain: bytes | memoryview, into: memoryview) -> None:
        into[:] = bytes(plain) + bytes(16)

    def open(self, untrusted: bytes | memoryview) -> bytes:
        if untrusted[-16:] != bytes(16):
            raise SealFault("a message that the peer did not seal")
        return bytes(untrusted[:-16])


def refuse(stream: MuxStream) -> None:
    stream.reset()


def mux_over(stream: trio.abc.Stream, name: str, **options: object) -> Mux:
    settings: dict[str, object] = {"max_streams": 8, "ping_interval_s": 10.0, **options}
    machine = Yamux(initiator=name == "one", max_streams=8)
    channel = SecureChannel(stream, Plain())
    return Mux(channel, PeerId(name), machine, **settings)  # type: ignore[arg-type]


@asynccontextmanager
async def joined(**options: object) -> AsyncIterator[tuple[Mux, Mux, list[MuxStream]]]:
    """Two ends, and the streams that the second was offered."""
    left, right = memory_stream_pair()
    accepted: list[MuxStream] = []
    one, other = mux_over(left, "one", **options), mux_over(right, "other", **options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run, refuse)
        nursery.start_soon(other.run, accepted.append)
        yield one, other, accepted
        nursery.cancel_scope.cancel()


async def opened(one: Mux, accepted: list[MuxStream]) -> tuple[MuxStream, MuxStream]:
    stream = one.open_stream()
    while not accepted:
        await trio.sleep(0.001)
    return stream, accepted.pop()


async def test_halves_close_by_themselves(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        here, there = await opened(one, accepted)
        await here.send_all(b"ask")
        await here.send_eof()
        assert await there.receive_some() == b"ask"
        assert await there.receive_some() == b""
        await there.send_all(b"answer")
        await there.aclose()
        assert await here.receive_some(3) == b"ans"
        assert await here.receive_some() == b"wer"
        assert await here.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await here.send_all(b"more")
        await here.aclose()
        await trio.sleep(1)
        assert one.streams == 0


async def test_a_reset_reaches_both_who_read_and_who_write(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        here, there = await opened(one, accepted)

        async def read() -> None:
            with pytest.raises(StreamBroken, match="the peer reset it"):
                await here.receive_some()

        async def write() -> None:
            with pytest.raises(StreamBroken):
                await here.send_all(bytes(1_000_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(write)
            await trio.sleep(1)
            there.reset()
        with pytest.raises(StreamBroken, match="reset here"):
            await there.receive_some()


async def test_who_reads_much_at_once_gives_others_their_turn_now_and_then() -> None:
    class Carrier:
        def consumed(self, number: int, count: int, *, widen: bool = False) -> None:
            pass

    stream, frame, turns = MuxStream(Carrier(), 1), bytes(range(256)) * 250, 0  # type: ignore[arg-type]  # all that reading asks of it
    for _ in range(64):
        stream.received(frame)

    async def others() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        got = [await stream.receive_some() for _ in range(64)]
        nursery.cancel_scope.cancel()
    assert got == [frame] * 64
    assert 8 <= turns <= 20


async def test_a_silent_peer_is_dead_within_thirty_seconds(autojump_clock: MockClock) -> None:
    left, _silent = memory_stream_pair()
    mux = mux_over(left, "one")
    began = trio.current_time()
    await mux.run(refuse)
    assert trio.current_time() - began <= 30
    assert "no sign of life" in mux.ended_by


async def test_a_writer_waits_as_long_as_its_peer_lives(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        here, there = await opened(one, accepted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.send_all, bytes(1_000_000))
            await trio.sleep(3600)
            received = 0
            while received < 1_000_000:
                received += len(await there.receive_some())


async def test_one_stalled_stream_does_not_hold_up_another(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        stalled, _ = await opened(one, accepted)
        here, there = await opened(one, accepted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stalled.send_all, bytes(1_000_000))
            await trio.sleep(1)
            await here.send_all(b"through")
            assert await there.receive_some() == b"through"
            nursery.cancel_scope.cancel()


async def test_bytes_that_come_one_by_one_are_gathered(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        here, there = await opened(one, accepted)
        for number in range(5000):
            await here.send_all(bytes((number % 256,)))
        await trio.sleep(1)
        assert len(there._unread) <= 2
        received = b""
        while len(received) < 5000:
            received += await there.receive_some(999)
        assert received == bytes(number % 256 for number in range(5000))


@pytest.mark.parametrize("at_once", [1, 100], ids=["a-message-each", "many-in-a-message"])
async def test_who_cuts_bytes_very_fine_waits(at_once: int, autojump_clock: MockClock) -> None:
    # frames that nothing comes of: a window of 0 for a stream that is not there
    frame = struct.pack("!BBHII", 0, 1, 0, 1, 0)
    left, right = memory_stream_pair()
    here, there = SecureChannel(left, Plain()), mux_over(right, "other")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(there.run, refuse)
        began_s = trio.current_time()
        for _ in range(20):
            await here.send(*[frame * at_once] * (5000 // at_once))
        await trio.sleep(0.5)
        assert there.received_bytes < 20 * 5000 * 12, "it reads on in a while"
        while there.received_bytes < 20 * 5000 * 12:
            await trio.sleep(0.1)
        assert trio.current_time() - began_s > 1.5
        nursery.cancel_scope.cancel()


async def test_messages_without_a_byte_end_the_connection(autojump_clock: MockClock) -> None:
    left, right = memory_stream_pair()
    there = mux_over(right, "other")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(there.run, refuse)
        await left.send_all((b"\x00\x10" + bytes(16)) * 10_000)
        with trio.fail_after(5):
            await there.closed.wait()
    assert "without a byte" in there.ended_by


async def test_a_reader_can_be_cancelled_though_bytes_are_there(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        here, there = await opened(one, accepted)
        await here.send_all(b"abc")
        await trio.sleep(1)
        with trio.move_on_after(0) as at_once:
            await there.receive_some(1)
        assert at_once.cancelled_caught
        assert await there.receive_some() == b"abc"


async def test_a_cancelled_send_leaves_the_connection_whole(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        here, _ = await opened(one, accepted)
        with trio.move_on_after(0):
            await here.send_all(bytes(1_000_000))
        here.reset()
        other_here, other_there = await opened(one, accepted)
        await other_here.send_all(b"fine")
        assert await other_there.receive_some() == b"fine"


async def test_streams_are_bounded_both_ways(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        streams = [one.open_stream() for _ in range(8)]
        with pytest.raises(PeerUnreachable, match="8 streams"):
            one.open_stream()
        streams[0].reset()
        one.open_stream()
        await trio.sleep(1)
        assert len(accepted) <= 9


async def test_a_stream_closed_here_alone_goes_after_a_while(autojump_clock: MockClock) -> None:
    async with joined() as (one, _, accepted):
        here, _ = await opened(one, accepted)
        await here.aclose()
        await trio.sleep(1)
        assert one.streams == 1
        await trio.sleep(LINGER_S + 21)
        assert one.streams == 0


async def test_closing_breaks_its_streams_and_says_why(autojump_clock: MockClock) -> None:
    async with joined() as (one, other, accepted):
        _, there = await opened(one, accepted)
        one.close("enough")
        with pytest.raises(StreamBroken, match="the peer closed it"):
            await there.receive_some()
        await other.closed.wait()
        with pytest.raises(PeerUnreachable, match="enough"):
            one.open_stream()


async def test_a_peer_above_its_rate_is_slowed(autojump_clock: MockClock) -> None:
    left, right = memory_stream_pair()
    accepted: list[MuxStream] = []
    one = mux_over(left, "one")
    other = mux_over(right, "other", receive_rate=Bucket(100_000, 100_000, 0.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run, refuse)
        nursery.start_soon(other.run, accepted.append)
        here, there = await opened(one, accepted)
        began = trio.current_time()
        nursery.start_soon(here.send_all, bytes(1_000_000))
        received = 0
        while received < 1_000_000:
            received += len(await there.receive_some())
        # all but the burst and the last read are paid for
        assert 5 < trio.current_time() - began < 12
        nursery.cancel_scope.cancel()


async def far_apart(
    nursery: trio.Nursery, delay_s: float
) -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """Two ends of a connection whose bytes take a while, however many they are."""
    left, near = memory_stream_pair()
    far, right = memory_stream_pair()

    async def carry(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
        send, receive = trio.open_memory_channel[tuple[float, bytes]](10_000)

        async def arrive() -> None:
            async for at_s, data in receive:
                await trio.sleep_until(at_s)
                await sink.send_all(data)

        nursery.start_soon(arrive)
        async for data in source:
            await send.send((trio.current_time() + delay_s, bytes(data)))

    nursery.start_soon(carry, near, far)
    nursery.start_soon(carry, far, near)
    return left, right


async def test_a_far_peers_window_grows_until_the_line_is_full(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        left, right = await far_apart(nursery, 0.025)
        accepted: list[MuxStream] = []
        one, other = mux_over(left, "one"), mux_over(right, "other")
        nursery.start_soon(one.run, refuse)
        nursery.start_soon(other.run, accepted.append)
        here, there = await opened(one, accepted)
        began, total, received = trio.current_time(), 40_000_000, 0
        nursery.start_soon(here.send_all, bytes(total))
        while received < total:
            received += len(await there.receive_some())
        # with the first 256 KiB a round trip of 50 ms it would be 7.6 s
        assert trio.current_time() - began < 1.5
        nursery.cancel_scope.cancel()


async def test_garbage_ends_the_connection(autojump_clock: MockClock) -> None:
    left, right = memory_stream_pair()
    mux = mux_over(left, "one")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mux.run, refuse)
        await right.send_all(b"\x00\x20" + b"\xff" * 32)
    assert "did not seal" in mux.ended_by

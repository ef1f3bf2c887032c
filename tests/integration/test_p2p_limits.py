"""What strangers may take, and what becomes of those who take more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

import psutil
import pytest
import trio
from support.hosts import host
from support.rawpeer import RST, WINDOW, RawPeer, frame, lives, raw_peer

from hausd.core.keys import SigningKey
from hausd.core.peers import (
    HostLimits,
    PeerId,
    PeerStream,
    PeerUnreachable,
    StreamBroken,
    Verdict,
    parse_endpoint,
    peer_id_of,
)
from hausd.p2p import network, places, visits
from hausd.p2p.places import networks
from hausd.wire import gossip_rpc as codec
from hausd.wire.gossip_rpc import Rpc
from hausd.wire.multistream import lengthened


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(15):
        while not holds():
            await trio.sleep(0.01)


async def hold(stream: PeerStream) -> None:
    await trio.sleep_forever()


async def echo(stream: PeerStream) -> None:
    while received := await stream.receive_some():
        await stream.send_all(received)


async def test_connections_beyond_the_bound_are_closed_and_others_live_on() -> None:
    async with host("victim", limits=HostLimits(connections=3)) as victim:
        address = victim.addresses[0]
        async with raw_peer(address), raw_peer(address), raw_peer(address):
            await until(lambda: len(victim.peers()) == 3)
            with pytest.raises(Exception, match=r"ended|broke"):
                async with raw_peer(address):
                    pass
            assert len(victim.peers()) == 3
        await until(lambda: not victim.peers())
        async with raw_peer(address):
            await until(lambda: len(victim.peers()) == 1)


async def test_who_came_and_asks_nothing_makes_room_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(visits, "_STRANGER_MS", 0)
    monkeypatch.setattr(visits, "_LOOK_S", 0.05)
    async with (
        host("victim", limits=HostLimits(connections=16)) as victim,
        AsyncExitStack() as all_,
    ):
        victim.handle("/echo/1", echo)
        address = victim.addresses[0]
        busy = await all_.enter_async_context(raw_peer(address))
        await busy.open(1, "/echo/1")
        for _ in range(30):
            await all_.enter_async_context(raw_peer(address))
            await until(lambda: len(victim.peers()) <= 7)
        assert not await busy.drained(0.2), "who is being served stays"


async def test_an_address_and_a_subnet_have_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    # on loopback nobody is limited by address: here 127.0.0.1 stands for a far one
    monkeypatch.setattr(places, "networks", lambda _: ("203.0.113.7", "203.0.113.0/24"))
    for limits in (HostLimits(connections_per_address=1), HostLimits(connections_per_subnet=1)):
        async with host("victim", limits=limits) as victim:
            async with raw_peer(victim.addresses[0]):
                await until(lambda: len(victim.peers()) == 1)
                with pytest.raises(Exception, match=r"ended|broke"):
                    async with raw_peer(victim.addresses[0]):
                        pass
            await until(lambda: not victim.peers())
            assert not victim._network._places._taken


def test_connections_count_for_their_address_and_subnet() -> None:
    assert networks(parse_endpoint("/ip4/203.0.113.7/tcp/1")) == ("203.0.113.7", "203.0.113.0/24")
    assert networks(parse_endpoint("/ip6/2001:db8:1:2::3/tcp/1"))[1] == "2001:db8:1::/48"
    assert networks(parse_endpoint("/ip4/127.0.0.1/tcp/1")) == ()


async def test_who_connects_and_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "UPGRADE_S", 0.3)
    async with host("victim") as victim:
        end = parse_endpoint(victim.addresses[0])
        async with await trio.open_tcp_stream(end.host, end.port) as silent:
            with trio.fail_after(5):
                assert await silent.receive_some() == b""


async def test_who_connects_and_says_nothing_keeps_no_place_of_who_is_dialled() -> None:
    async with host("victim") as victim, host("b") as b, AsyncExitStack() as all_:
        end = parse_endpoint(victim.addresses[0])
        for _ in range(places._MAX_UPGRADING):
            await all_.enter_async_context(await trio.open_tcp_stream(end.host, end.port))
        await until(lambda: victim._network._places._upgrading >= places._MAX_UPGRADING * 3 // 4)
        with trio.fail_after(5):
            await victim.connect(b.addresses[0])


async def test_streams_beyond_the_bound_are_reset() -> None:
    async with host("a") as a, host("b", limits=HostLimits(streams_per_peer=4)) as b:
        b.handle("/hold/1", hold)
        await a.connect(b.addresses[0])
        await trio.sleep(0.2)
        opened = [await a.open_stream(b.peer_id, "/hold/1")]
        with trio.fail_after(10):
            refused = False
            while not refused:
                try:
                    opened.append(await a.open_stream(b.peer_id, "/hold/1"))
                except StreamBroken:
                    refused = True
        assert 2 <= len(opened) <= 4
        opened[0].reset()
        await trio.sleep(0.1)
        await a.open_stream(b.peer_id, "/hold/1")


async def test_a_peer_above_its_rate_is_slowed_and_loses_nothing() -> None:
    rate, burst = 1_000_000, 1_000_000
    data = bytes(range(256)) * 8192
    limits = HostLimits(bytes_per_s_per_peer=rate)
    async with host("a") as a, host("b", limits=limits) as b:
        b.handle("/echo/1", echo)
        await a.connect(b.addresses[0])
        stream = await a.open_stream(b.peer_id, "/echo/1")
        began_s, back = trio.current_time(), bytearray()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, data)
                while len(back) < len(data):
                    back += await stream.receive_some()
        assert back == data
        assert trio.current_time() - began_s >= (len(data) - burst) / rate


async def test_a_banned_peer_is_refused_until_it_is_over() -> None:
    async with host("a") as a, host("b") as b:
        await a.connect(b.addresses[0])
        await until(a.peers)
        await until(b.peers)
        b.ban(a.peer_id, 0.5, "for the test")
        await until(lambda: not a.peers() and not b.peers())
        with pytest.raises(PeerUnreachable, match="banned"):
            await b.connect(a.addresses[0])
        assert not b.peers()
        await trio.sleep(0.6)
        await a.connect(b.addresses[0])
        await until(b.peers)


async def test_a_peer_whose_messages_are_rejected_is_banned() -> None:
    def reject(peer: PeerId, data: bytes) -> Verdict:
        return Verdict.REJECT

    def accept(peer: PeerId, data: bytes) -> Verdict:
        return Verdict.ACCEPT

    async with host("a") as a, host("b") as b:
        await a.connect(b.addresses[0])
        async with a.topic("t", accept) as sender, b.topic("t", reject):
            await until(sender.peers)
            for _ in range(3):
                sender.publish(b"nonsense")
            await until(lambda: b.peers() and b.peers()[0].score < 0)
            for _ in range(12):
                if sender.peers():
                    sender.publish(b"nonsense")
                await trio.sleep(0.05)
            await until(lambda: not b.peers())
            assert b._pubsub.score(a.peer_id) < -40


async def test_a_flood_on_a_topic_is_cut_to_its_rate() -> None:
    def accept(peer: PeerId, data: bytes) -> Verdict:
        return Verdict.ACCEPT

    async with host("a") as a, host("b", limits=HostLimits(messages_per_s=10)) as b:
        await a.connect(b.addresses[0])
        async with a.topic("t", accept) as sender, b.topic("t", accept) as receiver:
            await until(sender.peers)
            heard = 0
            for number in range(200):
                sender.publish(b"%d" % number)
            with trio.move_on_after(1.5):
                async for _ in receiver:
                    heard += 1
            assert 20 <= heard <= 60


async def test_a_reader_that_falls_behind_loses_the_oldest() -> None:
    def accept(peer: PeerId, data: bytes) -> Verdict:
        return Verdict.ACCEPT

    limits = HostLimits(topic_queue=4, messages_per_s=1000)
    async with host("a") as a, host("b", limits=limits) as b:
        await a.connect(b.addresses[0])
        async with a.topic("t", accept) as sender, b.topic("t", accept) as receiver:
            await until(sender.peers)
            for number in range(10):
                sender.publish(b"%d" % number)
            await until(lambda: receiver.lost == 6)
            assert [(await anext(receiver)).data for _ in range(4)] == [b"6", b"7", b"8", b"9"]


async def test_two_that_dial_each_other_at_once_keep_one_connection() -> None:
    def accept(peer: PeerId, data: bytes) -> Verdict:
        return Verdict.ACCEPT

    for _ in range(10):
        async with (
            host("a") as a,
            host("b") as b,
            a.topic("t", accept) as at_a,
            b.topic("t", accept) as at_b,
        ):
            with trio.fail_after(15):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(a.connect, b.addresses[0])
                    nursery.start_soon(b.connect, a.addresses[0])
                await until(lambda: len(a.peers()) == len(b.peers()) == 1)
                await trio.sleep(0.05)
                assert a.peers()[0].direction != b.peers()[0].direction
                b.handle("/echo/1", echo)
                stream = await a.open_stream(b.peer_id, "/echo/1")
                await stream.send_all(b"one")
                assert await stream.receive_some() == b"one"
                await until(lambda: at_a.peers() and at_b.peers())
                at_a.publish(b"from a")
                at_b.publish(b"from b")
                assert (await anext(at_a)).data == b"from b"
                assert (await anext(at_b)).data == b"from a"


async def test_a_peer_that_lost_its_connection_is_spoken_to_on_the_next() -> None:
    async with host("victim") as victim:
        address, seed = victim.addresses[0], bytes(range(32))
        async with raw_peer(address, seed) as lost:
            await until(victim.peers)
            async with raw_peer(address, seed) as again:
                heard = b""
                with trio.fail_after(5):
                    while b"/meshsub/1.1.0" not in heard:
                        heard += await again.channel.receive()
                assert await lost.drained(5)
                assert len(victim.peers()) == 1


class Slow:
    """A watcher that takes its time to hear that a peer is gone."""

    def __init__(self, beginning: Callable[[], None] = lambda: None) -> None:
        self.told: list[str] = []
        self._beginning = beginning

    async def connected(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append("connected")

    async def disconnected(self, peer: PeerId) -> None:
        self._beginning()
        await trio.sleep(0.2)
        self.told.append("disconnected")


async def test_of_many_connections_of_one_peer_at_once_one_stays_and_a_ban_ends_it() -> None:
    async with host("victim") as victim, trio.open_nursery() as nursery:
        slow, seed = Slow(), bytes(range(32))
        victim.watch(slow)
        opened: list[RawPeer] = []

        async def come() -> None:
            async with raw_peer(victim.addresses[0], seed) as peer:
                opened.append(peer)
                await trio.sleep_forever()

        def open_here() -> int:
            return victim._network._places._open

        nursery.start_soon(come)
        await until(victim.peers)
        for _ in range(3):
            nursery.start_soon(come)
        await until(lambda: len(opened) == 4)
        await until(lambda: open_here() == 1 and len(victim.peers()) == 1)
        await until(lambda: slow.told.count("connected") == 4)
        # one is gone for all who watch before the next is there
        assert slow.told == ["connected", "disconnected"] * 3 + ["connected"]
        victim.ban(peer_id_of(SigningKey(seed).public), 60, "for the test")
        await until(lambda: not victim.peers() and open_here() == 0)
        nursery.cancel_scope.cancel()


async def test_who_is_banned_while_its_next_connection_waits_does_not_enter() -> None:
    async with host("victim") as victim:
        seed = bytes(range(32))

        def ban() -> None:
            victim.ban(peer_id_of(SigningKey(seed).public), 60, "for the test")

        victim.watch(Slow(ban))
        async with raw_peer(victim.addresses[0], seed):
            await until(victim.peers)
            async with raw_peer(victim.addresses[0], seed) as again:
                assert await again.drained(5)
        assert not victim.peers()


async def test_a_broken_stream_of_gossip_is_opened_again() -> None:
    async with host("victim") as victim, raw_peer(victim.addresses[0]) as peer:

        async def gossip_begins() -> None:
            heard = b""
            with trio.fail_after(10):
                while b"/meshsub/1.1.0" not in heard:
                    heard += await peer.channel.receive()

        await gossip_begins()
        for stream in (2, 4):  # of what it opens, one for identify and one for gossip
            await peer.channel.send(frame(WINDOW, RST, stream, 0))
        await gossip_begins()


async def test_what_a_peer_says_before_we_could_answer_counts() -> None:
    def accept(peer: PeerId, data: bytes) -> Verdict:
        return Verdict.ACCEPT

    async with (
        host("victim") as victim,
        victim.topic("t", accept) as topic,
        raw_peer(victim.addresses[0]) as peer,
    ):
        # it subscribes, and agrees to no stream of ours for a while
        subscribes = lengthened(codec.encode(Rpc(subscriptions=[(True, "t")])))
        await peer.open(1, "/meshsub/1.1.0", more=subscribes)
        await until(topic.peers)


async def test_a_thousand_connections_come_and_go_and_leave_nothing() -> None:
    async with host("victim") as victim:
        victim.handle("/echo/1", echo)
        address = victim.addresses[0]
        for _ in range(20):
            async with raw_peer(address):
                pass
        await until(lambda: not victim.peers())
        process = psutil.Process()
        files, memory = process.num_fds(), process.memory_info().rss
        tasks = trio.lowlevel.current_statistics().tasks_living
        limit = trio.CapacityLimiter(8)

        async def come_and_go(number: int) -> None:
            async with limit, raw_peer(address) as peer:
                if number % 3 == 1:
                    await peer.open(1, "/echo/1", more=b"hello")
                if number % 3 == 2:
                    await peer.channel.send(b"nonsense that is no frame")

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(1000):
                    nursery.start_soon(come_and_go, number)
        await until(lambda: not victim.peers())
        assert await lives(address)
        await until(lambda: not victim.peers())
        assert process.num_fds() <= files + 2
        assert trio.lowlevel.current_statistics().tasks_living <= tasks + 2
        assert process.memory_info().rss - memory < 30_000_000

"""A DHT of our own hosts on real sockets: what one tells, others find, also when many have died."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from support.hosts import host, seed_of
from support.peers import peer
from test_p2p_reach import all_here

from hausd.core.cid import CID
from hausd.core.keys import SigningKey
from hausd.core.peers import (
    Direction,
    PeerAddress,
    PeerId,
    PeerStream,
    StreamBroken,
    Verdict,
    parse_endpoint,
    peer_id_of,
)
from hausd.p2p import Host, lookups, visits
from hausd.p2p.kad import Dht, DhtMode, open_dht
from hausd.p2p.kad.addresses import dialable
from hausd.policy import standing
from hausd.policy.reach import Reach
from hausd.wire import ipns
from hausd.wire.kad import (
    NEAR_PROTOCOL,
    Contact,
    Kind,
    Message,
    MessageReader,
    Record,
    encode,
    ipns_key,
    provider_key,
)

BLOCK = CID.of(b"a block")
NAME = SigningKey(seed_of("name"))
YEAR_3000_NS = 32_503_680_000 * 10**9


@dataclass
class Node:
    """A host and its DHT, in a task of their own until ``die``."""

    host: Host
    dht: Dht
    scope: trio.CancelScope
    over: trio.Event

    async def die(self) -> None:
        self.scope.cancel()
        await self.over.wait()


async def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    with trio.fail_after(seconds):
        while not holds():
            await trio.sleep(0.02)


async def run(name: str, mode: DhtMode, task_status: trio.TaskStatus[Node]) -> None:
    over = trio.Event()
    try:
        with trio.CancelScope() as scope:
            async with (
                host(name, keep_peers=0) as one,
                open_dht(one, mode, rng=random.Random(name)) as dht,
            ):
                task_status.started(Node(one, dht, scope, over))
                await trio.sleep_forever()
    finally:
        over.set()


@asynccontextmanager
async def nodes(
    count: int, mode: DhtMode = DhtMode.AUTO, name: str = "node"
) -> AsyncIterator[list[Node]]:
    async with trio.open_nursery() as nursery:
        yield [await nursery.start(run, f"{name}-{number}", mode) for number in range(count)]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def ring(count: int) -> AsyncIterator[list[Node]]:
    """Each knows the next alone; the rest they learn by lookups."""
    async with nodes(count) as made:
        for one, after in zip(made, [*made[1:], made[0]], strict=True):
            await one.host.connect(after.host.addresses[0])
        await until(lambda: all(one.dht.peers >= min(8, count - 1) for one in made))
        yield made


async def found(one: Node, cid: CID, seconds: float = 10.0) -> set[PeerId]:
    there = await one.dht.find(cid, 20, deadline_s=trio.current_time() + seconds)
    return {each.peer for each in there}


async def test_providers_and_names_are_found_after_some_died() -> None:
    async with ring(24) as made:
        made[3].dht.provide(BLOCK)
        made[11].dht.provide(BLOCK)
        record = ipns.sign(NAME, "/ipfs/" + str(BLOCK), 7, YEAR_3000_NS)
        name = peer_id_of(NAME.public)
        made[3].dht.publish(name, record)
        await until(lambda: made[3].dht.held(BLOCK) and made[11].dht.held(BLOCK))
        await until(lambda: made[3].dht.held(name))
        held = made[3].dht.held(BLOCK)
        assert held is not None
        assert held.peers >= 15
        both = {made[3].host.peer_id, made[11].host.peer_id}
        assert await found(made[20], BLOCK) == both
        for dying in (0, 1, 2, 5, 6, 7, 8, 13):
            await made[dying].die()
        for one in (made[4], made[20]):
            assert await found(one, BLOCK) == both
            told = await one.dht.resolve(name, deadline_s=trio.current_time() + 10)
            assert told is not None
            assert (told.path, told.sequence) == (record.path, 7)
        assert await found(made[4], CID.of(b"nobody has this")) == set()


async def raw_ask(one: Node, other: Node, message: Message) -> Message | None:
    """What a peer answers to what no honest node of ours would say; None where it resets."""
    stream = await one.host.open_stream(other.host.peer_id, NEAR_PROTOCOL)
    reader = MessageReader(1 << 20)
    try:
        await stream.send_all(encode(message))
        await stream.send_eof()
        while data := await stream.receive_some():
            for answer in reader.feed(data):
                return answer
    except StreamBroken:
        pass
    return None


async def test_a_liar_speaks_for_itself_alone() -> None:
    async with nodes(3) as (liar, server, reader):
        await liar.host.connect(server.host.addresses[0])
        await reader.host.connect(server.host.addresses[0])
        await until(lambda: liar.dht.peers and reader.dht.peers)
        victim = Contact(peer(5), (parse_endpoint("/ip4/127.0.0.1/tcp/9"),))
        key = provider_key(BLOCK)
        await raw_ask(liar, server, Message(Kind.ADD_PROVIDER, key, providers=(victim,)))
        assert await found(reader, BLOCK) == set()
        myself = Contact(liar.host.peer_id, (parse_endpoint("/ip4/127.0.0.1/tcp/9"),))
        await raw_ask(liar, server, Message(Kind.ADD_PROVIDER, key, providers=(victim, myself)))
        assert await found(reader, BLOCK) == {liar.host.peer_id}


async def test_nobody_in_the_open_dht_sends_us_into_our_own_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookups, "_ask", all_here)
    named = Contact(
        peer(1),
        tuple(
            parse_endpoint(f"{at}/tcp/4001")
            for at in (
                "/ip4/127.0.0.1",
                "/ip4/192.168.1.1",
                "/ip6/fe80::1",
                "/dns4/far.example.org",
                "/ip4/9.9.9.9",
            )
        ),
    )
    world = frozenset((Reach.WORLD,))
    assert [str(each) for each in await dialable(named, world)] == ["/ip4/9.9.9.9/tcp/4001"]
    near = frozenset((Reach.NETWORK,))
    ends = [str(each) for each in await dialable(named, near)]
    assert ends == ["/ip4/192.168.1.1/tcp/4001", "/ip6/fe80::1/tcp/4001"], "not this machine"


async def test_forged_and_old_records_of_a_name_are_refused_and_not_believed() -> None:
    name = peer_id_of(NAME.public)
    key = ipns_key(name)
    new, old, over = (
        ipns.sign(NAME, "/ipfs/new", 2, YEAR_3000_NS),
        ipns.sign(NAME, "/ipfs/old", 1, YEAR_3000_NS),
        ipns.sign(NAME, "/ipfs/over", 3, 1),
    )
    forged = ipns.sign(SigningKey(seed_of("forger")), "/ipfs/forged", 9, YEAR_3000_NS)

    def put(value: bytes) -> Message:
        return Message(Kind.PUT_VALUE, key, Record(key, value))

    async with nodes(2) as (liar, server):
        await liar.host.connect(server.host.addresses[0])
        await until(lambda: liar.dht.peers and server.dht.peers)
        assert await raw_ask(liar, server, put(new.encoded)) == put(new.encoded)
        for wrong in (forged.encoded, old.encoded, over.encoded, b"", b"\xff" * 500):
            assert await raw_ask(liar, server, put(wrong)) is None
        told = await raw_ask(liar, server, Message(Kind.GET_VALUE, key))
        assert told is not None
        assert told.record == Record(key, new.encoded)

        async def lie(stream: PeerStream) -> None:
            await stream.receive_some()
            answer = Message(Kind.GET_VALUE, key, Record(key, forged.encoded))
            await stream.send_all(encode(answer))

        server.host.handle(NEAR_PROTOCOL, lie)
        assert await liar.dht.resolve(name, deadline_s=trio.current_time() + 10) is None


async def test_peers_that_name_ever_closer_ones_end_a_lookup_within_bounds() -> None:
    asked = 0

    async def lie(stream: PeerStream) -> None:
        nonlocal asked
        asked += 1
        await stream.receive_some()
        fresh = tuple(
            Contact(peer(random.randrange(2**40)), (parse_endpoint("/ip4/127.0.0.1/tcp/9"),))
            for _ in range(50)
        )
        await stream.send_all(encode(Message(Kind.GET_PROVIDERS, b"", closer=fresh)))

    async with nodes(2) as (one, liar):
        liar.host.handle(NEAR_PROTOCOL, lie)
        await one.host.connect(liar.host.addresses[0])
        await until(lambda: one.dht.peers)
        before = asked
        with trio.fail_after(20):
            assert await found(one, BLOCK, 15) == set()
        assert asked - before <= 2, "all others were nobody"
        assert one.dht.peers <= 1
        assert len(one.host.peers()) == 1


async def test_a_provider_whose_addresses_are_forgotten_is_looked_up() -> None:
    async with nodes(3) as (server, provider, reader):
        for one in (provider, reader):
            await one.host.connect(server.host.addresses[0])
        await until(lambda: provider.dht.peers and reader.dht.peers)

        async def forgetful(stream: PeerStream) -> None:
            (question,) = MessageReader(1000).feed(await stream.receive_some())
            names = (Contact(provider.host.peer_id),)
            known = (Contact(names[0].peer, (parse_endpoint(provider.host.addresses[0]),)),)
            asked = question.kind is Kind.GET_PROVIDERS
            await stream.send_all(
                encode(Message(question.kind, providers=names))
                if asked
                else encode(Message(question.kind, closer=known))
            )

        server.host.handle(NEAR_PROTOCOL, forgetful)
        (there,) = await reader.dht.find(BLOCK, 3, deadline_s=trio.current_time() + 10)
        assert there == PeerAddress(provider.host.peer_id, provider.host.addresses)


async def test_a_peer_that_forgot_all_is_told_again_when_it_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standing, "NEWS_S", 0.0)
    monkeypatch.setattr(standing, "FIRST_S", 0.1)
    async with nodes(2, DhtMode.CLIENT) as (provider, reader):
        provider.dht.provide(BLOCK)
        for _ in range(2):
            async with nodes(1, name="server") as (server,):
                await provider.host.connect(server.host.addresses[0])
                await reader.host.connect(server.host.addresses[0])
                with trio.fail_after(20):
                    while await found(reader, BLOCK) != {provider.host.peer_id}:
                        await trio.sleep(0.1)
            gone = server.host.peer_id
            await until(lambda gone=gone: gone not in ids(provider) + ids(reader))


@pytest.mark.parametrize("wanted_by", ["who came", "who was asked"])
async def test_who_is_only_asked_something_hears_no_gossip_until_it_is_kept(
    wanted_by: str,
) -> None:
    def accept(who: PeerId, data: bytes) -> Verdict:
        return Verdict.ACCEPT

    async with nodes(2) as (one, other):
        (end,) = map(parse_endpoint, other.host.addresses)
        async with (
            one.host.topic("t", accept) as ours,
            other.host.topic("t", accept) as theirs,
            one.host.visit(other.host.peer_id, [end]) as connection,
        ):
            await until(lambda: one.dht.peers and other.dht.peers)
            await trio.sleep(0.5)
            assert connection.visit
            assert (ours.peers(), theirs.peers(), one.host.peers()) == ([], [], [])
            if wanted_by == "who came":
                await one.host.connect(other.host.addresses[0])
            else:
                await other.host.connect(one.host.addresses[0])
            await until(lambda: ours.peers() and theirs.peers() and one.host.peers())
            theirs.publish(b"hello")
            with trio.fail_after(5):
                assert (await anext(ours)).data == b"hello"


async def test_a_client_asks_and_is_not_asked() -> None:
    async with nodes(2) as (server, other), nodes(1, DhtMode.CLIENT, "client") as (client,):
        await other.host.connect(server.host.addresses[0])
        await client.host.connect(server.host.addresses[0])
        await until(lambda: client.dht.peers == 1 and other.dht.peers == 1)
        other.dht.provide(BLOCK)
        client.dht.provide(BLOCK)
        await until(lambda: other.dht.held(BLOCK) and client.dht.held(BLOCK))
        assert await found(client, BLOCK) == {other.host.peer_id}
        assert await found(other, BLOCK) == {client.host.peer_id}
        assert server.dht.peers == 1, "nobody is sent to who doesn't answer"
        client.dht.withdraw(BLOCK)
        assert client.dht.held(BLOCK) is None


async def test_connections_of_lookups_are_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "MAX_VISITS", 4)
    async with nodes(16) as made:
        first, last = made[0], made[-1]
        for one in made[1:]:
            await one.host.connect(first.host.addresses[0])
        await until(lambda: last.dht.peers >= 10)
        last.dht.provide(BLOCK)
        await until(lambda: last.dht.held(BLOCK))
        assert await found(made[7], BLOCK) == {last.host.peer_id}
        await until(lambda: all(len(dialled(one)) <= 5 for one in made))
        assert all(first.host.peer_id in dialled(one) for one in made[1:]), "those are kept"
        assert [view.id for view in last.host.peers() if view.direction is Direction.OUT] == [
            first.host.peer_id
        ], "others were only asked something"


def ids(one: Node) -> list[PeerId]:
    return [view.id for view in one.host.peers()]


def dialled(one: Node) -> list[PeerId]:
    """Whom it has dialled, also those that it only asked something."""
    there = one.host._network.connections()
    return [each.peer for each in there if each.direction is Direction.OUT]

"""Host names that can't be looked up, told by other nodes: they lead nowhere, and harm nobody."""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from support.hosts import host
from support.peers import peer

from hausd.core import peers
from hausd.core.cid import CID
from hausd.core.clock import SystemClock
from hausd.core.peers import (
    Endpoint,
    PeerAddress,
    PeerStream,
    PeerUnreachable,
    parse_endpoint,
    parse_multiaddr,
)
from hausd.keyholding import stream_to
from hausd.p2p import Host, PeerBook, lookups, network, redial
from hausd.p2p.dialling import connect_tcp
from hausd.p2p.kad import kad
from hausd.p2p.kad.addresses import dialable
from hausd.p2p.kad.dht import Dht
from hausd.p2p.kad.kad import Kad, KadTerms, Unanswered
from hausd.p2p.metrics import DIALS_FAILED
from hausd.policy.reach import Reach
from hausd.telemetry.metrics import swallowed
from hausd.wire.kad import (
    MAX_QUESTION_BYTES,
    OPEN_PROTOCOL,
    Contact,
    Kind,
    Message,
    MessageReader,
    encode,
)

NAMES = ["a" * 64, "a..b"]
"""The system's resolver does not say that there are none: it raises UnicodeError."""


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not holds():
            await trio.sleep(0.02)


@pytest.fixture
def any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come through the first door, as if it had a hole still."""
    monkeypatch.setattr(peers, "_DNS_NAME", re.compile(r"[A-Za-z0-9._-]{1,253}"))
    monkeypatch.setattr(redial, "FIRST_S", 0.01)


async def is_well(one: Host) -> None:
    """It takes a connection still."""
    async with host("newcomer", keep_peers=0) as newcomer:
        with trio.fail_after(10):
            await newcomer.connect(one.addresses[0])
            await until(lambda: newcomer.peer_id in one.connected())


def dials_failed() -> float:
    return float(DIALS_FAILED._value.get())


@pytest.mark.usefixtures("any_name")
@pytest.mark.parametrize("name", NAMES)
async def test_who_announces_such_a_name_is_dialled_in_vain(name: str, tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    announced = parse_multiaddr(f"/dns4/{name}/tcp/4001")
    async with host("a", book=PeerBook(path)) as a:
        async with host("b", announce=(announced,), keep_peers=0) as b:
            await b.connect(a.addresses[0])
            await until(lambda: a.peers() and a.peers()[0].addresses)
            before = dials_failed()
        await until(lambda: dials_failed() > before)
        await is_well(a)
    assert name in path.read_text()
    before = dials_failed()
    async with host("a", book=PeerBook.read(path, SystemClock().now_ms())) as a:
        await until(lambda: dials_failed() > before)
        await is_well(a)


async def test_a_book_with_such_a_name_is_read_without_it(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    entries = ",".join(
        f'{{"id":"{peer(n)}","addresses":["/dns4/{name}/tcp/1/p2p/{peer(n)}"],"seen_ms":1}}'
        for n, name in enumerate(NAMES)
    )
    path.write_text(f'{{"version":1,"peers":[{entries}]}}')
    assert not PeerBook.read(path, 1).latest()


async def test_whatever_a_dialled_peer_brings_about_is_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(*_: object) -> None:
        raise ValueError("nobody thought of this")

    def counted() -> float:
        return float(swallowed.labels("p2p-connection", "ValueError")._value.get())

    async with host("a") as a, host("b") as b:
        for what in ("connect_tcp", "upgrade"):
            before = counted()
            with monkeypatch.context() as broken:
                broken.setattr(network, what, fails)
                with pytest.raises(PeerUnreachable):
                    await a.connect(b.addresses[0])
            assert counted() > before
        await is_well(a)


async def test_names_whose_servers_never_answer_take_no_threads_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = threading.Event()
    begun: list[object] = []

    def never(*_: object, **__: object) -> list[tuple[object, ...]]:
        begun.append(None)
        answer.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    far = parse_endpoint("/dns4/slow.example.org/tcp/4001")
    world = frozenset((Reach.WORLD,))
    try:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(dialable, Contact(peer(number), (far,)), world)
                nursery.start_soon(_dialled, far)
            await until(lambda: len(begun) == lookups.MAX_AT_ONCE)
            with trio.fail_after(10):
                await trio.to_thread.run_sync(begun.copy)
            nursery.cancel_scope.cancel()
        assert len(begun) == lookups.MAX_AT_ONCE, "no more of them at once"
    finally:
        answer.set()


async def _dialled(far: Endpoint) -> None:
    await connect_tcp(far, peer(1), Reach.WORLD)


@pytest.mark.usefixtures("any_name")
async def test_contacts_of_the_dht_with_such_names_are_asked_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kad, "_FIRST_REFRESH_S", 0.01)
    # what is the open DHT's in the world is this machine's too here
    everywhere = KadTerms("open", OPEN_PROTOCOL, frozenset(Reach), frozenset(Reach))
    told = tuple(
        Contact(peer(number), (parse_endpoint(f"/dns4/{name}/tcp/4001"),))
        for number, name in enumerate(NAMES)
    )
    asked: list[Kind] = []

    async def lie(stream: PeerStream) -> None:
        reader = MessageReader(MAX_QUESTION_BYTES)
        while data := await stream.receive_some():
            for question in reader.feed(data):
                asked.append(question.kind)
                answer = Message(question.kind, question.key, closer=told, providers=told)
                await stream.send_all(encode(answer))

    async with host("a") as a, host("liar") as liar:
        liar.handle(OPEN_PROTOCOL, lie)
        async with Kad(a, everywhere, SystemClock(), random.Random(1)).open() as table:
            await a.connect(liar.addresses[0])
            await until(lambda: len(table.table))
            for one in told:
                with pytest.raises(Unanswered):
                    await table.ask(one, Message(Kind.PING))
            with trio.fail_after(20):
                await table.lookup(b"key", Kind.FIND_NODE)
                # as a room is sought
                dht = Dht([table], SystemClock())
                in_time = trio.current_time() + 10
                assert not await dht.find(CID.of(b"room"), 20, deadline_s=in_time)
            await until(lambda: asked.count(Kind.FIND_NODE) >= 5)  # the table is kept fresh
            await is_well(a)


async def test_an_answer_of_the_dht_that_fails_here_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everywhere = KadTerms("open", OPEN_PROTOCOL, frozenset(Reach), frozenset(Reach))

    def fails(*_: object) -> None:
        raise KeyError("nobody thought of this")

    async def answers(stream: PeerStream) -> None:
        while data := await stream.receive_some():
            for question in MessageReader(MAX_QUESTION_BYTES).feed(data):
                await stream.send_all(encode(question))

    async with host("a") as a, host("b") as b:
        b.handle(OPEN_PROTOCOL, answers)
        async with Kad(a, everywhere, SystemClock(), random.Random(1)).open() as table:
            there = Contact(b.peer_id, (parse_endpoint(b.addresses[0]),))
            assert (await table.ask(there, Message(Kind.PING))).kind is Kind.PING
            monkeypatch.setattr(Kad, "_believable", fails)
            with pytest.raises(Unanswered):
                await table.ask(there, Message(Kind.PING))
            await is_well(a)


async def test_a_key_holder_is_asked_at_those_of_its_addresses_that_can_be_dialled() -> None:
    async def answers(stream: PeerStream) -> None:
        await stream.send_all(b"here")

    none = ("/quic", "/dns4/a..b/tcp/1", "/ip4/1.2.3.4/udp/1/quic-v1")  # a head may name any
    async with host("a") as a, host("b") as b:
        b.handle("/keys/1", answers)
        with pytest.raises(PeerUnreachable):
            async with stream_to(a, PeerAddress(b.peer_id, none), "/keys/1", Reach.MACHINE):
                pass
        told = PeerAddress(b.peer_id, (*none, b.addresses[0]))
        async with stream_to(a, told, "/keys/1", Reach.MACHINE) as stream:
            assert await stream.receive_some() == b"here"

"""Peers that are found again: after a restart, after a loss, on the local network."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from support.hosts import host
from zeroconf import DNSOutgoing, DNSPointer, NonUniqueNameException, Zeroconf, const

from hausd.core.clock import SystemClock
from hausd.core.peers import HostSettings, Multiaddr, PeerId, Verdict, parse_multiaddr
from hausd.p2p import PeerBook
from hausd.p2p.mdns import endpoints, local_peers, txt
from hausd.telemetry.metrics import swallowed


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(20):
        while not holds():
            await trio.sleep(0.02)


async def test_a_bootstrap_peer_is_dialled_again_when_it_returns() -> None:
    async with host("b") as b:
        address = b.addresses[0]
        listen = (parse_multiaddr(address.rpartition("/p2p/")[0]),)
        async with host("a", bootstrap=(address,)) as a:
            await until(a.peers)
            b.ban(a.peer_id, 0.3, "for the test")
            await until(lambda: not a.peers())
            await until(a.peers)
    async with host("a", bootstrap=(address,)) as a:
        await trio.sleep(0.5)
        assert not a.peers()
        async with host("b", listen=listen):
            await until(a.peers)


async def test_topics_go_on_after_a_reconnect() -> None:
    def accept(peer: PeerId, data: bytes) -> Verdict:
        return Verdict.ACCEPT

    async with (
        host("b") as b,
        host("a", bootstrap=b.addresses) as a,
        a.topic("t", accept) as at_a,
        b.topic("t", accept) as at_b,
    ):
        for drop in (None, a, b):
            if drop is not None:
                other = b if drop is a else a
                await drop.disconnect(other.peer_id)
                await until(lambda: not at_a.peers() and not at_b.peers())
            await until(lambda: at_a.peers() and at_b.peers())
            at_a.publish(b"from a")
            at_b.publish(b"from b")
            with trio.fail_after(10):
                assert (await anext(at_a)).data == b"from b"
                assert (await anext(at_b)).data == b"from a"


async def test_peers_are_kept_across_restarts(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    async with host("b") as b:
        async with host("a", book=PeerBook.read(path, 2**50)) as a:
            await a.connect(b.addresses[0])
            await until(lambda: a.peers() and a.peers()[0].addresses)
        assert path.exists()
        async with host("a", book=PeerBook(path)) as a:
            await trio.sleep(0.3)
            assert not a.peers()  # an empty book knows nobody
        async with host("a", book=PeerBook.read(path, SystemClock().now_ms())) as a:
            await until(lambda: [peer.id for peer in a.peers()] == [b.peer_id])


async def test_who_was_dialled_learns_where_the_other_listens() -> None:
    async with host("a") as a, host("b") as b:
        await a.connect(b.addresses[0])
        await until(lambda: b.peers() and b.peers()[0].addresses == a.addresses)
        assert a.peers()[0].addresses == b.addresses


async def test_announced_addresses_are_told_instead_of_those_bound() -> None:
    announced = parse_multiaddr("/dns4/node.example.org/tcp/4001")
    async with host("a", announce=(announced,)) as a, host("b") as b:
        assert a.addresses == (Multiaddr(f"{announced}/p2p/{a.peer_id}"),)
        await a.connect(b.addresses[0])
        await until(lambda: b.peers() and b.peers()[0].addresses == a.addresses)


async def test_a_wildcard_listener_tells_the_machines_addresses() -> None:
    everywhere = HostSettings(listen=(parse_multiaddr("/ip4/0.0.0.0/tcp/0"),), mdns=False)
    async with host("a", everywhere) as a:
        assert all("/0.0.0.0/" not in each and "/127." not in each for each in a.addresses)


async def test_peers_on_the_local_network_find_each_other() -> None:
    found: list[str] = []
    mine = [
        Multiaddr("/ip4/10.9.9.9/tcp/4001/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq")
    ]
    rng = random.Random(1)
    on = {"interfaces": ["127.0.0.1"]}
    async with (
        local_peers(mine, lambda _: None, rng, **on),
        local_peers([], lambda end: found.append(str(end)), rng, **on),
    ):
        await until(lambda: found)
    assert set(found) == {str(mine[0])}


async def test_names_that_are_none_keep_nobody_from_being_found() -> None:
    found: list[str] = []
    mine = [
        Multiaddr("/ip4/10.9.9.9/tcp/4001/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq")
    ]
    rng = random.Random(2)
    on = {"interfaces": ["127.0.0.1"]}
    before = swallowed.labels("p2p-mdns", "BadTypeInNameException")._value.get()
    async with local_peers([], lambda end: found.append(str(end)), rng, **on):
        said = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
        service = "_p2p._udp.local.", const._TYPE_PTR, const._CLASS_IN, 4500
        said.add_answer_at_time(DNSPointer(*service, "evil."), 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1")
            )
            for packet in said.packets():
                sender.sendto(packet, ("224.0.0.251", 5353))
        counted = swallowed.labels("p2p-mdns", "BadTypeInNameException")._value
        await until(lambda: counted.get() > before)
        async with local_peers(mine, lambda _: None, rng, **on):
            await until(lambda: found)
    assert set(found) == {str(mine[0])}


async def test_a_network_where_our_name_is_taken_is_one_without_mdns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def taken(*_: object) -> None:
        raise NonUniqueNameException

    monkeypatch.setattr(Zeroconf, "register_service", taken)
    async with local_peers([], lambda _: None, random.Random(3), interfaces=["127.0.0.1"]):
        pass


def test_a_txt_record_is_read_as_far_as_it_holds() -> None:
    good = Multiaddr(
        "/ip4/10.9.9.9/tcp/4001/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    )
    record = txt([good])
    assert [str(each) for each in endpoints(record)] == [good]
    assert [str(each) for each in endpoints(b"\x05other" + record + b"\xffcut")] == [good]
    assert endpoints(b"\xff" * 1000) == []

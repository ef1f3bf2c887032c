"""The gossip router: many of them joined in memory, and peers that play foul."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hosts import seed_of

from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, peer_id_of
from hausd.p2p import gossip
from hausd.p2p.gossip import Gossip
from hausd.p2p.scores import BAN_BELOW, DROP_BELOW, REJECTED, Consequence, Scores
from hausd.wire import gossip_rpc as codec
from hausd.wire.gossip_rpc import Message, Rpc, RpcFault


def message(number: int, topic: str = "t", author: str = "author") -> Message:
    return Message(
        topic, b"%d" % number, PeerId(author), b"%s%d" % (author.encode(), number), b"", b""
    )


class Net:
    """Routers joined at random; RPCs arrive in steps, or are lost."""

    def __init__(self, count: int, degree: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.names = [PeerId(f"n{i}") for i in range(count)]
        self.routers = {name: Gossip(random.Random(f"{seed}{name}")) for name in self.names}
        self.heard: dict[PeerId, set[bytes]] = {name: set() for name in self.names}
        self.steps = 0
        self.links: set[frozenset[PeerId]] = set()
        for name in self.names:
            for other in self.rng.sample(self.names, min(degree, count)):
                if other != name:
                    self.link(name, other)

    def link(self, one: PeerId, other: PeerId) -> None:
        if frozenset((one, other)) not in self.links:
            self.links.add(frozenset((one, other)))
            self.routers[one].add_peer(other)
            self.routers[other].add_peer(one)

    def settle(self, loss: float = 0.0) -> None:
        self.steps = 0
        while any(router.woken for router in self.routers.values()):
            self.steps += 1
            sent = [
                (name, peer, router.take(peer))
                for name, router in self.routers.items()
                for peer in sorted(router.woken)
                if not router.woken.discard(peer)
            ]
            for name, peer, rpc in sent:
                if self.rng.random() >= loss:
                    self.arrive(self.routers[peer], peer, name, rpc)

    def arrive(self, router: Gossip, name: PeerId, sender: PeerId, rpc: Rpc) -> None:
        router.received(sender, rpc, self.now)
        for each in rpc.messages:
            if router.is_new(each):
                router.see(each, self.now)
                self.heard[name].add(each.id)
                router.forward(each, sender)

    def beat(self, loss: float = 0.0) -> None:
        self.now += 1
        for router in self.routers.values():
            router.heartbeat(self.now)
        self.settle(loss)


def test_everyone_hears_everything_in_few_hops() -> None:
    net = Net(60, 6, 1)
    for router in net.routers.values():
        router.subscribe("t", net.now)
    net.settle()
    for _ in range(3):
        net.beat()
    for number in range(20):
        net.routers[net.names[number]].publish(message(number, author=net.names[number]), net.now)
        net.settle()
        assert net.steps <= 6
        reached = [
            name
            for name in net.names
            if message(number, author=net.names[number]).id in net.heard[name]
        ]
        assert len(reached) == 59
    for router in net.routers.values():
        assert gossip.D_LOW <= len(router.mesh("t")) <= gossip.D_HIGH


def test_lost_messages_are_asked_for_again() -> None:
    net = Net(30, 6, 2)
    for router in net.routers.values():
        router.subscribe("t", net.now)
    net.settle()
    for _ in range(2):
        net.beat()
    net.routers[net.names[0]].publish(message(1), net.now)
    net.settle(loss=0.6)
    for _ in range(4):
        net.beat()
    assert sum(message(1).id in heard for heard in net.heard.values()) == 29


def test_who_isnt_subscribed_can_publish_and_hears_nothing() -> None:
    net = Net(3, 3, 3)
    net.routers[net.names[1]].subscribe("t", net.now)
    net.settle()
    assert net.routers[net.names[0]].publish(message(1), net.now) == 1
    net.settle()
    assert [bool(net.heard[name]) for name in net.names] == [False, True, False]


def test_who_leaves_a_topic_is_left_alone() -> None:
    net = Net(2, 2, 4)
    one, other = (net.routers[name] for name in net.names)
    for router in (one, other):
        router.subscribe("t", net.now)
    net.settle()
    other.unsubscribe("t", net.now)
    net.settle()
    assert one.publish(message(1), net.now) == 0
    assert not one.mesh("t")


def test_a_peer_is_grafted_anew_on_a_new_stream() -> None:
    router, peer = Gossip(random.Random(1)), PeerId("p")
    router.subscribe("t", 0)
    router.add_peer(peer)
    router.received(peer, Rpc(subscriptions=[(True, "t")]), 0)
    router.take(peer)
    router.greet(peer)
    assert router.take(peer).subscriptions == [(True, "t")]
    router.heartbeat(1)
    assert router.take(peer).graft == ["t"]


def test_a_peer_grafting_within_its_backoff_is_pruned_and_pays() -> None:
    router = Gossip(random.Random(1))
    router.subscribe("t", 0)
    peer = PeerId("p")
    router.add_peer(peer)
    router.received(peer, Rpc(subscriptions=[(True, "t")], prune=[("t", 60)]), 0)
    assert router.received(peer, Rpc(graft=["t"]), 10) > 0
    assert peer not in router.mesh("t")
    assert router.received(peer, Rpc(graft=["t"]), 100) == 0
    assert peer in router.mesh("t")


def test_a_bad_peer_leaves_the_mesh() -> None:
    router = Gossip(random.Random(1))
    router.subscribe("t", 0)
    router.add_peer(PeerId("p"))
    router.received(PeerId("p"), Rpc(subscriptions=[(True, "t")]), 0)
    assert router.mesh("t")
    router.set_score(PeerId("p"), -20)
    router.heartbeat(1)
    assert not router.mesh("t")
    assert router.publish(message(1), 1) == 0


@given(st.integers(0, 2**32))
def test_what_a_peer_makes_us_keep_is_bounded(seed: int) -> None:
    rng = random.Random(seed)
    router = Gossip(rng)
    router.subscribe("t", 0)
    peer = PeerId("p")
    router.add_peer(peer)
    for number in range(30):
        router.received(
            peer,
            Rpc(
                subscriptions=[(True, f"x{number}-{each}") for each in range(100)],
                ihave=[("t", [b"%d-%d" % (number, each) for each in range(1000)])],
                graft=["t", f"g{number}"],
                prune=[(f"y{number}", 1 << 60)],
                iwant=[b"%d" % number],
            ),
            float(number),
        )
    state = router._peers[peer]
    assert len(state.topics) <= gossip.MAX_TOPICS_PER_PEER + 1
    assert len(state.outbox.iwant) <= gossip.MAX_IDS_PER_HEARTBEAT
    assert len(router._backoff) <= 1
    for number in range(2000):
        router.publish(message(number), 31)
    assert len(state.outbox.messages) <= gossip.MAX_OUTBOX_MESSAGES
    for beat in range(200):
        router.heartbeat(40.0 + beat)
    assert len(state.outbox.ihave) <= gossip.MAX_OUTBOX_IHAVE
    assert not router._kept
    assert not router._seen


def test_who_leaves_a_topic_for_a_moment_is_not_grafted_before_it_may_be() -> None:
    router, peer = Gossip(random.Random(1)), PeerId("p")
    router.subscribe("t", 0)
    router.add_peer(peer)
    router.received(peer, Rpc(subscriptions=[(True, "t")]), 0)
    assert router.take(peer).graft == ["t"]
    router.received(peer, Rpc(subscriptions=[(False, "t")], prune=[("t", 10)]), 1)
    router.received(peer, Rpc(subscriptions=[(True, "t")]), 2)
    assert not router.take(peer).graft, "it would take that for a fault of ours"
    router.heartbeat(12)
    assert router.take(peer).graft == ["t"]


def test_who_reads_nothing_is_asked_for_no_more_with_every_heartbeat() -> None:
    router, peer = Gossip(random.Random(1)), PeerId("p")
    router.subscribe("t", 0)
    router.add_peer(peer)
    for beat in range(5):
        for each in range(gossip.MAX_IHAVE_PER_HEARTBEAT):
            ids = [b"%d-%d-%d" % (beat, each, number) for number in range(1000)]
            router.received(peer, Rpc(ihave=[("t", ids)]), beat)
        router.heartbeat(beat)
    assert len(router.take(peer).iwant) == gossip.MAX_IDS_PER_HEARTBEAT
    router.received(peer, Rpc(ihave=[("t", [b"another"])]), 6)
    assert router.take(peer).iwant == [b"another"]


def test_who_was_never_in_a_mesh_has_nothing_to_be_kept_out_of() -> None:
    router = Gossip(random.Random(1))
    for topic in range(20):
        router.subscribe(f"t{topic}", 0)
    for number in range(100):
        peer = PeerId(f"p{number}")
        router.add_peer(peer)
        router.received(peer, Rpc(prune=[(f"t{topic}", 3600) for topic in range(20)]), 0)
        router.remove_peer(peer)
    assert not router._backoff


def test_of_many_that_were_in_a_mesh_the_last_are_kept_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gossip, "MAX_BACKOFFS", 10)
    router = Gossip(random.Random(1))
    router.subscribe("t", 0)

    def graft(number: int, now_s: float) -> float:
        peer = PeerId(f"p{number}")
        router.add_peer(peer)
        penalty = router.received(peer, Rpc(graft=["t"]), now_s)
        router.received(peer, Rpc(prune=[("t", 3600)]), now_s)
        router.remove_peer(peer)
        return penalty

    for number in range(30):
        assert graft(number, 0) == 0
    assert len(router._backoff) == 10
    assert [graft(number, 1) > 0 for number in (29, 1)] == [True, False]
    for beat in range(100):
        router.heartbeat(3602.0 + beat)
    assert not router._backoff, "they are over"


def test_a_large_outbox_leaves_in_pieces() -> None:
    router = Gossip(random.Random(1))
    router.add_peer(PeerId("p"))
    router.received(PeerId("p"), Rpc(subscriptions=[(True, "t")]), 0)
    for number in range(30):
        big = Message("t", bytes(60_000), PeerId("a"), b"%d" % number, b"", b"")
        router.publish(big, 0)
    taken = 0
    while router.woken:
        router.woken.clear()
        messages = router.take(PeerId("p")).messages
        assert sum(len(each.data) for each in messages) <= gossip.MAX_RPC_BYTES
        taken += len(messages)
    assert taken == 30


def test_an_rpc_is_the_same_after_the_wire() -> None:
    key = SigningKey(seed_of("author"))
    signed = codec.signed(key, "t", b"data", b"12345678")
    said = Rpc(
        [signed], [(True, "t"), (False, "u")], [("t", [b"\xff\x01"])], [b"x"], ["t"], [("u", 60)]
    )
    assert codec.decode(codec.encode(said)) == said
    assert signed.is_authors()
    assert signed.author == peer_id_of(key.public)
    assert signed.id.endswith(b"12345678")


@given(st.binary(max_size=400))
def test_any_bytes_are_an_rpc_or_a_fault(untrusted: bytes) -> None:
    try:
        said = codec.decode(untrusted)
    except RpcFault:
        return
    for each in said.messages:
        assert not each.is_authors()


def test_scores_fade_and_have_consequences() -> None:
    scores, peer = Scores(), PeerId("p")
    seen = [scores.punish(peer, REJECTED, 0.0) for _ in range(12)]
    assert seen.count(Consequence.DROP) == 1
    assert seen[-1] is Consequence.BAN
    assert seen.index(Consequence.DROP) == -DROP_BELOW / REJECTED
    assert scores.score(peer, 0.0) < BAN_BELOW
    assert scores.score(peer, 600.0) > -1
    for _ in range(1000):
        scores.reward(peer, 600.0)
    assert 0 < scores.score(peer, 600.0) <= 5


def test_who_subscribes_is_given_what_was_said_lately_once_and_within_bounds() -> None:
    net = Net(3, 0, 1)
    first, second, late = net.names
    net.link(first, second)
    for name in (first, second):
        net.routers[name].subscribe("t", net.now, retains=True)
    net.settle()
    for number in range(2 * gossip.MAX_RETAINED):
        net.routers[first].publish(message(number), net.now)
    net.settle()
    net.routers[late].subscribe("t", net.now)
    net.link(second, late)
    net.settle()
    newest = range(gossip.MAX_RETAINED, 2 * gossip.MAX_RETAINED)
    assert net.heard[late] == {message(number).id for number in newest}
    again = Rpc(subscriptions=[(False, "t"), (True, "t")])
    net.routers[second].received(late, again, net.now)
    assert not net.routers[second].take(late).messages, "once in a connection"
    net.routers[first].add_peer(late)
    for _ in range(gossip.RETAINED_BEATS):
        net.routers[first].heartbeat(net.now)
    net.routers[first].received(late, Rpc(subscriptions=[(True, "t")]), net.now)
    assert not net.routers[first].take(late).messages, "it is old"

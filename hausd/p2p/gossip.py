"""The gossipsub 1.1 router: who gets which message. No I/O: the time is passed in.

Source: the gossipsub 1.0 and 1.1 specifications of libp2p; names and numbers are theirs. Left out,
since nothing here needs them: peer exchange, direct peers, opportunistic grafting. What a peer can
make us keep is bounded everywhere; what it is owed waits in its outbox.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from hausd.core.peers import PeerId
from hausd.wire.gossip_rpc import Message, Rpc

D, D_LOW, D_HIGH, D_LAZY = 6, 4, 12, 6
GOSSIP_FACTOR = 0.25
HISTORY_LENGTH, HISTORY_GOSSIP = 5, 3
"""Heartbeats: messages are kept for so many, and gossiped about for so many."""
PRUNE_BACKOFF_S, UNSUBSCRIBE_BACKOFF_S = 60, 10
FANOUT_TTL_S = 60.0
SEEN_TTL_S = 120.0
MAX_SEEN = 65536
MAX_BACKOFF_S = 3600
MAX_BACKOFFS = 65536
"""Peers, each in a topic, that are not to be grafted for a while; beyond it the oldest may be."""
_BACKOFF_BEATS = 60
"""Of a backoff that is over no more is kept than this long."""
MAX_TOPICS_PER_PEER = 512
MAX_IHAVE_PER_HEARTBEAT = 10
MAX_IDS_PER_HEARTBEAT = 5000
MAX_RETRANSMISSIONS = 3
MAX_OUTBOX_MESSAGES = 512
MAX_OUTBOX_BYTES = 2 * 1024 * 1024
MAX_RPC_BYTES = 512 * 1024
"""Of messages in one RPC; others take 1 MiB at most."""
MAX_OUTBOX_IHAVE = 64
"""Told about and not yet sent; what is beyond is not told."""
MAX_RETAINED = 64
"""Of a topic, for who subscribes: half of what a peer takes of us at once."""
RETAINED_BEATS = 60
_LEAST_GOSSIP_SCORE = -10.0
"""Peers below it are neither grafted nor gossiped to."""


@dataclass(slots=True)
class _Peer:
    topics: set[str] = field(default_factory=set)
    outbox: Rpc = field(default_factory=Rpc)
    outbox_bytes: int = 0
    score: float = 0.0
    ihave_heard: int = 0
    ids_asked: int = 0
    sent_again: dict[bytes, int] = field(default_factory=dict)
    caught_up: set[str] = field(default_factory=set)
    """Topics that it was given what was retained of."""


class Gossip:
    """The state of one node's gossip. Take what is owed to a peer with ``take``."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._peers: dict[PeerId, _Peer] = {}
        self._mine: set[str] = set()
        self._mesh: dict[str, set[PeerId]] = {}
        self._fanout: dict[str, tuple[float, set[PeerId]]] = {}
        self._backoff: OrderedDict[tuple[str, PeerId], float] = OrderedDict()
        """Until when; stays when the peer goes, or coming again would end it."""
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self._kept: dict[bytes, Message] = {}
        self._history: deque[list[Message]] = deque([[]], maxlen=HISTORY_LENGTH)
        self._retained: dict[str, deque[tuple[int, Message]]] = {}
        self._beats = 0
        self.woken: set[PeerId] = set()
        """Peers whose outbox has something new; whoever sends takes them out."""
        self.lost = 0
        """Messages that a peer's full outbox dropped."""

    # -- peers and topics --

    @property
    def topics(self) -> frozenset[str]:
        return frozenset(self._mine)

    def subscribers(self, topic: str) -> set[PeerId]:
        """Connected peers that subscribe to it."""
        return {peer for peer, state in self._peers.items() if topic in state.topics}

    def mesh(self, topic: str) -> frozenset[PeerId]:
        return frozenset(self._mesh.get(topic, ()))

    def add_peer(self, peer: PeerId) -> None:
        """A peer is connected: what it says counts from now on, and it is told of our topics."""
        self._peers[peer] = _Peer()
        self.greet(peer)

    def greet(self, peer: PeerId) -> None:
        """A new stream to a peer begins: it is told of our topics, and grafted anew."""
        state = self._peers.get(peer)
        if state is None:
            return
        state.outbox = Rpc(subscriptions=[(True, topic) for topic in sorted(self._mine)])
        state.outbox_bytes = 0
        for members in self._mesh.values():
            members.discard(peer)
        self.woken.add(peer)

    def remove_peer(self, peer: PeerId) -> None:
        self._peers.pop(peer, None)
        self.woken.discard(peer)
        for members in self._mesh.values():
            members.discard(peer)
        for _, members in self._fanout.values():
            members.discard(peer)

    def set_score(self, peer: PeerId, score: float) -> None:
        """How well a peer behaves; see ``scores``."""
        state = self._peers.get(peer)
        if state is not None:
            state.score = score

    def retains(self, topic: str) -> bool:
        """Whether what was said lately on a topic is kept for who subscribes to it."""
        return topic in self._retained

    def subscribe(self, topic: str, now_s: float, *, retains: bool = False) -> None:
        """We want to hear a topic: its peers of the fanout are grafted, then others.

        ``retains``: who subscribes after us is given the newest messages, MAX_RETAINED at most
        and for RETAINED_BEATS, once in a connection.
        """
        self._mine.add(topic)
        if retains:
            self._retained[topic] = deque(maxlen=MAX_RETAINED)
        self._announce(True, topic)
        _, fanout = self._fanout.pop(topic, (0.0, set()))
        self._mesh[topic] = set()
        for peer in [*fanout, *self._pick(topic, D, fanout)][:D]:
            if self._may_graft(topic, peer, now_s):
                self._graft(topic, peer)

    def unsubscribe(self, topic: str, now_s: float) -> None:
        self._mine.discard(topic)
        self._retained.pop(topic, None)
        self._announce(False, topic)
        for peer in self._mesh.pop(topic, set()):
            self._prune(topic, peer, now_s, UNSUBSCRIBE_BACKOFF_S)

    # -- messages --

    def publish(self, message: Message, now_s: float) -> int:
        """Sends a message of our own; gives to how many peers.

        All peers of the topic get it, not only the mesh (flood publishing of 1.1): one hop less
        for most, and a mesh full of bad peers can't silence us.
        """
        self._see(message.id, now_s)
        self._keep(message)
        receivers = {
            peer
            for peer in self.subscribers(message.topic)
            if self._peers[peer].score >= _LEAST_GOSSIP_SCORE
        }
        if message.topic not in self._mine:
            self._fanout[message.topic] = (now_s + FANOUT_TTL_S, set(sorted(receivers)[:D]))
        for peer in receivers:
            self._owe_message(peer, message)
        return len(receivers)

    def is_new(self, message: Message) -> bool:
        """Whether a message is of one of our topics, and wasn't seen before."""
        return message.topic in self._mine and message.id not in self._seen

    def see(self, message: Message, now_s: float) -> None:
        """It was judged, whatever the verdict: it isn't judged again."""
        self._see(message.id, now_s)

    def forward(self, message: Message, sender: PeerId) -> None:
        """A message was accepted: it goes on to the mesh, but not back."""
        self._keep(message)
        for peer in self._mesh.get(message.topic, ()):
            if peer != sender and peer != message.author:
                self._owe_message(peer, message)

    def received(self, peer: PeerId, rpc: Rpc, now_s: float) -> float:
        """All of a peer's RPC but its messages; gives what it did wrong as a penalty."""
        state = self._peers.get(peer)
        if state is None:
            return 0.0
        penalty = 0.0
        # before what it says is done: who leaves a topic leaves the mesh by that alone
        was_in = {topic for topic, _ in rpc.prune if peer in self._mesh.get(topic, ())}
        for wants, topic in rpc.subscriptions:
            if not wants:
                state.topics.discard(topic)
                self._mesh.get(topic, set()).discard(peer)
            elif len(state.topics) < MAX_TOPICS_PER_PEER:
                state.topics.add(topic)
                self._catch_up(peer, state, topic)
                members = self._mesh.get(topic)
                small = members is not None and len(members - {peer}) < D_LOW
                # at once, not at the next heartbeat: who joins hears the next message
                if small and self._may_graft(topic, peer, now_s):
                    self._graft(topic, peer)
            else:
                penalty += 1.0
        for topic in rpc.graft:
            penalty += self._grafted(topic, peer, now_s)
        for topic, backoff_s in rpc.prune:
            members = self._mesh.get(topic, set())
            if topic in was_in or peer in members:
                members.discard(peer)
                backoff_s = min(backoff_s or PRUNE_BACKOFF_S, MAX_BACKOFF_S)
                self._back_off(topic, peer, now_s + backoff_s)
        for topic, ids in rpc.ihave:
            self._heard_ihave(state, peer, topic, ids)
        for message_id in rpc.iwant:
            message = self._kept.get(message_id)
            times = state.sent_again.get(message_id, 0)
            if message is not None and times < MAX_RETRANSMISSIONS:
                state.sent_again[message_id] = times + 1
                self._owe_message(peer, message)
        return penalty

    def take(self, peer: PeerId) -> Rpc:
        """What a peer is owed; it is owed no more then."""
        state = self._peers.get(peer)
        if state is None:
            return Rpc()
        rpc, state.outbox = state.outbox, Rpc()
        size = 0
        for index, message in enumerate(rpc.messages):
            size += len(message.data)
            if size > MAX_RPC_BYTES and index:
                state.outbox.messages = rpc.messages[index:]
                del rpc.messages[index:]
                self.woken.add(peer)
                break
        state.outbox_bytes = sum(len(message.data) for message in state.outbox.messages)
        return rpc

    # -- the heartbeat --

    def heartbeat(self, now_s: float) -> None:
        """Mends the meshes, gossips about recent messages, forgets what is old. Once a second."""
        if self._beats % _BACKOFF_BEATS == 0:
            for key in [key for key, end_s in self._backoff.items() if end_s <= now_s]:
                del self._backoff[key]
        for topic in list(self._mesh):
            self._mend(topic, now_s)
        for topic, (end_s, _) in list(self._fanout.items()):
            if end_s <= now_s:
                del self._fanout[topic]
        self._gossip()
        self._shift()
        self._beats += 1
        while self._seen:
            oldest, seen_s = next(iter(self._seen.items()))
            if seen_s + SEEN_TTL_S > now_s and len(self._seen) <= MAX_SEEN:
                break
            del self._seen[oldest]
        for state in self._peers.values():
            state.ihave_heard = state.ids_asked = 0

    def _mend(self, topic: str, now_s: float) -> None:
        members = self._mesh[topic]
        for peer in [each for each in members if self._peers[each].score < 0]:
            self._prune(topic, peer, now_s, PRUNE_BACKOFF_S)
        if len(members) < D_LOW:
            for peer in self._pick(topic, D - len(members), members):
                if self._may_graft(topic, peer, now_s):
                    self._graft(topic, peer)
        elif len(members) > D_HIGH:
            # the best stay, the rest is drawn: a mesh of only the best could be bought
            ranked = sorted(members, key=lambda peer: -self._peers[peer].score)
            stay = ranked[:D_LOW]
            stay += self._rng.sample(ranked[D_LOW:], D - D_LOW)
            for peer in members - set(stay):
                self._prune(topic, peer, now_s, PRUNE_BACKOFF_S)

    def _gossip(self) -> None:
        by_topic: dict[str, list[bytes]] = {}
        for messages in list(self._history)[:HISTORY_GOSSIP]:
            for message in messages:
                by_topic.setdefault(message.topic, []).append(message.id)
        for topic, ids in by_topic.items():
            mesh = self._mesh.get(topic) or self._fanout.get(topic, (0.0, set()))[1]
            others = [
                peer
                for peer in sorted(self.subscribers(topic) - mesh)
                if self._peers[peer].score >= _LEAST_GOSSIP_SCORE
            ]
            count = min(len(others), max(D_LAZY, int(GOSSIP_FACTOR * len(others))))
            for peer in self._rng.sample(others, count):
                outbox = self._peers[peer].outbox
                if len(outbox.ihave) < MAX_OUTBOX_IHAVE:
                    told = self._rng.sample(ids, min(len(ids), MAX_IDS_PER_HEARTBEAT))
                    outbox.ihave.append((topic, told))
                    self.woken.add(peer)

    def _shift(self) -> None:
        if len(self._history) == HISTORY_LENGTH:
            for message in self._history[-1]:
                self._kept.pop(message.id, None)
                for state in self._peers.values():
                    state.sent_again.pop(message.id, None)
        self._history.appendleft([])

    # -- details --

    def _heard_ihave(self, state: _Peer, peer: PeerId, topic: str, ids: Iterable[bytes]) -> None:
        if state.score < _LEAST_GOSSIP_SCORE or topic not in self._mine:
            return
        state.ihave_heard += 1
        if state.ihave_heard > MAX_IHAVE_PER_HEARTBEAT:
            return
        for message_id in ids:
            # of those that wait, too: it may read nothing of what it is asked
            asked = max(state.ids_asked, len(state.outbox.iwant))
            if message_id not in self._seen and asked < MAX_IDS_PER_HEARTBEAT:
                state.ids_asked += 1
                state.outbox.iwant.append(message_id)
                self.woken.add(peer)

    def _grafted(self, topic: str, peer: PeerId, now_s: float) -> float:
        members = self._mesh.get(topic)
        if members is None:
            return 0.0  # not ours: says nothing of what we hear (1.1, spam of unknown topics)
        if peer in members:
            return 0.0
        state = self._peers[peer]
        state.topics.add(topic)
        penalty = 1.0 if self._backoff.get((topic, peer), 0.0) > now_s else 0.0
        if penalty or state.score < 0 or len(members) >= D_HIGH:
            self._prune(topic, peer, now_s, PRUNE_BACKOFF_S)
        else:
            members.add(peer)
        return penalty

    def _may_graft(self, topic: str, peer: PeerId, now_s: float) -> bool:
        state = self._peers.get(peer)
        free = self._backoff.get((topic, peer), 0.0) <= now_s
        return state is not None and state.score >= 0 and free

    def _graft(self, topic: str, peer: PeerId) -> None:
        if peer in self._mesh[topic]:
            return
        self._mesh[topic].add(peer)
        outbox = self._peers[peer].outbox
        outbox.prune = [(other, for_s) for other, for_s in outbox.prune if other != topic]
        if topic not in outbox.graft:
            outbox.graft.append(topic)
        self.woken.add(peer)

    def _prune(self, topic: str, peer: PeerId, now_s: float, backoff_s: int) -> None:
        self._mesh.get(topic, set()).discard(peer)
        self._back_off(topic, peer, now_s + backoff_s)
        outbox = self._peers[peer].outbox
        outbox.graft = [other for other in outbox.graft if other != topic]
        if all(other != topic for other, _ in outbox.prune):
            outbox.prune.append((topic, backoff_s))
        self.woken.add(peer)

    def _back_off(self, topic: str, peer: PeerId, end_s: float) -> None:
        self._backoff[topic, peer] = end_s
        self._backoff.move_to_end((topic, peer))
        if len(self._backoff) > MAX_BACKOFFS:
            self._backoff.popitem(last=False)

    def _pick(self, topic: str, count: int, without: Iterable[PeerId]) -> list[PeerId]:
        others = sorted(self.subscribers(topic) - set(without))
        return self._rng.sample(others, max(0, min(count, len(others))))

    def _announce(self, wants: bool, topic: str) -> None:
        for peer, state in self._peers.items():
            told = state.outbox.subscriptions
            state.outbox.subscriptions = [each for each in told if each[1] != topic]
            state.outbox.subscriptions.append((wants, topic))
            self.woken.add(peer)

    def _catch_up(self, peer: PeerId, state: _Peer, topic: str) -> None:
        retained = self._retained.get(topic, ())
        if retained and topic not in state.caught_up:
            state.caught_up.add(topic)
            for beat, message in retained:
                if beat > self._beats - RETAINED_BEATS and message.author != peer:
                    self._owe_message(peer, message)

    def _owe_message(self, peer: PeerId, message: Message) -> None:
        state = self._peers[peer]
        size = len(message.data)
        outbox = state.outbox
        full = state.outbox_bytes + size > MAX_OUTBOX_BYTES
        if full or len(outbox.messages) >= MAX_OUTBOX_MESSAGES:
            self.lost += 1  # it hears of it by gossip, should it catch up
            return
        outbox.messages.append(message)
        state.outbox_bytes += size
        self.woken.add(peer)

    def _see(self, message_id: bytes, now_s: float) -> None:
        self._seen[message_id] = now_s
        if len(self._seen) > MAX_SEEN:
            self._seen.popitem(last=False)

    def _keep(self, message: Message) -> None:
        if message.id not in self._kept:
            self._kept[message.id] = message
            self._history[0].append(message)
            if message.topic in self._retained:
                self._retained[message.topic].append((self._beats, message))

"""Topics over streams: one stream to each peer for what we say, one from it for what it says.

All that is decided is decided in ``gossip`` and ``scores``; here are the tasks, the rates, and the
queues of those who read.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import structlog
import trio

from hausd.core.beat import beat
from hausd.core.clock import Clock
from hausd.core.keys import SigningKey
from hausd.core.peers import (
    Heard,
    HostLimits,
    PeerId,
    PeerStream,
    PeerUnreachable,
    ProtocolRefused,
    StreamBroken,
    Validator,
    Verdict,
    key_of,
)
from hausd.p2p import metrics, scores
from hausd.p2p.gossip import Gossip
from hausd.p2p.network import Network
from hausd.p2p.rate import Bucket
from hausd.p2p.scores import Consequence, Scores
from hausd.telemetry import count_swallowed
from hausd.wire import gossip_rpc as codec
from hausd.wire.gossip_rpc import Message, Rpc, RpcFault
from hausd.wire.multistream import lengthened

log = structlog.get_logger("hausd.p2p")

PROTOCOLS = ("/meshsub/1.1.0", "/meshsub/1.0.0")
_MAX_RPC_BYTES = 1024 * 1024
_OPEN_S = 10.0
_SEND_S = 20.0
"""A peer that takes none of what we say for so long is dropped from gossip."""
_REOPEN_FIRST_S, _REOPEN_LONGEST_S = 1.0, 60.0
"""Between one stream of gossip that broke and the next, while the peer stays connected."""
_MAX_BUCKETS = 4096


class Topic:
    """A topic that this node listens to. Made by ``Pubsub.topic``; one task iterates it."""

    def __init__(self, pubsub: Pubsub, name: str, validator: Validator, queue: int) -> None:
        self.name = name
        self.lost = 0
        """Messages dropped, the oldest first, since nobody read them in time."""
        self._pubsub = pubsub
        self._validator = validator
        self._queue = queue
        self._heard: deque[Heard] = deque()
        self._more = trio.Event()

    def publish(self, data: bytes) -> int:
        """Says something on the topic, at once; gives the number of peers it goes to.

        Our own messages are not heard here. Raises ValueError for one above the size limit.
        """
        return self._pubsub.publish(self.name, data)

    def peers(self) -> list[PeerId]:
        """Connected peers that listen to it too."""
        return sorted(self._pubsub.subscribers(self.name))

    def __aiter__(self) -> AsyncIterator[Heard]:
        return self

    async def __anext__(self) -> Heard:
        await trio.lowlevel.checkpoint()
        while not self._heard:
            self._more = trio.Event()
            await self._more.wait()
        return self._heard.popleft()

    def judge(self, peer: PeerId, data: bytes) -> Verdict:
        try:
            return self._validator(peer, data)
        except Exception as error:
            count_swallowed("p2p-validator", error)
            log.exception("validator-failed", topic=self.name)
            return Verdict.IGNORE

    def deliver(self, heard: Heard) -> None:
        if len(self._heard) >= self._queue:
            self._heard.popleft()
            self.lost += 1
            metrics.MESSAGES_LOST.inc()
        self._heard.append(heard)
        self._more.set()


@dataclass(slots=True, eq=False)
class _Speaker:
    """The task that tells one peer, over one connection, what it is owed."""

    peer: PeerId
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    wake: trio.Event = field(default_factory=trio.Event)


class Pubsub:
    """All topics of a node."""

    def __init__(
        self,
        network: Network,
        gossip: Gossip,
        key: SigningKey,
        limits: HostLimits,
        *,
        heartbeat_s: float,
        clock: Clock,
        ban: Callable[[PeerId, float, str], None],
        nursery: trio.Nursery,
    ) -> None:
        self._network = network
        self._gossip = gossip
        self._key = key
        self._limits = limits
        self._heartbeat_s = heartbeat_s
        self._clock = clock
        self._ban = ban
        self._nursery = nursery
        self._scores = Scores()
        self._topics: dict[str, Topic] = {}
        self._speakers: dict[PeerId, _Speaker] = {}
        self._hearing: dict[PeerId, PeerStream] = {}
        self._rates: OrderedDict[tuple[PeerId, str], Bucket] = OrderedDict()
        self._seqno = 0
        for protocol in PROTOCOLS:
            network.handle(protocol, self._listen)
        network.watch(self)

    async def run(self) -> None:
        """Keeps the meshes in shape until cancelled."""
        while True:
            await beat(self._heartbeat_s)
            now = trio.current_time()
            for connection in self._network.connections():
                self._gossip.set_score(connection.peer, self._scores.score(connection.peer, now))
            self._gossip.heartbeat(now)
            self._wake()

    @asynccontextmanager
    async def topic(
        self, name: str, validator: Validator, *, retains: bool = False
    ) -> AsyncIterator[Topic]:
        """Listens to a topic until the context is left; raises ValueError where one does.

        ``retains``: see ``Gossip.subscribe``.
        """
        if name in self._topics:
            raise ValueError(f"{name} is listened to already")
        topic = self._topics[name] = Topic(self, name, validator, self._limits.topic_queue)
        self._gossip.subscribe(name, trio.current_time(), retains=retains)
        self._wake()
        try:
            yield topic
        finally:
            del self._topics[name]
            self._gossip.unsubscribe(name, trio.current_time())
            self._wake()

    def score(self, peer: PeerId) -> float:
        return self._scores.score(peer, trio.current_time())

    def subscribers(self, topic: str) -> set[PeerId]:
        return self._gossip.subscribers(topic)

    def shares(self, peer: PeerId, but: str) -> bool:
        """Whether a peer listens to one of our topics, other than ``but``."""
        return any(peer in self.subscribers(each) for each in self._topics if each != but)

    def publish(self, topic: str, data: bytes) -> int:
        """Signs and sends a message; gives the number of peers it goes to."""
        if len(data) > self._limits.message_bytes:
            raise ValueError(f"a message has at most {self._limits.message_bytes} bytes")
        if not self._gossip.subscribers(topic) and not self._gossip.retains(topic):
            return 0  # most rooms of most nodes: signing for nobody is the dearest part of it
        # grows across restarts, or peers would take our messages for ones they have seen
        self._seqno = max(self._seqno + 1, self._clock.now_ms() * 1_000_000)
        message = codec.signed(self._key, topic, data, self._seqno.to_bytes(8, "big"))
        metrics.PUBLISHED.inc()
        reached = self._gossip.publish(message, trio.current_time())
        self._wake()
        return reached

    def punish(self, peer: PeerId, penalty: float, why: str) -> None:
        """A peer did wrong: it loses score, is dropped, or banned for a while."""
        match self._scores.punish(peer, penalty, trio.current_time()):
            case Consequence.BAN:
                self._ban(peer, scores.BAN_S, why)
            case Consequence.DROP:
                self._network.drop(peer, why)
            case Consequence.NONE:
                pass

    # -- peers that come and go --

    async def connected(self, peer: PeerId) -> None:
        connection = self._network.connection(peer)
        if connection is not None:
            await connection.kept.wait()
        if peer not in self._speakers:
            speaker = self._speakers[peer] = _Speaker(peer)
            # before anything is sent: what it says may come before our stream to it is open
            self._gossip.add_peer(peer)
            self._gossip.set_score(peer, self.score(peer))
            self._nursery.start_soon(self._speak, speaker)
        await trio.lowlevel.checkpoint()

    async def disconnected(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        speaker = self._speakers.get(peer)
        if speaker is not None:
            self._silence(speaker)
            speaker.scope.cancel()

    async def _speak(self, speaker: _Speaker) -> None:
        """Sends a peer what it is owed, for as long as it is connected and speaks gossip."""
        wait_s = _REOPEN_FIRST_S
        try:
            with speaker.scope:
                while await self._speak_once(speaker):
                    self._gossip.greet(speaker.peer)
                    await trio.sleep(wait_s)
                    wait_s = min(2 * wait_s, _REOPEN_LONGEST_S)
        except Exception as error:  # noqa: BLE001 the door of a peer's task
            count_swallowed("p2p-gossip", error)
        finally:
            self._silence(speaker)

    async def _speak_once(self, speaker: _Speaker) -> bool:
        """One stream's life; whether another one may do better."""
        peer = speaker.peer
        try:
            with trio.fail_after(_OPEN_S):
                stream, _ = await self._network.open_stream(peer, *PROTOCOLS)
            await self._send(speaker, stream)
        except (PeerUnreachable, StreamBroken, trio.TooSlowError) as error:
            log.debug("gossip-broken", peer=peer, because=str(error))
            return True
        except ProtocolRefused:
            return False

    async def _send(self, speaker: _Speaker, stream: PeerStream) -> NoReturn:
        while True:
            self._gossip.woken.discard(speaker.peer)
            owed = self._gossip.take(speaker.peer)
            if not owed:
                speaker.wake = trio.Event()
                await speaker.wake.wait()
                continue
            with trio.fail_after(_SEND_S):
                await stream.send_all(lengthened(codec.encode(owed)))

    def _silence(self, speaker: _Speaker) -> None:
        """It has nothing more to say; another one of its peer, if any, goes on."""
        if self._speakers.get(speaker.peer) is speaker:
            del self._speakers[speaker.peer]
            self._gossip.remove_peer(speaker.peer)

    def _wake(self) -> None:
        for peer in self._gossip.woken:
            if speaker := self._speakers.get(peer):
                speaker.wake.set()
        self._gossip.woken.clear()

    # -- what they say --

    async def _listen(self, stream: PeerStream) -> None:
        """Hears one peer out, on its newest stream only: each may hold an RPC's bytes."""
        older = self._hearing.get(stream.peer)
        if older is not None:
            older.reset()
        self._hearing[stream.peer] = stream
        connection = self._network.connection(stream.peer)
        try:
            if connection is not None:
                await connection.kept.wait()  # till then what it says waits in the stream
            async for untrusted in _rpcs(stream):
                self._heard(stream.peer, codec.decode(untrusted))
        except RpcFault as fault:
            metrics.MESSAGES.labels("broken").inc()
            stream.reset()
            self.punish(stream.peer, scores.BROKEN_RPC, f"broken gossip: {fault}")
        finally:
            if self._hearing.get(stream.peer) is stream:
                del self._hearing[stream.peer]

    def _heard(self, peer: PeerId, rpc: Rpc) -> None:
        now = trio.current_time()
        penalty = self._gossip.received(peer, rpc, now)
        for message in rpc.messages:
            if penalty >= scores.REJECTED:
                break  # nobody honest sends such a thing: the rest is not worth judging
            penalty += self._judge(peer, message, now)
        if penalty:
            self.punish(peer, penalty, "broke the rules of gossip")
        self._wake()

    def _judge(self, peer: PeerId, message: Message, now: float) -> float:
        """What becomes of a message; gives the penalty for it."""
        topic = self._topics.get(message.topic)
        if topic is None:
            metrics.MESSAGES.labels("unasked").inc()
            return 0.0
        if not self._gossip.is_new(message):
            metrics.MESSAGES.labels("again").inc()
            return 0.0
        if not self._rate(peer, message.topic, now):
            metrics.MESSAGES.labels("too-many").inc()
            return 0.0
        if key_of(message.author) is None:
            metrics.MESSAGES.labels("unknown-key").inc()
            return 0.0  # an honest peer may pass on what we can't check
        if len(message.data) > self._limits.message_bytes or not message.is_authors():
            metrics.MESSAGES.labels("forged").inc()
            return scores.REJECTED
        if message.author == self._network.me:
            self._gossip.see(message, now)  # our own of before a restart
            return 0.0
        self._gossip.see(message, now)
        verdict = topic.judge(peer, message.data)
        metrics.MESSAGES.labels(verdict.value).inc()
        match verdict:
            case Verdict.ACCEPT:
                self._scores.reward(peer, now)
                self._gossip.forward(message, peer)
                topic.deliver(Heard(peer, message.data))
            case Verdict.REJECT:
                return scores.REJECTED
            case Verdict.IGNORE:
                pass
        return 0.0

    def _rate(self, peer: PeerId, topic: str, now: float) -> bool:
        bucket = self._rates.get((peer, topic))
        if bucket is None:
            per_s = self._limits.messages_per_s
            bucket = self._rates[peer, topic] = Bucket(per_s, 2 * per_s, now)
            if len(self._rates) > _MAX_BUCKETS:
                self._rates.popitem(last=False)
        else:
            self._rates.move_to_end((peer, topic))
        return bucket.try_take(1, now)


async def _rpcs(stream: PeerStream) -> AsyncIterator[bytes]:
    """The RPCs of a stream, each whole; raises RpcFault. Reads as much as there is at once."""
    buffer = bytearray()
    while received := await stream.receive_some():
        buffer += received
        while (span := _span(buffer)) is not None:
            start, end = span
            if len(buffer) < end:
                break
            yield bytes(memoryview(buffer)[start:end])
            del buffer[:end]


def _span(buffer: bytearray) -> tuple[int, int] | None:
    """Where the first RPC's bytes start and end; None while its length isn't whole."""
    length = 0
    for index, byte in enumerate(buffer[:4]):
        length |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if length > _MAX_RPC_BYTES:
                raise RpcFault(f"an RPC of {length} bytes")
            return index + 1, index + 1 + length
    if len(buffer) >= 4:
        raise RpcFault("an RPC's length takes more than four bytes")
    return None

"""``/haus/room/1``: tells others what a room is doing, and asks them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog
import trio

from hausd.core.following import Ask, Told
from hausd.core.ids import RoomId
from hausd.core.peers import (
    MAX_HOPS,
    PeerId,
    PeerStream,
    PeerUnreachable,
    ProtocolRefused,
    StreamBroken,
)
from hausd.p2p import metrics
from hausd.p2p.exchange.guests import OneOfFew, Rates
from hausd.p2p.exchange.ports import Shared
from hausd.p2p.host import Host
from hausd.wire import announce
from hausd.wire.frames import ProtocolError
from hausd.wire.room_protocol import (
    MAX_RANGES,
    MAX_TICKS,
    PROTOCOL,
    Done,
    Edge,
    Question,
    RoomAnswerer,
    RoomAsker,
    ToldCard,
)
from hausd.wire.room_protocol import Told as ToldStatement

log = structlog.get_logger("hausd.p2p")

ANSWER_S = 3.0
"""A neighbour that takes longer to answer is passed over."""
_MOST_ASKED = 4
_IDLE_S = 30.0
_STREAMS_OF_A_PEER = 4
_QUESTIONS_PER_S, _QUESTIONS_AT_ONCE = 5.0, 30.0
"""Of one peer. An answer has up to a quarter of a megabyte; honest peers ask twice a second where
they miss something, for each room."""


class Syncing:
    """Both sides. Implements ``rooms.ports.RoomSync``."""

    def __init__(
        self,
        host: Host,
        shared: Shared,
        hops: Callable[[RoomId], int | None],
        on_edge: Callable[[RoomId, PeerId, int], None],
        neighbours: Callable[[RoomId], Iterable[PeerId]],
    ) -> None:
        self._host = host
        self._shared = shared
        self._hops = hops
        self._on_edge = on_edge
        self._neighbours = neighbours
        self._streams = OneOfFew(_STREAMS_OF_A_PEER)
        self._questions = Rates(_QUESTIONS_PER_S, _QUESTIONS_AT_ONCE)

    async def serve(self, stream: PeerStream) -> None:
        """Answers a peer's questions until it closes the stream."""
        try:
            with self._streams.held(stream):
                await self._listen(stream)
        except ProtocolError:
            metrics.STREAMS_REFUSED.labels("protocol").inc()
            stream.reset()

    async def _listen(self, stream: PeerStream) -> None:
        answerer = RoomAnswerer()
        while True:
            with trio.move_on_after(_IDLE_S) as idle:
                data = await stream.receive_some()
            if idle.cancelled_caught or not data:
                return
            for question in answerer.feed(data):
                metrics.ROOM_QUESTIONS.inc()
                await trio.sleep(self._questions.wait_s(stream.peer, 1, trio.current_time()))
                await stream.send_all(self._answer(answerer, question))

    async def ask(self, room: RoomId, ask: Ask) -> Told | None:
        """See ``rooms.ports.RoomSync``."""
        listening = list(self._neighbours(room))
        others = [view.id for view in self._host.peers() if view.id not in listening]
        # a node in the DHT is connected with many that know nothing of rooms
        others.sort(key=self._host.shares_topic, reverse=True)
        for peer in [*listening, *others][:_MOST_ASKED]:
            with trio.move_on_after(ANSWER_S):
                try:
                    told = await self._ask(peer, room, ask)
                except (PeerUnreachable, ProtocolRefused, StreamBroken, ProtocolError) as fault:
                    log.debug("room-not-told", peer=peer, room=room, because=str(fault))
                    continue
                if told is not None:
                    return told
        return None

    async def card(self, peer: PeerId, room: RoomId) -> bytes | None:
        """The room's card as a peer gives it, unverified; None where it doesn't."""
        with trio.move_on_after(ANSWER_S):
            try:
                stream = await self._host.open_stream(peer, PROTOCOL)
                try:
                    return await self._asked_card(stream, room)
                finally:
                    stream.reset()
            except (PeerUnreachable, ProtocolRefused, StreamBroken, ProtocolError) as fault:
                log.debug("card-not-told", peer=peer, room=room, because=str(fault))
        return None

    async def _asked_card(self, stream: PeerStream, room: RoomId) -> bytes | None:
        asker = RoomAsker()
        await stream.send_all(asker.ask(Question(room)))
        while data := await stream.receive_some():
            for answer in asker.feed(data):
                if isinstance(answer, ToldCard):
                    return answer.untrusted_card
                if isinstance(answer, Done):
                    return None
        return None

    def _answer(self, answerer: RoomAnswerer, question: Question) -> bytes:
        room = self._shared.shared(question.room)
        if room is None:
            return answerer.answer(None)
        hops = 0 if room.is_origin else self._hops(question.room)
        told = room.tell(Ask(question.session, question.missing, question.recent))
        heads = [one for one in (told.untrusted_kept, told.untrusted_head) if one is not None]
        statements = (*told.untrusted_tracks, *heads, *told.untrusted_ticks)
        edge = Edge(room.state, hops=MAX_HOPS if hops is None else hops)
        # who wants to hear of no ticks wants to know what the room is
        card = room.card if not (question.missing or question.recent) else None
        return answerer.answer(edge, statements, card)

    async def _ask(self, peer: PeerId, room: RoomId, ask: Ask) -> Told | None:
        stream = await self._host.open_stream(peer, PROTOCOL)
        try:
            return await self._converse(stream, room, ask)
        finally:
            stream.reset()

    async def _converse(self, stream: PeerStream, room: RoomId, ask: Ask) -> Told | None:
        asker = RoomAsker()
        missing = _bounded(ask.missing)
        recent = max(0, min(ask.recent, MAX_TICKS - sum(map(len, missing))))
        await stream.send_all(asker.ask(Question(room, ask.session, missing, recent)))
        statements: list[bytes] = []
        while True:
            data = await stream.receive_some()
            if not data:
                asker.finish()
                return None
            for answer in asker.feed(data):
                match answer:
                    case Edge(hops=hops):
                        self._on_edge(room, stream.peer, hops)
                    case ToldStatement(untrusted_statement=encoded):
                        statements.append(encoded)
                    case ToldCard():
                        pass  # ``card`` asks for it
                    case Done(known=known):
                        return _sorted(statements, stream.peer) if known else None


def _bounded(missing: tuple[range, ...]) -> tuple[range, ...]:
    """As many of the ticks as one question may be about, the oldest first."""
    taken: list[range] = []
    left = MAX_TICKS
    for one in missing[:MAX_RANGES]:
        if left <= 0:
            break
        taken.append(range(one.start, min(one.stop, one.start + left)))
        left -= len(taken[-1])
    return tuple(one for one in taken if len(one))


def _sorted(statements: list[bytes], peer: PeerId) -> Told:
    """By the kind that each says it is; whoever takes them verifies them."""
    tracks, heads, ticks = [], [], []
    for encoded in statements:
        match announce.untrusted_kind(encoded):
            case "track":
                tracks.append(encoded)
            case "head":
                heads.append(encoded)
            case "tick" | "end":
                ticks.append(encoded)
    newest, kept = ([None, None, *heads])[:-3:-1]
    return Told(tuple(tracks), newest, tuple(ticks), by=peer, untrusted_kept=kept)

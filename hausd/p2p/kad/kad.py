"""One DHT network: its routing table, what is asked of its peers, and what they are answered.

There are two of them (``dht.py``). A peer belongs to that from whose distance it is seen: all of
``reaches``. Addresses that peers name are dialled only where they are of this network, as far away
as this node listens itself, and not nearer than who named them.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
import trio

from hausd.core.clock import Clock
from hausd.core.peers import (
    Endpoint,
    PeerId,
    PeerStream,
    PeerUnreachable,
    ProtocolRefused,
    StreamBroken,
    parse_endpoint,
    peer_id_bytes,
)
from hausd.p2p import metrics
from hausd.p2p.connection import Connection
from hausd.p2p.host import Host
from hausd.p2p.kad.addresses import dialable, subnet
from hausd.p2p.kad.records import ProviderStore, ValueStore
from hausd.policy.lookup import BETA, Lookup
from hausd.policy.reach import Reach, may_dial, reach
from hausd.policy.routing import RoutingTable
from hausd.telemetry import count_swallowed
from hausd.wire.kad import (
    MAX_ANSWER_BYTES,
    MAX_KEY_BYTES,
    Contact,
    K,
    KadFault,
    Kind,
    Message,
    MessageReader,
    encode,
    peer_place,
    place,
)

log = structlog.get_logger("hausd.p2p")

ASK_S = 8.0
"""From dialling a peer to its answer; slower ones only hold a lookup up."""
_REFRESH_S = 600.0
_FIRST_REFRESH_S = 2.0
_RANDOM_LOOKUPS = 2
_LOOKUP_S = 60.0
_OLD_S = 1800.0
"""Who was not heard of for so long is asked whether it is there."""
_MAX_CHECKS = 16


@dataclass(frozen=True, slots=True)
class KadTerms:
    """What tells one network from another. ``dials``: distances of named addresses to dial."""

    name: str
    protocol: str
    reaches: frozenset[Reach]
    dials: frozenset[Reach]


class Unanswered(Exception):
    """A peer didn't answer, or not what was asked; ``args[0]`` says why."""


class Kad:
    """See ``open``. ``providers`` and ``values`` are what is kept for others."""

    def __init__(self, host: Host, terms: KadTerms, clock: Clock, rng: random.Random) -> None:
        self.host = host
        self.terms = terms
        self.clock = clock
        self.providers = ProviderStore()
        self.values = ValueStore()
        self.table: RoutingTable[PeerId] = RoutingTable(host.peer_id, peer_place)
        self.came = trio.Event()
        """Set, and made anew, when a peer is in the table that was not, or is connected again."""
        self._rng = rng
        self._where: dict[PeerId, tuple[Endpoint, ...]] = {}
        self._answered_s: dict[PeerId, float] = {}
        self._checks = trio.CapacityLimiter(_MAX_CHECKS)
        self._checking: set[PeerId] = set()
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Kad]:
        """Takes part until the context is left."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self.host.on_identified(self._identified)
            for view in self.host.peers():
                if connection := self.host.connection(view.id):
                    self._identified(connection)
            nursery.start_soon(self._keep_fresh)
            yield self
            self._nursery = None
            nursery.cancel_scope.cancel()

    # -- who is there --

    def belongs(self, connection: Connection) -> bool:
        """Whether a connected peer is seen from this network."""
        return connection.reach in self.terms.reaches

    def own_addresses(self) -> tuple[Endpoint, ...]:
        """Where peers of this network reach this node."""
        ends = map(parse_endpoint, self.host.addresses)
        return tuple(end for end in ends if reach(end) in self.terms.reaches)

    def contact(self, peer: PeerId) -> Contact:
        """A peer of the table, or a connected one, with what is known of its addresses."""
        if peer == self.host.peer_id:
            return Contact(peer, self.own_addresses())
        connection = self.host.connection(peer)
        if connection is not None and connection.known_addresses:
            ends = tuple(map(parse_endpoint, connection.known_addresses))
            return Contact(peer, tuple(e for e in ends if reach(e) in self.terms.reaches))
        return Contact(peer, self._where.get(peer, ()))

    def _identified(self, connection: Connection) -> None:
        if self._nursery is None or not self.belongs(connection):
            return
        peer = connection.peer
        if peer in self.table:
            self._where[peer] = self.contact(peer).addresses
            self._tell_came()
        elif peer not in self._checking and len(self._checking) < 4 * _MAX_CHECKS:
            self._checking.add(peer)
            self._nursery.start_soon(self._check, peer)

    async def _check(self, peer: PeerId) -> None:
        """A peer is taken into the table once it has answered."""
        try:
            async with self._checks:
                await self.ask(Contact(peer), Message(Kind.FIND_NODE, peer_id_bytes(peer)))
        except Unanswered:
            pass  # most peers don't serve the DHT
        finally:
            self._checking.discard(peer)

    def _alive(self, contact: Contact, connection: Connection) -> None:
        if not self.belongs(connection):
            return
        peer = contact.peer
        self._answered_s[peer] = trio.current_time()
        known = peer in self.table
        if self.table.add(peer, subnet(connection.seen_at)):
            self._where[peer] = self.contact(peer).addresses or contact.addresses
        else:
            del self._answered_s[peer]
        if not known and peer in self.table:
            metrics.DHT_PEERS.labels(self.terms.name).set(len(self.table))
            self._tell_came()

    def _tell_came(self) -> None:
        came, self.came = self.came, trio.Event()
        came.set()

    def _dead(self, peer: PeerId) -> None:
        self.table.remove(peer)
        self._where.pop(peer, None)
        self._answered_s.pop(peer, None)
        metrics.DHT_PEERS.labels(self.terms.name).set(len(self.table))

    # -- asking --

    async def ask(self, contact: Contact, message: Message) -> Message:
        """A peer's answer; the peers that it names are those that we would dial.

        Raises Unanswered. ``ADD_PROVIDER`` has no answer, and gives an empty one.
        """
        peer = contact.peer
        outcome = "given-up"
        try:
            with trio.fail_after(ASK_S):
                ends = await dialable(contact, self.terms.dials)
                async with self.host.visit(peer, ends) as connection:
                    answer = await self._converse(peer, message)
                    self._alive(contact, connection)
                    outcome = "answered"
                    return self._believable(answer, connection)
        except (PeerUnreachable, ProtocolRefused, StreamBroken, KadFault) as fault:
            outcome = "failed"
            self._dead(peer)
            raise Unanswered(str(fault)) from fault
        except trio.TooSlowError:
            outcome = "late"
            self._dead(peer)
            raise Unanswered(f"no answer within {ASK_S:g} s") from None
        except Exception as error:  # the door of a stranger's answer: lookups have many tasks
            outcome = "failed"
            count_swallowed("dht-asking", error)
            self._dead(peer)
            raise Unanswered("its answer failed here") from error
        finally:
            metrics.DHT_ASKED.labels(outcome).inc()

    async def _converse(self, peer: PeerId, message: Message) -> Message:
        stream: PeerStream = await self.host.open_stream(peer, self.terms.protocol)
        try:
            await stream.send_all(encode(message))
            await stream.send_eof()
            if message.kind is Kind.ADD_PROVIDER:
                await _end_of(stream)
                return Message(message.kind, message.key)
            reader = MessageReader(MAX_ANSWER_BYTES)
            while data := await stream.receive_some():
                for answer in reader.feed(data):
                    return answer
        finally:
            stream.reset()
        raise StreamBroken("it closed the stream without an answer")

    def usable(self, contact: Contact, told_by: Connection) -> tuple[Endpoint, ...]:
        """The addresses of a contact that belong to this network, and that may be believed."""
        seen = told_by.reach
        return tuple(
            end
            for end in contact.addresses
            if may_dial(end, contact.peer, seen) and reach(end) in self.terms.reaches
        )

    def _believable(self, answer: Message, connection: Connection) -> Message:
        """Without addresses that nobody should make us dial, and without ourselves."""

        def taken(contacts: Iterable[Contact]) -> tuple[Contact, ...]:
            return tuple(
                Contact(one.peer, self.usable(one, connection))
                for one in contacts
                if one.peer != self.host.peer_id
            )

        return Message(
            answer.kind, answer.key, answer.record, taken(answer.closer), taken(answer.providers)
        )

    async def lookup(
        self,
        key: bytes,
        kind: Kind,
        heard: Callable[[Contact, Message], bool] = lambda contact, answer: False,
        *,
        sure: int = BETA,
    ) -> list[Contact]:
        """Asks ever closer peers for ``key``; gives the closest that answered.

        ``heard`` is told each answer, and says whether that is enough. The caller sets the
        deadline.
        """
        if len(key) > MAX_KEY_BYTES:
            raise ValueError(f"a key has at most {MAX_KEY_BYTES} bytes")
        metrics.DHT_LOOKUPS.labels(kind.name.lower()).inc()
        contacts: dict[PeerId, Contact] = {}
        seeds = self.table.closest(place(key), K)
        search = Lookup(place(key), peer_place, seeds, sure=sure)
        enough = False

        async def ask(peer: PeerId) -> None:
            nonlocal enough
            contact = contacts.get(peer) or self.contact(peer)
            try:
                answer = await self.ask(contact, Message(kind, key))
            except Unanswered as fault:
                log.debug("dht-unanswered", peer=peer, because=str(fault))
                search.failed(peer)
            else:
                near = [one for one in answer.closer if self._can_ask(one)]
                contacts.update((one.peer, one) for one in near if one.peer not in contacts)
                search.answered(peer, [one.peer for one in near])
                enough = enough or heard(contact, answer)
            if enough or search.done:
                nursery.cancel_scope.cancel()
            for each in search.next():
                nursery.start_soon(ask, each)

        async with trio.open_nursery() as nursery:
            for each in search.next():
                nursery.start_soon(ask, each)
        return [contacts.get(peer) or self.contact(peer) for peer in search.closest(K)]

    async def whereabouts(self, peer: PeerId) -> Contact:
        """A peer with its addresses, as others know them; without, where nobody does."""
        found = self.contact(peer)

        def heard(_: Contact, answer: Message) -> bool:
            nonlocal found
            for one in answer.closer:
                if one.peer == peer and one.addresses:
                    found = one
            return bool(found.addresses)

        if not found.addresses:
            await self.lookup(peer_id_bytes(peer), Kind.FIND_NODE, heard)
        return found

    def _can_ask(self, contact: Contact) -> bool:
        if self.host.connection(contact.peer) is not None:
            return True
        return any(reach(end) in self.terms.dials for end in contact.addresses)

    # -- keeping the table --

    async def _keep_fresh(self) -> None:
        """Looks for itself and for places drawn by chance, and whether old peers are there."""
        while not len(self.table):
            await self.came.wait()
        await trio.sleep(_FIRST_REFRESH_S)
        while True:
            with trio.move_on_after(_LOOKUP_S):
                await self.lookup(peer_id_bytes(self.host.peer_id), Kind.FIND_NODE, sure=K)
            for _ in range(_RANDOM_LOOKUPS):
                with trio.move_on_after(_LOOKUP_S):
                    await self.lookup(self._rng.randbytes(32), Kind.FIND_NODE)
            now = trio.current_time()
            old = [p for p in self.table if now - self._answered_s.get(p, 0.0) > _OLD_S]
            async with trio.open_nursery() as nursery:
                for peer in old[:_MAX_CHECKS]:
                    nursery.start_soon(self._recheck, peer)
            await trio.sleep(_REFRESH_S * self._rng.uniform(0.8, 1.2))

    async def _recheck(self, peer: PeerId) -> None:
        try:
            await self.ask(self.contact(peer), Message(Kind.FIND_NODE, peer_id_bytes(peer)))
        except Unanswered as fault:
            log.debug("dht-peer-gone", peer=peer, because=str(fault))


async def _end_of(stream: PeerStream) -> None:
    """The peer has read what was sent once it closes its side."""
    while await stream.receive_some():
        pass

"""The DHT as the node uses it: two networks as one, and what this node stands for in them.

Nodes that see each other by private or loopback addresses have a network of their own, as in Kubo:
their addresses are of no use to the rest of the world.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.clock import Clock, SystemClock
from hausd.core.peers import MAX_ADDRESSES, PeerAddress, PeerId
from hausd.p2p.host import Host
from hausd.p2p.kad.addresses import dialable
from hausd.p2p.kad.kad import Kad, KadTerms, Unanswered
from hausd.p2p.kad.serving import Serving
from hausd.policy.reach import Reach, reach
from hausd.policy.standing import Standing, due_on_news, next_due
from hausd.wire import ipns
from hausd.wire.ipns import IpnsFault, IpnsRecord
from hausd.wire.kad import (
    NEAR_PROTOCOL,
    OPEN_PROTOCOL,
    Contact,
    K,
    Kind,
    Message,
    Record,
    ipns_key,
    provider_key,
)

log = structlog.get_logger("hausd.p2p")

MAX_DUTIES = 4096
"""What a node may stand for at once, in provider records and names."""
_TELL_S = 120.0
_TELLS_AT_ONCE = 4
_SPARE = 4
"""So many times more providers are looked at than wanted: some can't be dialled from here."""
_QUORUM = 16
"""So many answers with a valid record are enough, as in go-libp2p-kad-dht."""
_NEAR = frozenset((Reach.MACHINE, Reach.NETWORK))
_NS = 10**6


class DhtMode(StrEnum):
    """How a node takes part. ``auto``: it answers others where they can reach it."""

    AUTO = "auto"
    CLIENT = "client"
    SERVER = "server"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Held:
    """How many peers took a record when it was told last, and when that was."""

    peers: int
    told_ms: int


@dataclass(slots=True, eq=False)
class _Duty:
    """One record that is told to the DHT again and again."""

    what: CID | PeerId
    record: IpnsRecord | None = None
    standing: Standing = field(default_factory=Standing)
    held: Held | None = None
    busy: bool = False


class Dht:
    """See ``open_dht``. Implements ``core.following.Providers``."""

    def __init__(self, networks: Sequence[Kad], clock: Clock) -> None:
        self._networks = networks
        self._clock = clock
        self._duties: dict[CID | PeerId, _Duty] = {}
        self._look = trio.Event()
        self._limit = trio.CapacityLimiter(_TELLS_AT_ONCE)

    @property
    def off(self) -> bool:
        """Whether this node takes no part."""
        return not self._networks

    @property
    def peers(self) -> int:
        """How many there are in the routing tables."""
        return sum(len(kad.table) for kad in self._networks)

    # -- asking --

    async def find(self, cid: CID, at_most: int, *, deadline_s: float) -> list[PeerAddress]:
        """See ``core.following.Providers``. The addresses are safe to dial."""
        found: dict[PeerId, PeerAddress] = {}
        seen: set[PeerId] = set()

        async def look(kad: Kad) -> None:
            def heard(contacts: Iterable[Contact]) -> bool:
                for one in contacts:
                    if one.peer not in seen and one.peer != kad.host.peer_id:
                        seen.add(one.peer)
                        nursery.start_soon(settle, kad, one)
                return len(seen) >= _SPARE * at_most

            key = provider_key(cid)
            if not heard(kad.providers.of(key, trio.current_time())):
                await kad.lookup(key, Kind.GET_PROVIDERS, lambda _, said: heard(said.providers))

        async def settle(kad: Kad, contact: Contact) -> None:
            # providers are kept longer than their addresses
            contact = contact if contact.addresses else await kad.whereabouts(contact.peer)
            ends = await dialable(contact, kad.terms.dials)
            texts = tuple(f"{end}/p2p/{contact.peer}" for end in ends[:MAX_ADDRESSES])
            if texts or kad.host.connection(contact.peer) is not None:
                found[contact.peer] = PeerAddress(contact.peer, texts)
            if len(found) >= at_most:
                nursery.cancel_scope.cancel()

        with trio.move_on_at(deadline_s):
            async with trio.open_nursery() as nursery:
                for kad in self._networks:
                    nursery.start_soon(look, kad)
        return list(found.values())[:at_most]

    async def resolve(self, name: PeerId, *, deadline_s: float) -> IpnsRecord | None:
        """The newest valid record of a name that is to be found."""
        best: list[IpnsRecord] = []

        async def look(kad: Kad) -> None:
            valid = 0

            def heard(contact: Contact, answer: Message) -> bool:
                nonlocal valid
                if answer.record is None:
                    return False
                try:
                    record = ipns.verify(answer.record.untrusted_value, name, self._now_ns())
                except IpnsFault as fault:
                    log.debug("ipns-refused", peer=contact.peer, because=str(fault))
                    return False
                best.append(record)
                best[:] = [max(best)]
                valid += 1
                return valid >= _QUORUM

            kept = kad.values.get(name, trio.current_time())
            if kept is not None and kept.valid_until_ns > self._now_ns():
                best.append(kept)
            await kad.lookup(ipns_key(name), Kind.GET_VALUE, heard)

        with trio.move_on_at(deadline_s):
            async with trio.open_nursery() as nursery:
                for kad in self._networks:
                    nursery.start_soon(look, kad)
        return max(best, default=None)

    # -- standing for something --

    def provide(self, cid: CID) -> None:
        """Says from now on, again and again, that this node has what ``cid`` names."""
        self._begin(_Duty(cid))

    def publish(self, name: PeerId, record: IpnsRecord) -> None:
        """Tells a record from now on, in place of an older one of its name."""
        duty = self._duties.get(name)
        if duty is None or duty.record is None or duty.record < record:
            self._duties.pop(name, None)
            self._begin(_Duty(name, record))

    def withdraw(self, what: CID | PeerId) -> None:
        """Says it no more; what was said is forgotten by others in time."""
        if self._duties.pop(what, None) is not None and isinstance(what, CID):
            for kad in self._networks:
                kad.providers.remove(provider_key(what), kad.host.peer_id)

    def held(self, what: CID | PeerId) -> Held | None:
        """What became of a record when it was told last; None where it was not yet."""
        duty = self._duties.get(what)
        return duty.held if duty is not None else None

    def _begin(self, duty: _Duty) -> None:
        if duty.what not in self._duties and len(self._duties) < MAX_DUTIES:
            self._duties[duty.what] = duty
            self._look.set()

    async def run(self) -> None:
        """Tells what is due, until cancelled."""
        async with trio.open_nursery() as nursery:
            for kad in self._networks:
                nursery.start_soon(self._watch, kad)
            while True:
                self._look = trio.Event()
                now = trio.current_time()
                for duty in self._duties.values():
                    if not duty.busy and duty.standing.due_s <= now:
                        duty.busy = True
                        nursery.start_soon(self._tell, duty)
                idle = (one.standing.due_s for one in self._duties.values() if not one.busy)
                with trio.move_on_at(min(idle, default=now + 3600.0)):
                    await self._look.wait()

    async def _watch(self, kad: Kad) -> None:
        """Who comes is told what too few keep."""
        while True:
            await kad.came.wait()
            for duty in self._duties.values():
                if not duty.busy:
                    duty.standing.due_s = due_on_news(duty.standing, trio.current_time())
            self._look.set()

    async def _tell(self, duty: _Duty) -> None:
        kept_by = 0
        try:
            async with self._limit:
                with trio.move_on_after(_TELL_S):
                    for kad in self._networks:
                        kept_by += await self._tell_network(kad, duty)
        finally:
            duty.busy = False
            now = trio.current_time()
            duty.standing = next_due(duty.standing, kept_by, now, value=duty.record is not None)
            self._look.set()
        if kept_by:
            duty.held = Held(kept_by, self._clock.now_ms())
        log.debug("dht-told", what=str(duty.what), peers=kept_by)

    async def _tell_network(self, kad: Kad, duty: _Duty) -> int:
        """Gives how many peers took it."""
        if isinstance(duty.what, CID):
            me = Contact(kad.host.peer_id, kad.own_addresses())
            if not me.addresses:
                return 0  # nobody of this network could come
            key = provider_key(duty.what)
            kad.providers.add(key, me, trio.current_time())
            message = Message(Kind.ADD_PROVIDER, key, providers=(me,))
        else:
            assert duty.record is not None  # names have one
            key = ipns_key(duty.what)
            kad.values.put(duty.what, duty.record, trio.current_time())
            message = Message(Kind.PUT_VALUE, key, Record(key, duty.record.encoded))
        return await _tell_all(kad, await kad.lookup(key, Kind.FIND_NODE, sure=K), message)

    def _now_ns(self) -> int:
        return self._clock.now_ms() * _NS


async def _tell_all(kad: Kad, contacts: Iterable[Contact], message: Message) -> int:
    taken = 0

    async def tell(contact: Contact) -> None:
        nonlocal taken
        try:
            await kad.ask(contact, message)
        except Unanswered as fault:
            log.debug("dht-untold", peer=contact.peer, because=str(fault))
        else:
            taken += 1

    async with trio.open_nursery() as nursery:
        for contact in contacts:
            nursery.start_soon(tell, contact)
    return taken


@asynccontextmanager
async def open_dht(
    host: Host,
    mode: DhtMode,
    *,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> AsyncIterator[Dht]:
    """Takes part in the DHT until the context is left."""
    clock = clock or SystemClock()
    rng = rng or random.Random(os.urandom(16))  # noqa: S311 spreads load, keeps no secret
    terms = [
        KadTerms("near", NEAR_PROTOCOL, _NEAR, _NEAR & set(map(reach, host.bound))),
        KadTerms("open", OPEN_PROTOCOL, frozenset((Reach.WORLD,)), frozenset((Reach.WORLD,))),
    ]
    async with AsyncExitStack() as stack:
        networks = []
        for each in terms if mode is not DhtMode.OFF else ():
            kad = Kad(host, each, clock, rng)
            if mode is DhtMode.SERVER or (mode is DhtMode.AUTO and kad.own_addresses()):
                host.handle(each.protocol, Serving(kad).serve)
            networks.append(await stack.enter_async_context(kad.open()))
        dht = Dht(networks, clock)
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(dht.run)
        yield dht
        nursery.cancel_scope.cancel()

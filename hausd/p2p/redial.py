"""Keeps bootstrap peers connected, and enough of the others that are known."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
import trio

from hausd.core.clock import Clock
from hausd.core.peers import Direction, Endpoint, PeerId, PeerUnreachable, parse_endpoint
from hausd.p2p import metrics
from hausd.p2p.book import PeerBook
from hausd.p2p.connection import Connection
from hausd.p2p.network import Network
from hausd.policy.reach import Reach, may_dial

log = structlog.get_logger("hausd.p2p")

FIRST_S, LONGEST_S = 1.0, 300.0
GIVE_UP_AFTER = 12
"""Failures in a row, some 40 minutes: then a known peer is forgotten. Bootstrap peers never."""
_DIALS_AT_ONCE = 4
_SAVE_AFTER_S = 2.0
"""From one write of the book to the next: a node that is killed finds back to whom it knew."""
_MAX_FOUND = 64


@dataclass(slots=True)
class _Trial:
    failures: int = 0
    next_s: float = 0.0


class Backoff:
    """When each peer may be dialled again. Pure: time and chance are passed in.

    After n failures in a row a peer waits 2^n seconds, at most five minutes, each time drawn
    between half and one and a half of it: nodes that lost the same peer don't return at once.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._trials: dict[PeerId, _Trial] = {}

    def due_s(self, peer: PeerId) -> float:
        """From when on it may be dialled."""
        trial = self._trials.get(peer)
        return trial.next_s if trial else 0.0

    def failed(self, peer: PeerId, now_s: float) -> int:
        """It could not be reached, or was lost; gives how many times in a row."""
        trial = self._trials.setdefault(peer, _Trial())
        longest = min(LONGEST_S, FIRST_S * 2.0 ** min(trial.failures, 20))
        trial.next_s = now_s + longest * self._rng.uniform(0.5, 1.5)
        trial.failures += 1
        return trial.failures

    def succeeded(self, peer: PeerId) -> None:
        """It has been connected for a while."""
        self._trials.pop(peer, None)

    def keep(self, peers: Iterable[PeerId]) -> None:
        """Forgets all others."""
        wanted = set(peers)
        for peer in self._trials.keys() - wanted:
            del self._trials[peer]


class Redial:
    """The dialling task's state; ``run`` is the task."""

    def __init__(
        self,
        network: Network,
        book: PeerBook,
        bootstrap: Iterable[Endpoint],
        keep_peers: int,
        *,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._network = network
        self._book = book
        self._bootstrap: dict[PeerId, list[Endpoint]] = {}
        for endpoint in bootstrap:
            if endpoint.peer is None:
                raise ValueError(f"{endpoint}: a bootstrap address ends with /p2p/ID")
            self._bootstrap.setdefault(endpoint.peer, []).append(endpoint)
        self._found: dict[PeerId, list[Endpoint]] = {}
        self._keep_peers = keep_peers
        self._clock = clock
        self._backoff = Backoff(rng)
        self._connected_s: dict[PeerId, float] = {}
        self._limit = trio.CapacityLimiter(_DIALS_AT_ONCE)
        self._under_way: set[PeerId] = set()
        self._look = trio.Event()
        network.watch(self)

    # -- what it is told --

    def found(self, endpoint: Endpoint) -> None:
        """A peer was found on the local network."""
        if endpoint.peer is None or endpoint.peer == self._network.me:
            return
        if not may_dial(endpoint, endpoint.peer, Reach.NETWORK):
            return
        ends = self._found.setdefault(endpoint.peer, [])
        if endpoint not in ends:
            ends.append(endpoint)
            del ends[:-8]
        if len(self._found) > _MAX_FOUND:
            del self._found[next(iter(self._found))]
        self._look.set()

    def learned(self, connection: Connection) -> None:
        """A peer told where it can be dialled."""
        if connection.visit:
            return
        self._book.seen(
            connection.peer,
            connection.known_addresses,
            self._clock.now_ms(),
            dialled=connection.direction is Direction.OUT,
        )
        self._look.set()

    async def connected(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        self._connected_s[peer] = trio.current_time()

    async def disconnected(self, peer: PeerId) -> None:
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        # one that comes and goes at once is backed off from as one that never came
        if now - self._connected_s.pop(peer, now) > LONGEST_S:
            self._backoff.succeeded(peer)
        self._backoff.failed(peer, now)
        if known := self._book.known(peer):
            self._book.seen(peer, known.addresses, self._clock.now_ms())
        self._look.set()

    # -- the task --

    async def run(self) -> None:
        """Dials who is due, until cancelled; saves the book now and then, and at the end."""
        saved_s = -math.inf
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    now = trio.current_time()
                    self._look = trio.Event()
                    self._backoff.keep({*self._bootstrap, *self._found, *self._book.latest()})
                    due, next_s = self._due(now)
                    for peer in due:
                        self._under_way.add(peer)
                        nursery.start_soon(self._dial, peer)
                    if self._book.changed and now - saved_s >= _SAVE_AFTER_S:
                        saved_s = now
                        await self.save()
                    look_s = _SAVE_AFTER_S if self._book.changed else LONGEST_S
                    with trio.move_on_after(max(0.1, min(next_s - now, look_s))):
                        await self._look.wait()
        finally:
            with trio.CancelScope(shield=True):
                await self.save()

    async def save(self) -> None:
        """Writes the book, if it changed."""
        if not self._book.changed:
            return
        encoded = self._book.encode()
        written = False
        try:
            await trio.to_thread.run_sync(self._book.write, encoded)
            written = True
        except OSError as fault:
            log.warning("peer-book-unwritten", because=fault.strerror)
        finally:
            self._book.changed |= not written  # failed, or cancelled before it began

    def _due(self, now: float) -> tuple[list[PeerId], float]:
        """Whom to dial now, and when to look again."""
        connected = sum(not one.visit for one in self._network.connections())
        missing = self._keep_peers - connected - len(self._under_way - self._bootstrap.keys())
        due: list[PeerId] = []
        next_s = now + LONGEST_S
        for peer in dict.fromkeys((*self._bootstrap, *self._found, *self._book.latest())):
            if self._network.connection(peer) or peer in self._under_way:
                continue
            if peer == self._network.me or self._network.bans.banned(peer, now):
                continue
            if (due_s := self._backoff.due_s(peer)) > now:
                next_s = min(next_s, due_s)
            elif peer in self._bootstrap:
                due.append(peer)
            elif missing > 0:
                missing -= 1
                due.append(peer)
        return due, next_s

    async def _dial(self, peer: PeerId) -> None:
        try:
            async with self._limit:
                for endpoint in self._endpoints(peer):
                    try:
                        await self._network.dial(peer, endpoint, self._told_at(peer, endpoint))
                    except PeerUnreachable as error:
                        metrics.DIALS_FAILED.inc()
                        log.debug("dial-failed", address=str(endpoint), because=str(error))
                    else:
                        return
            failures = self._backoff.failed(peer, trio.current_time())
            if failures >= GIVE_UP_AFTER and peer not in self._bootstrap:
                self._book.forget(peer)
                self._found.pop(peer, None)
        finally:
            self._under_way.discard(peer)
            self._look.set()

    def _told_at(self, peer: PeerId, endpoint: Endpoint) -> Reach:
        """A name that was not configured must not lead to this machine or network by now."""
        named = endpoint.kind not in ("ip4", "ip6")
        configured = endpoint in self._bootstrap.get(peer, ())
        return Reach.WORLD if named and not configured else Reach.MACHINE

    def _endpoints(self, peer: PeerId) -> list[Endpoint]:
        known = self._book.known(peer)
        ends = [*self._bootstrap.get(peer, ()), *self._found.get(peer, ())]
        ends += [parse_endpoint(each) for each in known.addresses] if known else []
        return list(dict.fromkeys(ends))

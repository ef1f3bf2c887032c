"""Gets a room's blocks from other nodes; implements ``rooms.ports.Leaves``.

``policy.parents`` decides whom to ask for what; here are the streams, the clock and who waits.
Blocks of the live edge and of the archive are sought apart, so that filling the one never moves
the other's parent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.beat import next_beat
from hausd.core.cid import CID
from hausd.core.following import LeafMissing, Priority
from hausd.core.ids import RoomId
from hausd.core.peers import (
    GIVES_NOTHING,
    Gives,
    PeerId,
)
from hausd.p2p import metrics
from hausd.p2p.exchange.line import Asked
from hausd.p2p.exchange.lines import Lines
from hausd.p2p.host import Host
from hausd.policy.asking import EARLY_S, Action, Ask, Lost, Withdraw
from hausd.policy.estimates import Estimates
from hausd.policy.parents import Pull
from hausd.wire.blocks_protocol import (
    MAX_BLOCKS,
    MAX_WAIT_MS,
    Answer,
    Block,
    Busy,
    Gone,
    NotHave,
    Want,
    Wrong,
)

log = structlog.get_logger("hausd.p2p")

WRONG_BAN_S = 600.0
_MAX_EARLY = 256
_NOBODY_S = 0.1
"""Where there is nobody to ask, who asks again and again must not keep the loop busy."""
_LOOK_S = 1.0
"""How often is looked who else may be asked, where nothing is due sooner."""


@dataclass(slots=True, eq=False)
class _Sought:
    """A block that somebody here waits for."""

    priority: Priority
    takers: int = 0
    done: trio.Event = field(default_factory=trio.Event)
    data: bytes | None = None
    asked: dict[PeerId, Asked] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Search:
    """One room's search, of the live edge or of what lies behind it."""

    room: RoomId
    live: bool
    pull: Pull[CID]
    sought: dict[CID, _Sought] = field(default_factory=dict)
    """Every block that ``pull`` wants, and no other."""
    handed: set[CID] = field(default_factory=set)
    """Blocks that came and that their takers have not run to take yet."""
    early: dict[CID, trio.Event] = field(default_factory=dict)
    """Blocks that others asked for before they were sought here."""
    stirred: trio.Event = field(default_factory=trio.Event)


class Asking:
    """All that this node seeks. ``open`` owns the streams; ``follow`` each room's clock."""

    def __init__(self, host: Host, gives: Callable[[RoomId], Gives]) -> None:
        self._host = host
        self._gives = gives
        self._searches: dict[tuple[RoomId, bool], _Search] = {}
        self._lines = Lines(host, self._line_ended)
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Asking]:
        """Asks until the context is left; then nothing is sought any more."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            yield self
            self._nursery = None
            nursery.cancel_scope.cancel()

    # -- what rooms ask --

    @asynccontextmanager
    async def follow(
        self, room: RoomId, neighbours: Callable[[], Iterable[PeerId]]
    ) -> AsyncIterator[None]:
        """Seeks blocks of a room while the context is open, among these neighbours and others."""
        # estimates are a search's own: a peer that is busy with one room may serve another
        live = _Search(room, True, Pull(Estimates()))
        behind = _Search(room, False, Pull(Estimates()))
        async with trio.open_nursery() as nursery:
            for search in (live, behind):
                self._searches[room, search.live] = search
                nursery.start_soon(self._watch_clock, search, neighbours)
            try:
                yield
            finally:
                for search in (live, behind):
                    del self._searches[room, search.live]
                    for one in search.sought.values():
                        one.done.set()
                nursery.cancel_scope.cancel()

    async def fetch(
        self,
        room: RoomId,
        cid: CID,
        max_bytes: int,
        *,
        told_by: PeerId | None,
        deadline_s: float,
        priority: Priority,
    ) -> bytes:
        """See ``rooms.ports.Leaves``."""
        search = self._searches.get((room, priority is Priority.LIVE))
        if search is None:
            raise LeafMissing(cid)
        sought = search.sought.get(cid)
        if sought is None:
            first = told_by or search.pull.parent or self._anyone(search)
            if first is None:
                await trio.sleep(_NOBODY_S)
                raise LeafMissing(cid)
            sought = search.sought[cid] = _Sought(priority)
            if cid in search.early:
                search.early.pop(cid).set()
            search.pull.neighbour(first)
            now_s = trio.current_time()
            self._act(search, search.pull.heard([(cid, max_bytes)], first, now_s, deadline_s))
        sought.takers += 1
        try:
            with trio.move_on_at(deadline_s):
                await sought.done.wait()
        finally:
            sought.takers -= 1
            search.handed.discard(cid)
        if sought.data is None:
            raise LeafMissing(cid)
        return sought.data

    def neighbour(self, room: RoomId, peer: PeerId, hops: int) -> None:
        """A peer told how far from the origin it is; the origin is asked last."""
        for live in (True, False):
            search = self._searches.get((room, live))
            if search is not None:
                search.pull.neighbour(peer, hops)
                search.pull.joins(peer, hops)
                if hops == 0:
                    search.pull.origins.claims(peer)

    # -- what the answering side asks --

    def admits(self, room: RoomId, cid: CID, untrusted_hops: int) -> bool:
        """Whether someone's request for a block that is on its way here may wait for it."""
        search = self._searches.get((room, True))
        if search is None:
            return False
        return cid in search.handed or search.pull.admits(cid, untrusted_hops)

    async def heard_of(self, room: RoomId, cid: CID) -> None:
        """Returns when a block is sought here that was not, after EARLY_S at the latest."""
        search = self._searches.get((room, True))
        if search is None or len(search.early) >= _MAX_EARLY:
            return
        event = search.early.setdefault(cid, trio.Event())
        with trio.move_on_after(EARLY_S):
            await event.wait()
        if search.early.get(cid) is event:
            del search.early[cid]

    def hops(self, room: RoomId) -> int | None:
        """How far from the origin this node is; None where it doesn't follow the room."""
        search = self._searches.get((room, True))
        return search.pull.hops if search is not None else None

    def parent(self, room: RoomId) -> PeerId | None:
        """Whom the live edge comes from now."""
        search = self._searches.get((room, True))
        return search.pull.parent if search is not None else None

    # -- acting on what the policy says --

    def _anyone(self, search: _Search) -> PeerId | None:
        other = self._searches.get((search.room, not search.live))
        if other is not None and other.pull.parent is not None:
            return other.pull.parent
        return next(iter(search.pull.neighbours), None)

    def _act(self, search: _Search, actions: Sequence[Action[CID]]) -> None:
        for action in actions:
            match action:
                case Ask(peer, leaves, wait_s, hops):
                    self._ask(search, peer, leaves, wait_s, hops)
                case Withdraw(peer, leaf):
                    sought = search.sought.get(leaf)
                    asked = sought.asked.pop(peer, None) if sought is not None else None
                    line = self._lines.get(peer)
                    if asked is not None and line is not None:
                        line.withdraw(asked, leaf)
                case Lost(leaf):
                    sought = search.sought.pop(leaf, None)
                    if sought is not None:
                        metrics.LEAVES_LOST.inc()
                        sought.done.set()
        search.stirred.set()

    def _ask(
        self, search: _Search, peer: PeerId, leaves: tuple[CID, ...], wait_s: float, hops: int
    ) -> None:
        gives = self._gives(search.room)
        if not wait_s:
            gives = Gives(gives.slots)
        line = self._lines.to(peer, self._nursery) if self._nursery is not None else None
        for at in range(0, len(leaves), MAX_BLOCKS):
            cids = leaves[at : at + MAX_BLOCKS]
            want = Want(
                search.room,
                cids,
                min(int(wait_s * 1000), MAX_WAIT_MS),
                hops,
                min(search.sought[cid].priority for cid in cids),
                gives if search.live else GIVES_NOTHING,
            )
            metrics.LEAVES_ASKED.labels("wait" if wait_s else "now").inc(len(cids))

            def heard(answer: Answer) -> None:
                self._heard(search, peer, answer)

            asked = line.ask(want, heard) if line is not None else None
            if asked is None:
                # told a turn later: the policy is in the middle of its own answer
                self._soon(search, peer)
                return
            for cid in cids:
                sought = search.sought.get(cid)
                if sought is not None:
                    sought.asked[peer] = asked

    def _soon(self, search: _Search, peer: PeerId) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._tell_gone, peer, [search])

    def _line_ended(self, peer: PeerId) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(self._tell_gone, peer, list(self._searches.values()))

    async def _tell_gone(self, peer: PeerId, searches: list[_Search]) -> None:
        await trio.lowlevel.checkpoint()
        for search in searches:
            for sought in search.sought.values():
                sought.asked.pop(peer, None)
            self._act(search, search.pull.gone(peer, trio.current_time()))

    def _heard(self, search: _Search, peer: PeerId, answer: Answer) -> None:
        now_s = trio.current_time()
        pull = search.pull
        match answer:
            case Block(cid=cid, data=data, hops=hops):
                sought = search.sought.pop(cid, None)
                actions = pull.got(cid, peer, hops, now_s)
                metrics.LEAVES_GOT.inc()
                metrics.LEAF_BYTES_GOT.inc(len(data))
                if sought is None:
                    metrics.LEAVES_TWICE.inc()
                else:
                    sought.data = data
                    if sought.takers:
                        search.handed.add(cid)
                    sought.asked.pop(peer, None)
                    for other, asked in sought.asked.items():
                        line = self._lines.get(other)
                        if line is not None:
                            line.withdraw(asked, cid)
                    sought.done.set()
                self._act(search, [a for a in actions if not isinstance(a, Withdraw)])
            case NotHave(cid=cid, hops=hops):
                self._act(search, pull.none(cid, peer, hops, now_s))
            case Busy(cids=cids, untrusted_peers=named):
                usable = self._lines.named(named, peer)
                self._act(search, pull.busy(list(cids), peer, usable, now_s))
            case Wrong():
                log.warning("wrong-bytes", peer=peer, room=search.room)
                metrics.LEAVES_WRONG.inc()
                self._host.ban(peer, WRONG_BAN_S, "sent bytes that are not the block's")
                for each in list(self._searches.values()):
                    self._act(each, each.pull.wrong(peer, now_s))
            case Gone():
                pass

    # -- the clock --

    async def _watch_clock(
        self, search: _Search, neighbours: Callable[[], Iterable[PeerId]]
    ) -> None:
        pull = search.pull
        while True:
            for peer in neighbours():
                if peer not in pull.neighbours:
                    pull.neighbour(peer)
            look_s, due_s = next_beat(_LOOK_S), pull.next_due()
            with trio.move_on_at(look_s if due_s is None else min(due_s, look_s)):
                search.stirred = trio.Event()
                await search.stirred.wait()
            self._act_on_due(search)

    def _act_on_due(self, search: _Search) -> None:
        actions = search.pull.due(trio.current_time())
        if actions:
            self._act(search, actions)

"""Who gets a node's upload: slots for followers, and a fair order of what is sent. Pure.

A follower that pulls a room's live edge holds a *slot*, which costs what it takes, a copy of the
room where that is not known yet. Slots are given while the node's and the room's budget last and
kept while they are used; so a tree that has formed stays. Who gets none is told whom to ask.

Rooms share the node's budget by weight. A room may use what others leave, and gives it back, slot
by slot, as soon as a room below its share wants it: so none starves, and a premium room, of more
weight, has more but never all.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from hausd.core.ids import RoomId
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import MAX_GIVES, Copies, Gives, PeerId
from hausd.policy.claims import believed

ORIGIN_COPIES = 3.0
"""Default budget of an origin: what a home's uplink carries of a stream it can upload at all."""
MAX_SLOTS = 256
"""Most slots of a room, whatever the budget."""
MAX_ROOMS = 1024
"""More than a node may be in, so that it is never reached."""
NAMED = 4

SLOT_IDLE_S = 2.5
"""A slot that was not used for so long is free again: six parts."""
_SETTLE_S = 5.0
"""So long after it was given a slot costs a whole copy; then what it took."""
_LEAST_COST = 0.05
"""Of a copy: what a slot costs that takes next to nothing."""
_SWAP_S = 1.0
"""A room gives at most one slot in so long to a follower that passes on more."""
_SPARE = 0.05
"""Of the budget, on top of what slots leave: for leaves that were asked for as a hedge."""
_SPARE_BURST_S = 1.0
_SPARE_BYTES = 4 * LEAF_BYTES


@dataclass(slots=True)
class _Slot:
    since_s: float
    used_s: float
    gives: Gives
    dialable: bool
    taken_bytes: int = 0
    rate_bytes_per_s: float = 0.0
    measured_s: float = 0.0
    named: int = 0
    """How often it was named since it last said what it gives."""


@dataclass(slots=True)
class _Bucket:
    """Bytes that may be sent now; it fills at a rate, up to a second's worth."""

    bytes: float = 0.0
    filled_s: float | None = None
    most: float = 0.0

    @property
    def short(self) -> bool:
        """Whether more was taken lately than came."""
        return self.bytes < self.most / 2

    def fill(self, bytes_per_s: float, now_s: float) -> None:
        """Up to now; ``bytes_per_s`` may be other than last time."""
        since_s = now_s - self.filled_s if self.filled_s is not None else _SPARE_BURST_S
        self.most = max(bytes_per_s * _SPARE_BURST_S, float(_SPARE_BYTES))
        self.bytes = min(self.most, self.bytes + bytes_per_s * since_s)
        self.filled_s = now_s


@dataclass(slots=True)
class _Room:
    copy_bytes_per_s: float
    copies: float | None
    weight: float
    bucket: _Bucket = field(default_factory=_Bucket)
    share: _Bucket = field(default_factory=_Bucket)
    slots: OrderedDict[PeerId, _Slot] = field(default_factory=OrderedDict)
    wanted_s: float = float("-inf")
    refused_s: float = float("-inf")
    swapped_s: float = float("-inf")


class Uploads:
    """The upload budget of a node, in bytes a second. Times are the caller's seconds."""

    def __init__(self, budget_bytes_per_s: float) -> None:
        if budget_bytes_per_s < 0:
            raise ValueError("an upload budget is not negative")
        self._budget = budget_bytes_per_s
        self._rooms: dict[RoomId, _Room] = {}
        self._bucket = _Bucket()

    def open(
        self,
        room: RoomId,
        copy_bytes_per_s: float,
        copies: float | None = None,
        weight: float = 1.0,
    ) -> None:
        """A room, or new figures for it. ``copy_bytes_per_s``: all of its renditions together.

        ``copies``: the most this node sends of it. Raises ValueError beyond MAX_ROOMS.
        """
        if copy_bytes_per_s <= 0 or weight <= 0:
            raise ValueError("a room has a rate and a weight above 0")
        one = self._rooms.get(room)
        if one is None:
            if len(self._rooms) >= MAX_ROOMS:
                raise ValueError(f"uploads are shared between {MAX_ROOMS} rooms at most")
            self._rooms[room] = _Room(copy_bytes_per_s, copies, weight)
        else:
            one.copy_bytes_per_s, one.copies, one.weight = copy_bytes_per_s, copies, weight

    def knows(self, room: RoomId) -> bool:
        """Whether somebody asked for something of the room."""
        return room in self._rooms

    def close(self, room: RoomId) -> None:
        """The room is not served any more."""
        self._rooms.pop(room, None)

    def ask(
        self,
        room: RoomId,
        peer: PeerId,
        untrusted_gives: Gives,
        now_s: float,
        *,
        dialable: bool = True,
        hedge_bytes: int = 0,
    ) -> bool:
        """Whether this follower's request for the live edge is served; gives it a slot.

        ``hedge_bytes``: the size of what is here and was asked for without a wait. It gets no
        slot, but what slots leave of the budget. Where this says no, ``names`` says whom to ask.
        """
        one = self._rooms.get(room)
        if one is None:
            return False
        one.wanted_s = now_s
        slot = one.slots.get(peer)
        if slot is not None and now_s - slot.used_s <= SLOT_IDLE_S:
            slot.used_s, slot.gives, slot.dialable = now_s, untrusted_gives, dialable
            slot.named = max(0, slot.named - 1)
            return True
        self._expire(now_s)
        if hedge_bytes:
            return self._spare(one, hedge_bytes, now_s)
        if (
            self._fits(one, now_s)
            or self._regain(one, now_s)
            or self._swap(one, untrusted_gives, now_s)
        ):
            one.slots[peer] = _Slot(now_s, now_s, untrusted_gives, dialable, measured_s=now_s)
            return True
        return False

    def spare(self, size_bytes: int, now_s: float) -> bool:
        """Whether bytes of no room's live edge may be sent now: they have what slots leave.

        That is of the node's budget, and of that of every room which begins here and is followed:
        its copies are what this node's uplink is known to carry.
        """
        self._bucket.fill((1 + _SPARE) * self._budget - self.cost_bytes_per_s(now_s), now_s)
        buckets = [self._bucket]
        for one in self._rooms.values():
            if one.copies is not None and now_s - one.wanted_s <= SLOT_IDLE_S:
                one.bucket.fill((1 + _SPARE) * self._copies(one) - self._cost(one, now_s), now_s)
                buckets.append(one.bucket)
        # half is left for hedges; what is larger than the other half is paid off afterwards
        if any(one.bytes < min(one.most, one.most / 2 + size_bytes) for one in buckets):
            return False
        for bucket in buckets:
            bucket.bytes -= size_bytes
        return True

    def full(self, room: RoomId, peer: PeerId, now_s: float) -> bool:
        """Whether ``ask`` would give this peer no slot: it may as well ask others at once."""
        one = self._rooms.get(room)
        if one is None:
            return True
        return peer not in one.slots and not self._fits(one, now_s)

    def sent(self, room: RoomId, peer: PeerId, size_bytes: int, now_s: float) -> None:
        """So much of the live edge was sent to this peer: what its slot costs from now on."""
        one = self._rooms.get(room)
        slot = one.slots.get(peer) if one is not None else None
        if slot is None:
            return
        slot.taken_bytes += size_bytes
        span_s = now_s - slot.measured_s
        if span_s >= _SETTLE_S:
            slot.rate_bytes_per_s = slot.taken_bytes / span_s
            slot.taken_bytes, slot.measured_s = 0, now_s

    def names(self, room: RoomId, asker: PeerId, now_s: float) -> list[PeerId]:
        """Followers to ask instead, those with most to give first; a list of NAMED at most.

        Each is named as if it had one copy less to give from then on, until it says again.
        """
        one = self._rooms.get(room)
        if one is None:
            return []
        able = [
            (slot.gives.free - slot.named <= 0, -(slot.gives.free - slot.named), at, peer)
            for at, (peer, slot) in enumerate(one.slots.items())
            if slot.dialable
            and slot.gives.slots > 0
            and peer != asker
            and now_s - slot.used_s <= SLOT_IDLE_S
        ]
        named = [peer for *_, peer in sorted(able)[:NAMED]]
        if named:
            one.slots[named[0]].named += 1
        return named

    def gives(self, room: RoomId, now_s: float) -> Gives:
        """What this node and those below it can send on: what it says when it asks."""
        one = self._rooms.get(room)
        if one is None:
            return Gives()
        within = min(self._share(one, now_s), self._copies(one))
        own = int(within / one.copy_bytes_per_s + 1e-6)
        free = self._free(one, within, now_s)
        below, taken = 0, len(one.slots)
        for slot in one.slots.values():
            gives = slot.gives
            taken += gives.taken
            if (
                slot.dialable
                and gives.slots
                and gives.free > slot.named
                and now_s - slot.used_s <= SLOT_IDLE_S
            ):
                below += gives.free - slot.named
        return Gives(min(own, MAX_SLOTS), min(free + below, MAX_GIVES), min(taken, MAX_GIVES))

    def copies(self, room: RoomId, now_s: float) -> Copies:
        """All copies of a room, as far as its followers tell; see ``believed``."""
        one = self._rooms.get(room)
        if one is None:
            return Copies()
        self._expire(now_s)
        told = [slot.gives for slot in one.slots.values()]
        found = believed(Copies(len(told), self.free(room, now_s)), told)
        return Copies(min(found.taken, MAX_GIVES), min(found.free, MAX_GIVES))

    def free(self, room: RoomId, now_s: float) -> int:
        """How many copies this node itself can still send of a room."""
        one = self._rooms.get(room)
        if one is None:
            return 0
        return self._free(one, min(self._share(one, now_s), self._copies(one)), now_s)

    def gone(self, peer: PeerId) -> None:
        """This peer is not connected any more; its slots are free."""
        for one in self._rooms.values():
            one.slots.pop(peer, None)

    def holds(self, room: RoomId) -> tuple[PeerId, ...]:
        """Who has a slot."""
        one = self._rooms.get(room)
        return tuple(one.slots) if one is not None else ()

    def cost_bytes_per_s(self, now_s: float) -> float:
        """What all slots cost together: never more than the budget."""
        return sum(self._cost(one, now_s) for one in self._rooms.values())

    # ---- budgets ----

    def _slot_cost(self, one: _Room, slot: _Slot, now_s: float) -> float:
        if now_s - slot.since_s < _SETTLE_S or not slot.rate_bytes_per_s:
            return one.copy_bytes_per_s
        return min(
            max(slot.rate_bytes_per_s, _LEAST_COST * one.copy_bytes_per_s), one.copy_bytes_per_s
        )

    def _cost(self, one: _Room, now_s: float) -> float:
        return sum(self._slot_cost(one, slot, now_s) for slot in one.slots.values())

    def _free(self, one: _Room, within: float, now_s: float) -> int:
        return max(0, int((within - self._cost(one, now_s)) / one.copy_bytes_per_s + 1e-6))

    def _copies(self, one: _Room) -> float:
        if one.copies is None:
            return float("inf")
        return one.copies * one.copy_bytes_per_s

    def _share(self, one: _Room, now_s: float) -> float:
        """What is this room's while all that are wanted want theirs."""
        return self._budget * one.weight / (one.weight + self._wanted(one, now_s))

    def _wanted(self, one: _Room, now_s: float) -> float:
        """The weight of all other rooms that somebody wants something of."""
        return sum(
            other.weight
            for other in self._rooms.values()
            if other is not one and now_s - other.wanted_s <= SLOT_IDLE_S
        )

    def _fits(self, one: _Room, now_s: float) -> bool:
        copy = one.copy_bytes_per_s
        return (
            len(one.slots) < MAX_SLOTS
            and self._cost(one, now_s) + copy <= self._copies(one) * (1 + 1e-9)
            and self.cost_bytes_per_s(now_s) + copy <= self._budget * (1 + 1e-9)
        )

    def _regain(self, one: _Room, now_s: float) -> bool:
        """Takes slots from rooms above their share for one that stays within its own."""
        copy = one.copy_bytes_per_s
        within = min(self._share(one, now_s), self._copies(one)) * (1 + 1e-9)
        if len(one.slots) >= MAX_SLOTS or self._cost(one, now_s) + copy > within:
            return False
        while not self._fits(one, now_s):
            above = [
                (self._cost(other, now_s) - self._share(other, now_s), at, other)
                for at, other in enumerate(self._rooms.values())
                if other is not one and other.slots
            ]
            if not above or max(above)[0] <= 0:
                return False
            other = max(above)[2]
            del other.slots[_least(other)]
        return True

    def _swap(self, one: _Room, gives: Gives, now_s: float) -> bool:
        """Takes the slot of who passes on least, for one that passes on clearly more.

        Without this, followers that pass nothing on could hold all of an origin's slots.
        """
        if not one.slots or now_s - one.swapped_s < _SWAP_S:
            return False
        least = _least(one)
        held = one.slots[least].gives.slots
        if gives.slots <= 2 * held or self._cost(one, now_s) > self._copies(one) * (1 + 1e-9):
            return False
        slot = one.slots.pop(least)
        if not self._fits(one, now_s):
            one.slots[least] = slot
            return False
        one.swapped_s = now_s
        return True

    def _spare(self, one: _Room, size_bytes: int, now_s: float) -> bool:
        """What slots leave of the budgets, the node's and the room's, and a little on top.

        Where that is short, rooms that want of it have their shares by weight. Where it is not,
        a room may take what the others leave.
        """
        left = (1 + _SPARE) * self._budget - self.cost_bytes_per_s(now_s)
        self._bucket.fill(left, now_s)
        one.share.fill(left * one.weight / (one.weight + self._wanted(one, now_s)), now_s)
        buckets = [self._bucket]
        if one.copies is not None:
            rate = (1 + _SPARE) * self._copies(one) - self._cost(one, now_s)
            one.bucket.fill(rate, now_s)
            buckets.append(one.bucket)
        if not self._budget or any(bucket.bytes < size_bytes for bucket in buckets):
            one.refused_s = now_s
            return False
        if one.share.bytes < size_bytes and (self._bucket.short or self._refused(one, now_s)):
            one.refused_s = now_s
            return False
        for bucket in buckets:
            bucket.bytes -= size_bytes
        one.share.bytes = max(0.0, one.share.bytes - size_bytes)
        return True

    def _refused(self, one: _Room, now_s: float) -> bool:
        """Whether another room got less than it wanted lately."""
        return any(
            other is not one and now_s - other.refused_s <= SLOT_IDLE_S
            for other in self._rooms.values()
        )

    def _expire(self, now_s: float) -> None:
        for one in self._rooms.values():
            idle = [peer for peer, slot in one.slots.items() if now_s - slot.used_s > SLOT_IDLE_S]
            for peer in idle:
                del one.slots[peer]


def _least(one: _Room) -> PeerId:
    """Whose slot goes first: who passes on least, the newest of these."""
    order = [
        (slot.gives.slots, -slot.since_s, -at, peer)
        for at, (peer, slot) in enumerate(one.slots.items())
    ]
    return min(order)[-1]

"""The keys that this node has, of its own rooms and of those it may watch.

``KeyRing`` implements ``rooms.ports.Keyring``. Keys lie wrapped, in memory as on disk; a few that
are in use lie unwrapped in memory. Those of this node's own rooms are kept whatever others send;
of what others gave, the oldest makes way.
"""

from __future__ import annotations

import errno
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
import trio

from hausd.core.clock import Clock
from hausd.core.delegation import Delegation, DelegationError, Scope, SignedDelegation, verify
from hausd.core.errors import Problem
from hausd.core.gating import Epoch, EpochId, EpochKey, Withheld
from hausd.core.ids import RoomId
from hausd.keys.metrics import DROPPED, HELD, UNKEPT
from hausd.keys.store import KeptDelegation, KeptKey, KeyStore, Source
from hausd.keys.wrapping import Wrapper

MAX_IN_USE = 256
MAX_DELEGATIONS = 1_000
MAX_TAKEN_OF_ROOM, MAX_TAKEN = 8_192, 200_000
"""Keys that other nodes gave, of a room (eight weeks, day and night) and in all."""
MAX_IMPORTED = 200_000
_TAKEN = frozenset((Source.HANDED, Source.ASKED))
_UNPROVEN = frozenset((Source.IMPORTED, Source.EARLIER))
"""Nobody compared these with what their rooms' authorities committed themselves to."""
T = TypeVar("T")
log = structlog.get_logger("hausd.keys")
Ask = Callable[[RoomId, Epoch], Awaitable[EpochKey | Withheld]]
_NOBODY_ASKED = Withheld(
    "no-network", "this node has no key of the room, and takes part in no network", "set p2p.listen"
)


@dataclass(slots=True)
class _InUse:
    """A key unwrapped, and the commitment that it was found to be the key of, if any."""

    key: EpochKey
    proven_by: bytes = b""


class KeyRing:
    """See ``open_ring``."""

    def __init__(self, store: KeyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._turn = trio.Lock()
        self._kept: dict[RoomId, dict[EpochId, KeptKey]] = {}
        self._taken: dict[RoomId, dict[EpochId, None]] = {}
        """What others gave of a room, the oldest first: what makes way."""
        self._unkept = False
        self._in_use: OrderedDict[tuple[RoomId, EpochId], _InUse] = OrderedDict()
        self._delegations: dict[str, SignedDelegation] = {}
        self._bans = set(store.bans())
        self.ask_others: Ask | None = None
        """Who asks other nodes for a key; None where there are none."""
        self.told: Callable[[], None] = lambda: None
        """Called when a delegation was added: what was refused may be given now."""
        for kept in store.all_keys():
            self._place(kept)
        for each in store.delegations():
            try:
                self._delegations[each.text] = verify(each.text, each.signature)
            except DelegationError as fault:
                log.warning("delegation-left-out", because=str(fault))
        self._count()

    # -- rooms.ports.Keyring --

    def get(self, room: RoomId, epoch: EpochId) -> EpochKey | None:
        """A key that is here, whether it was checked (``held``) or not; never waits."""
        at = (room, epoch)
        found = self._in_use.get(at)
        if found is not None:
            self._in_use.move_to_end(at)
            return found.key
        kept = self._kept.get(room, {}).get(epoch)
        key = self._store.unwrapped(kept) if kept is not None else None
        if key is not None:
            self._use(room, epoch, key)
        elif kept is not None:
            log.error("key-damaged", room=room)
            self._displace(room, epoch)  # it may be had from others
        return key

    def held(self, room: RoomId, epoch: Epoch) -> EpochKey | None:
        """A key that is here and is the epoch's; never waits. Who imported another one by that name
        has it asked for all the same."""
        key = self.get(room, epoch.id)
        if key is None:
            return None
        used = self._in_use[room, epoch.id]
        if used.proven_by != epoch.commitment:
            if not epoch.is_opened_by(room, key):
                return None
            used.proven_by = epoch.commitment
        return key

    async def ask(self, room: RoomId, epoch: Epoch) -> EpochKey | Withheld:
        """A key from here or from who holds it, or why it is not to be had."""
        found = self.held(room, epoch)
        if found is not None:
            return found
        if self.ask_others is None:
            return _NOBODY_ASKED
        return await self.ask_others(room, epoch)

    async def keep(self, room: RoomId, epoch: Epoch, key: EpochKey) -> None:
        """Takes a key that was made here; it is on disk when this returns. Raises OSError, and
        ValueError where it is not the epoch's."""
        _check(room, epoch, key)
        await self._add(room, {epoch.id: key}, Source.OWN)

    # -- keys --

    async def take(self, room: RoomId, epoch: Epoch, key: EpochKey, source: Source) -> None:
        """Takes a key that another node gave. Where it can't be kept it is used all the same, as
        long as it is in use. Raises ValueError where it is not the epoch's."""
        _check(room, epoch, key)
        try:
            await self._add(room, {epoch.id: key}, source)
        except OSError as fault:
            UNKEPT.inc()
            if not self._unkept:
                log.error("key-not-kept", room=room, error=fault.strerror or str(fault))
            self._unkept = True
            self._use(room, epoch.id, key)
        else:
            self._unkept = False

    async def keep_unproven(self, room: RoomId, keys: Mapping[EpochId, EpochKey]) -> int:
        """Takes keys that their owner handed over; gives how many were new. What they are used
        for is checked then (``held``). Raises OSError, Problem."""
        imported = sum(
            one.source is Source.IMPORTED for of in self._kept.values() for one in of.values()
        )
        if imported + len(keys) > MAX_IMPORTED:
            message = f"{imported:,} keys were imported already, {MAX_IMPORTED:,} may be"
            hint = "have keys.holders of the artist's node name this one: it asks for what it needs"
            raise Problem("too-many-keys", message, hint, 409)
        return await self._add(room, keys, Source.IMPORTED)

    def may_give(self, room: RoomId, epoch: EpochId) -> bool:
        """Whether a key may be given to who has a ticket though no head names this node: it was
        made here, or the artist gave it."""
        kept = self._kept.get(room, {}).get(epoch)
        return kept is not None and kept.source in (Source.OWN, Source.IMPORTED)

    def has_of(self, room: RoomId) -> bool:
        """Whether any key of a room is here."""
        return bool(self._kept.get(room))

    async def all_of(self, room: RoomId) -> dict[EpochId, EpochKey]:
        """Every key of a room that is here."""
        kept = list(self._kept.get(room, {}).values())

        def unwrap() -> dict[EpochId, EpochKey]:
            found = {one.epoch: self._store.unwrapped(one) for one in kept}
            return {epoch: key for epoch, key in found.items() if key is not None}

        return await trio.to_thread.run_sync(unwrap)

    def counts(self) -> dict[RoomId, int]:
        """How many keys are here, by room."""
        return {room: len(keys) for room, keys in self._kept.items() if keys}

    # -- delegations to this node --

    @property
    def delegations(self) -> Sequence[SignedDelegation]:
        return tuple(self._delegations.values())

    def delegations_for(self, room: RoomId) -> list[SignedDelegation]:
        """Those that let this node watch a room; the one that lasts longest first."""
        found = [
            one for one in self._delegations.values() if one.delegation.covers(room, Scope.WATCH)
        ]
        return sorted(found, key=lambda one: one.delegation.not_after_s, reverse=True)

    async def add_delegation(self, signed: SignedDelegation) -> None:
        """Takes a delegation to this node, in the place of older ones of the same wallet that say
        the same. Raises OSError, Problem."""
        made = signed.delegation
        now_s = self._clock.now_ms() // 1000
        gone = [
            text
            for text, one in self._delegations.items()
            if text != made.text
            and (one.delegation.not_after_s < now_s or _replaces(made, one.delegation))
        ]
        if len(self._delegations) - len(gone) >= MAX_DELEGATIONS:
            raise Problem("too-many", f"{MAX_DELEGATIONS} delegations are kept already", status=409)
        kept = KeptDelegation(made.text, signed.signature)
        await self._do(partial(self._store.add_delegation, kept, made.room, made.not_after_s))
        await self._do(partial(self._store.drop_delegations, gone))
        for text in gone:
            self._delegations.pop(text, None)  # another one that came meanwhile may have done it
        self._delegations[made.text] = signed
        self.told()

    # -- bans --

    def banned(self, room: RoomId, wallet: str) -> bool:
        return (room, wallet) in self._bans

    def banned_from(self, room: RoomId) -> set[str]:
        """The wallets that are banned from a room."""
        return {wallet for at, wallet in self._bans if at == room}

    async def ban(self, room: RoomId, wallet: str, *, banned: bool) -> None:
        """No further key for a wallet, or again. Raises OSError."""
        await self._do(partial(self._store.ban, room, wallet, banned=banned))
        (self._bans.add if banned else self._bans.discard)((room, wallet))

    # -- details --

    def _count(self) -> None:
        HELD.set(sum(map(len, self._kept.values())))

    def _use(self, room: RoomId, epoch: EpochId, key: EpochKey) -> None:
        self._in_use[room, epoch] = _InUse(key)
        if len(self._in_use) > MAX_IN_USE:
            self._in_use.popitem(last=False)

    async def _add(self, room: RoomId, keys: Mapping[EpochId, EpochKey], source: Source) -> int:
        """Gives how many were not here."""
        async with self._turn:
            here = dict(self._kept.get(room, {}))

            def add() -> list[KeptKey]:
                wanted = [
                    (epoch, key)
                    for epoch, key in keys.items()
                    if epoch not in here or self._replaces(here[epoch], key, source)
                ]
                return self._store.add(room, wanted, source, self._clock.now_ms())

            for made in await self._done(add):
                self._place(made)
            gone = self._too_many(room) if source in _TAKEN else []
            if gone:
                await self._done(partial(self._store.drop, gone))
                DROPPED.inc(len(gone))
                for at in gone:
                    self._displace(*at)
        self._count()
        return len(keys.keys() - here.keys())

    def _replaces(self, kept: KeptKey, key: EpochKey, source: Source) -> bool:
        """Whether it is of no use any more; or the same, and the artist gives it now; or another,
        and nobody knows whether it is right: then what is proven counts, else what came last."""
        found, imported = self._store.unwrapped(kept), source is Source.IMPORTED
        if found is None:
            return True
        if found == key:
            return imported and kept.source is not Source.OWN
        return kept.source is Source.IMPORTED if imported else kept.source in _UNPROVEN

    def _place(self, kept: KeptKey) -> None:
        self._displace(kept.room, kept.epoch)
        self._in_use.pop((kept.room, kept.epoch), None)
        self._kept.setdefault(kept.room, {})[kept.epoch] = kept
        if kept.source in _TAKEN:
            self._taken.setdefault(kept.room, {})[kept.epoch] = None

    def _displace(self, room: RoomId, epoch: EpochId) -> None:
        _without(self._kept, room, epoch)
        _without(self._taken, room, epoch)

    def _too_many(self, room: RoomId) -> list[tuple[RoomId, EpochId]]:
        """What makes way: the oldest of the room, or of the one that has most."""
        if len(self._taken.get(room, ())) <= MAX_TAKEN_OF_ROOM:
            if sum(map(len, self._taken.values())) <= MAX_TAKEN:
                return []
            room = max(self._taken, key=lambda one: len(self._taken[one]))
        return [(room, next(iter(self._taken[room])))]

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await self._done(work)

    async def _done(self, work: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(work)
        except sqlite3.Error as fault:
            # of two arguments, else it has no strerror
            raise OSError(errno.EIO, f"the keys' file fails: {fault}") from fault


def _without(held: dict[RoomId, dict[EpochId, T]], room: RoomId, epoch: EpochId) -> None:
    of = held.get(room, {})
    of.pop(epoch, None)
    if not of:
        held.pop(room, None)


def _check(room: RoomId, epoch: Epoch, key: EpochKey) -> None:
    if not epoch.is_opened_by(room, key):
        raise ValueError("this is not the key that the epoch's commitment is to")


def _replaces(new: Delegation, old: Delegation) -> bool:
    same = (new.chain, new.wallet, new.room) == (old.chain, old.wallet, old.room)
    return same and new.scopes >= old.scopes and new.not_after_s >= old.not_after_s


@asynccontextmanager
async def open_ring(folder: Path, wrapper: Wrapper, clock: Clock) -> AsyncIterator[KeyRing]:
    """The keys of a home. Raises WrapFault, sqlite3.Error, OSError."""
    store = await trio.to_thread.run_sync(KeyStore, folder, wrapper)
    try:
        yield KeyRing(store, clock)
    finally:
        store.close()

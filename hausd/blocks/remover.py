"""Removing: to make room, to collect what nobody pinned, to drop a room."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import structlog
import trio

from hausd.blocks import files, metrics
from hausd.blocks.catalog import RoomAccount, Volume, on_disk
from hausd.blocks.files import Files
from hausd.blocks.holding import holder
from hausd.blocks.layout import FileKind
from hausd.blocks.pins import Pins
from hausd.blocks.state import Progress, State
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import RoomState
from hausd.core.storage import LEFT, RoomRating, SegmentKey
from hausd.policy import evict

log = structlog.get_logger("hausd.blocks")

_SLACK_PART = 100
_MAX_SLACK_BYTES = 256 * 1024 * 1024
"""So much more than needed is removed at once (a hundredth of the quota, bounded), so that a
full store doesn't choose anew for every batch."""
_RUNNING = (RoomState.LIVE, RoomState.WAITING)
_IN_USE_PART = 2
"""What live edges show takes at most half of the quota, each running room an equal share: what a
stranger streams must not keep others from being recorded."""
_CHUNK_FILES = 200
"""Files removed between two looks at who else waits."""

_Holds = Callable[[Volume], bool]
"""What ``holder`` gives: asked in a thread, made in the store's task, where pins don't change."""


@dataclass(frozen=True, slots=True)
class StillPinned:
    """A room is not dropped because these pins hold it or parts of it."""

    targets: tuple[str, ...]


class Remover:
    """The only one who removes files. All but ``collect`` are called under the state's lock."""

    def __init__(self, state: State, pins: Pins, open_files: Files) -> None:
        self._state = state
        self._pins = pins
        self._files = open_files

    async def make_room(self, need_bytes: int, need_files: int, held: Collection[Volume]) -> bool:
        """Frees at least so much; False, and nothing removed, where that can't be.

        Raises OSError where the disk refuses. ``held`` are files that are about to be written.
        """
        state = self._state
        need_bytes -= await self._empty_lost(need_bytes)
        if need_bytes <= 0 and need_files <= 0:
            return True
        holds = holder(state, self._pins)
        slack = min(state.limits.quota_bytes // _SLACK_PART, _MAX_SLACK_BYTES)
        chosen = await trio.to_thread.run_sync(
            self._choose,
            *(need_bytes, need_files, slack, frozenset(held), holds),
            limiter=state.readers,
        )
        if chosen is None:
            return False
        size = await self.remove(chosen)
        log.info("evicted", files=len(chosen), bytes=size)
        metrics.EVICTED_FILES.inc(len(chosen))
        metrics.EVICTED_BYTES.inc(size)
        return True

    async def collect(self, keep_value: int | None, progress: Progress) -> tuple[int, int]:
        """Removes what is neither pinned nor in use, but for running rooms and those of at least
        ``keep_value``; also lost+found, and packs of rooms that are neither known nor recorded.

        Gives the files and bytes that are gone.
        """
        state = self._state
        async with state.lock:
            gone_files = len(state.lost)
            gone_bytes = await self._empty_lost(1 << 62)
            doomed = await trio.to_thread.run_sync(
                self._collectable, keep_value, holder(state, self._pins), limiter=state.readers
            )
        for start in range(0, len(doomed), _CHUNK_FILES):
            progress("removing", start, len(doomed))
            async with state.lock:
                holds = holder(state, self._pins)  # somebody may have pinned it meanwhile
                chunk = doomed[start : start + _CHUNK_FILES]
                chunk = [one for one in chunk if state.catalog.holds(one) and not holds(one)]
                gone_files += len(chunk)
                gone_bytes += await self.remove(chunk)
        async with state.lock:
            orphans = self._orphans()
            gone_files += len(orphans)
            gone_bytes += await self.remove(orphans)
        progress("removing", len(doomed), len(doomed))
        return gone_files, gone_bytes

    async def shrink(self, room: RoomId, most_bytes: int) -> int:
        """Removes the oldest of a room, as far as it is neither pinned nor in use, until it takes
        at most so much on disk; with the last segment its small blocks go too. Gives the bytes
        freed."""
        state = self._state
        doomed = await trio.to_thread.run_sync(
            self._oldest, room, most_bytes, holder(state, self._pins), limiter=state.readers
        )
        freed = await self.remove(doomed)
        account = state.catalog.rooms.get(room)
        if not most_bytes and account is not None and not account.segments:
            holds = holder(state, self._pins)
            freed += await self.remove([one for one in account.volumes() if not holds(one)])
        if freed:
            log.info("shrunk", room=room, bytes=freed)
        return freed

    def _oldest(self, room: RoomId, most_bytes: int, holds: _Holds) -> list[Volume]:
        account = self._state.catalog.rooms.get(room)
        if account is None:
            return []
        over = account.size - most_bytes
        chosen: list[Volume] = []
        # without small blocks: what is left of the room needs them
        groups = self._groups((), holds, room, small=False)
        groups = [pair for pair in groups if pair[0].evictable]
        # by their place in the room: what is older may have been fetched later
        groups.sort(key=lambda pair: (pair[1][0].key().session, pair[1][0].key().number))
        for candidate, volumes in groups:
            if over <= 0:
                break
            chosen += volumes
            over -= candidate.size
        return chosen

    def wanted(self, room: RoomId) -> bool:
        """Whether a room is this node's own, or pinned, if only in part."""
        rating = self._state.ratings.get(room)
        return (rating is not None and rating.own) or room in self._pins.depths()

    async def drop(self, room: RoomId) -> StillPinned | None:
        """Removes all of a room, running or not, unless something of it is pinned."""
        account = self._state.catalog.rooms.get(room)
        volumes = list(account.volumes()) if account is not None else []
        targets = self._pins.holding(room, volumes)
        if targets:
            return StillPinned(targets)
        await self.remove(volumes)
        return None

    async def remove(self, volumes: Sequence[Volume]) -> int:
        """Removes files, and tells whom it concerns; gives the bytes on disk that are free.

        Raises OSError where the disk doesn't let go of one; those before it are gone.
        """
        state = self._state
        if not volumes:
            return 0
        before = state.catalog.used_bytes
        digests, failed = await trio.to_thread.run_sync(
            self._unlink, volumes, limiter=state.writers
        )
        removed: list[SegmentKey] = []
        for volume, own in zip(volumes, digests, strict=False):
            if volume.kind is FileKind.SEGMENT:
                removed.append(volume.key())
            state.dirty.add(os.path.dirname(state.path(volume)))
            state.dirty.discard(state.path(volume))
            state.forget(volume)
            self._pins.forget(volume)
            state.pending.pop(volume.id, None)
            state.gone[volume.id] = volume.name
            state.catalog.remove(volume, own)
        if removed:
            state.evicted(removed)
        if failed is not None:
            raise failed
        return before - state.catalog.used_bytes

    def _unlink(self, volumes: Sequence[Volume]) -> tuple[list[list[bytes] | None], OSError | None]:
        """In a thread: gives each removed file's digests, None where they can't be read any more,
        and what ended it early."""
        state = self._state
        # On a full disk removing must still work; a start then wonders about missing files.
        with contextlib.suppress(OSError):
            state.journal.write_removed([volume.name for volume in volumes])
        digests: list[list[bytes] | None] = []
        for volume in volumes:
            try:
                table = state.read_table(volume)
            except OSError:
                table = None
            path = state.path(volume)
            self._files.release(path)
            try:
                files.remove(path, state.layout.folder(volume.kind))
            except OSError as fault:
                return digests, fault
            digests.append(list(table.all_digests()) if table is not None else None)
        return digests, None

    async def _empty_lost(self, need_bytes: int) -> int:
        """Removes from lost+found; gives the bytes freed."""
        state = self._state
        freed = 0
        for path in list(state.lost):
            if freed >= need_bytes:
                break
            await trio.to_thread.run_sync(
                files.remove, path, state.layout.lost, limiter=state.writers
            )
            freed += state.lost.pop(path)
        return freed

    def _choose(
        self,
        need_bytes: int,
        need_files: int,
        slack: int,
        held: Collection[Volume],
        holds: _Holds,
    ) -> list[Volume] | None:
        groups = self._groups(held, holds)
        candidates = [candidate for candidate, _ in groups]
        chosen = evict.choose(candidates, need_bytes + slack, need_files) or evict.choose(
            candidates, need_bytes, need_files
        )
        if chosen is None:
            return None
        return [volume for one in chosen for volume in groups[one.id][1]]

    def _collectable(self, keep_value: int | None, holds: _Holds) -> list[Volume]:
        groups = self._groups((), holds, small=False)
        chosen = evict.collectable([candidate for candidate, _ in groups], keep_value)
        return [volume for one in chosen for volume in groups[one.id][1]]

    def _orphans(self) -> list[Volume]:
        """Packs of rooms without a segment that nobody rates or pins."""
        pinned = holder(self._state, self._pins)
        return [
            volume
            for room, account in self._state.catalog.rooms.items()
            if not account.segments and self._state.ratings.get(room, LEFT) == LEFT
            for volume in account.packs.values()
            if not pinned(volume)
        ]

    def _groups(
        self,
        held: Collection[Volume],
        pinned: _Holds,
        only: RoomId | None = None,
        *,
        small: bool = True,
    ) -> list[tuple[evict.Candidate, list[Volume]]]:
        """What goes as one; in a thread, under the state's lock.

        ``small``: small blocks too, those of a room with its last segment.
        """
        found: list[tuple[evict.Candidate, list[Volume]]] = []
        rooms = self._state.catalog.rooms
        ratings = {room: self._state.ratings.get(room, RoomRating()) for room in rooms}
        running = sum(rating.state in _RUNNING for rating in ratings.values())
        share = self._state.limits.quota_bytes // _IN_USE_PART // max(1, running)

        def add(
            room: RoomId, volumes: list[Volume], made_ms: int, *, in_use: bool, value: int
        ) -> None:
            candidate = evict.Candidate(
                id=len(found),
                size=sum(on_disk(volume.size) for volume in volumes),
                files=len(volumes),
                pinned=any(pinned(volume) for volume in volumes),
                in_use=in_use,
                value=value,
                state=ratings[room].state,
                last_use_ms=rooms[room].last_use_ms,
                made_ms=made_ms,
            )
            found.append((candidate, volumes))

        for room, account in rooms.items():
            if only not in (None, room):
                continue
            value = ratings[room].value
            in_use = self._in_use(account, ratings[room], held, share)
            spans = [
                (min(volume.closed_ms for volume in volumes), session, number, volumes)
                for (session, number), volumes in _by_span(account)
            ]
            packs = self._removable_packs(account, ratings[room], held, pinned) if small else []
            if packs and spans and ratings[room].state not in _RUNNING:
                # with what goes last of the room: everything before may need them
                last = sorted(spans, key=lambda span: span[0])[-1]  # of equal ones the last too
                last[3].extend(packs)
                packs = []
            for made_ms, session, number, volumes in spans:
                used = any(
                    in_use(session, number, one) for one in volumes if one.kind is FileKind.SEGMENT
                )
                add(room, volumes, made_ms, in_use=used, value=value)
            if packs:
                made_ms = max((span[0] for span in spans), default=0)
                value = value if ratings[room].state in _RUNNING else min(value, LEFT.value)
                add(room, packs, made_ms, in_use=False, value=value)
        return found

    def _removable_packs(
        self,
        account: RoomAccount,
        rating: RoomRating,
        held: Collection[Volume],
        pinned: _Holds,
    ) -> list[Volume]:
        """Packs that may go where the room's segments do. A running room needs its own, unless
        nobody asked to keep it: then it is left the one that is being written. Those of rooms of
        this node's stay: nobody else may have them (an event's description)."""
        if rating.own or (rating.state in _RUNNING and rating.value >= 0):
            return []
        newest = account.packs[max(account.packs)] if account.packs else None
        return [
            pack
            for pack in account.packs.values()
            if pack not in held
            and not pinned(pack)
            and not (rating.state in _RUNNING and pack is newest)
        ]

    def _in_use(
        self, account: RoomAccount, rating: RoomRating, held: Collection[Volume], share: int
    ) -> Callable[[SessionId, int, Volume], bool]:
        """What of a room is being written or shown live; of the latter at most ``share`` bytes.

        Renditions may lag behind by a segment. What is still open further back was given up
        when a recording had to stop.
        """
        newest = max(
            ((key.session, key.number) for key, one in account.segments.items() if one.fresh),
            default=None,
        )
        window = self._state.limits.live_segments if rating.state in _RUNNING else 0
        window = min(window, _fitting(account, newest, window, share))

        def in_use(session: SessionId, number: int, volume: Volume) -> bool:
            if volume in held:
                return True
            if newest is None or session != newest[0]:
                return False
            behind = newest[1] - number
            return behind < window or (not volume.closed and volume.fresh and behind <= 1)

        return in_use


def _fitting(
    account: RoomAccount, newest: tuple[SessionId, int] | None, window: int, share: int
) -> int:
    """How many of the newest segments take no more than their share."""
    sizes = [0] * window
    for key, volume in account.segments.items():
        if newest is not None and key.session == newest[0]:
            behind = newest[1] - key.number
            if 0 <= behind < window:
                sizes[behind] += on_disk(volume.size)
    return sum(total <= share for total in accumulate(sizes))


def _by_span(account: RoomAccount) -> Iterator[tuple[tuple[SessionId, int], list[Volume]]]:
    spans: dict[tuple[SessionId, int], list[Volume]] = {}
    for key, volume in account.segments.items():
        spans.setdefault((key.session, key.number), []).append(volume)
    yield from spans.items()

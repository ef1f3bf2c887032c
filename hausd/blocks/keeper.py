"""Brings the last writes safely to disk every few seconds, in the order that keeps them whole.

First the files, then the journal: after a power cut nothing older than that is lost. Less often
the index, which must never know of a file that is not yet on disk; last, where the journal has
grown, a shorter one, since the index now tells the rest.
"""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog
import trio

from hausd.blocks import files, metrics
from hausd.blocks.catalog import Volume
from hausd.blocks.errors import disk_failed, explain, unreadable
from hausd.blocks.index import Row
from hausd.blocks.indexfile import replace_index
from hausd.blocks.layout import FileKind
from hausd.blocks.state import State
from hausd.blocks.table import Table
from hausd.blocks.verify import Mender, Verifier
from hausd.core.beat import beat
from hausd.core.storage import SegmentKey

log = structlog.get_logger("hausd.blocks")

_INDEX_EVERY_S = 30.0
_INDEX_PENDING = 128
"""The index is written this often, or when this many files wait for it; the journal tells them
till then, so nothing hangs on it but the time that a start takes after a crash."""
_JOURNAL_BYTES = 1024 * 1024
"""A journal that has grown beyond is made anew."""
_USE_STEP_MS = 60_000
"""How far a room's last use moves before it is written."""


@dataclass(slots=True)
class _Due:
    """What the index has to learn."""

    rows: dict[int, tuple[Row, bytes]]
    gone: dict[int, str]
    uses: list[tuple[str, int]]
    corrupt: set[tuple[int, int]]
    healed: set[tuple[int, int]]

    def __bool__(self) -> bool:
        return bool(self.rows or self.gone or self.uses or self.corrupt or self.healed)


class Keeper:
    """``run`` is the store's own task; ``flush`` may also be called by others."""

    def __init__(self, state: State, mender: Mender, verifier: Verifier) -> None:
        self._state = state
        self._mender = mender
        self._verifier = verifier
        self._confirming = trio.Lock()
        self._failures = 0
        self._index_due_s = 0.0

    async def run(self) -> None:
        """Syncs until cancelled."""
        limits = self._state.limits
        while True:
            await beat(limits.sync_s or 1.0)
            limits = self._state.limits
            await self.flush()
            await self._look_after_suspects()
            self.gauge()

    async def flush(self, *, index: bool = False) -> bool:
        """Brings all that was written to disk; False where that failed (which is logged).

        ``index``: the index too, whether or not its time has come.
        """
        if not await self._flush(index=index):
            return False
        if not self._state.unsure:
            return True
        return await self._confirm() and await self._flush(index=index)

    async def _flush(self, *, index: bool) -> bool:
        """The same, but after a failure only the files: the index may know of what is there."""
        state = self._state
        async with state.index_lock:
            began_s = time.perf_counter()
            due = self._due()
            try:
                await self._sync_dirty()
            except OSError as fault:
                state.trouble = explain(fault, state.layout.root)
                metrics.SYNC_FAILURES.inc()
                log.error("sync-failed", reason=str(fault))
                return False
            if state.unsure:
                return True
            now_s = trio.current_time()
            late = now_s >= self._index_due_s or len(due.rows) >= _INDEX_PENDING
            if due and (index or late):
                self._index_due_s = now_s + _INDEX_EVERY_S
                if not await self._write_index(due):
                    return False
                if state.journal.end > _JOURNAL_BYTES:
                    await self.shorten_journal()
            state.trouble = ""
            metrics.SYNC_S.observe(time.perf_counter() - began_s)
        return True

    async def _confirm(self) -> bool:
        """After a sync that failed and one that succeeded: sees what is on disk of what both were
        to bring there. False where that can't be told yet.

        Linux may drop what it could not write, and reports that once. So these files are read
        again, from the disk; what is lost is mended or counted as corrupt. The journal is written
        anew from memory.
        """
        state = self._state
        async with self._confirming:
            unsure, failures = set(state.unsure), self._failures
            paths = {state.path(volume): volume for volume in state.catalog.volumes()}
            volumes = [paths[path] for path in sorted(unsure) if path in paths]
            try:
                await trio.to_thread.run_sync(_drop_cached, [state.path(one) for one in volumes])
            except OSError as fault:
                log.error("sync-not-confirmed", reason=str(fault))
                return False
            found = await self._verifier.verify(volumes, lambda what, done, total: None)
            async with state.index_lock:
                if not await self.shorten_journal():
                    return False
            state.dirty.add(state.layout.root)  # the journal's new name
            if self._failures == failures:
                state.unsure -= unsure
            lost = found.corrupt + found.missing - found.repaired
            log.warning("sync-confirmed", files=len(volumes), lost_blocks=lost)
        return True

    async def shorten_journal(self) -> bool:
        """Makes a journal that tells only what the index doesn't; False where the disk refuses."""
        state = self._state
        async with state.lock:
            still_open = {
                volume.name: volume.table
                for account in state.catalog.rooms.values()
                for volume in account.segments.values()
                if volume.table is not None
            }
            closed: dict[str, Table] = {}
            volumes = state.catalog.volumes()
            for volume in volumes:
                if volume.kind is FileKind.SEGMENT and volume.id in state.pending:
                    table = state.table(volume)
                    if table is not None:
                        closed[volume.name] = table
            removed = sorted(set(state.gone.values()).difference(one.name for one in volumes))
            try:
                await trio.to_thread.run_sync(
                    state.journal.rewrite, still_open, closed, removed, limiter=state.writers
                )
            except OSError as fault:
                log.warning("journal-not-shortened", reason=str(fault))
                return False
        return True

    async def finish(self) -> None:
        """The last flush; after it a start has nothing to repair."""
        state = self._state
        if not await self.flush(index=True):
            return
        if state.journal.opened:
            await self.shorten_journal()
            try:
                await trio.to_thread.run_sync(state.journal.finish, limiter=state.writers)
            except OSError as fault:
                log.warning("journal-not-finished", reason=str(fault))

    def gauge(self) -> None:
        """Brings the gauges up to date."""
        state = self._state
        metrics.USED_BYTES.set(state.used_bytes())
        metrics.USED_FILES.set(state.used_files())
        metrics.FREE_BYTES.set(state.free_bytes())
        metrics.BLOCKS.set(state.catalog.blocks)

    def _due(self) -> _Due:
        state = self._state
        uses = [
            (str(room), account.last_use_ms)
            for room, account in state.catalog.rooms.items()
            if account.last_use_ms - account.saved_use_ms >= _USE_STEP_MS
        ]
        return _Due(
            dict(state.pending), dict(state.gone), uses, set(state.found_corrupt), set(state.healed)
        )

    async def _sync_dirty(self) -> None:
        state = self._state
        if not state.dirty and state.journal.synced:
            return
        dirty, state.dirty = state.dirty, set()
        done = False
        try:
            await trio.to_thread.run_sync(self._sync_files, dirty)
            done = True
        except OSError:
            self._failures += 1
            state.unsure |= {*dirty, state.layout.journal}
            raise
        finally:
            if not done:  # failed, or cancelled before it began: it is still to be done
                state.dirty |= dirty

    def _sync_files(self, paths: Collection[str]) -> None:
        for path in sorted(paths):
            files.sync(path)
        self._state.journal.sync()

    async def _write_index(self, due: _Due) -> bool:
        state = self._state
        try:
            state.index_bytes = await trio.to_thread.run_sync(self._write_index_in_thread, due)
        except sqlite3.Error as fault:
            # The journal goes on telling what the index doesn't know.
            log.error("index-not-written", reason=str(fault))
            if disk_failed(fault):
                state.trouble = explain(OSError(errno.EIO, str(fault)), state.layout.root)
            elif unreadable(fault):
                await self._remake_index()
            return False
        for id_, entry in due.rows.items():
            if state.pending.get(id_) is entry:
                del state.pending[id_]
        for id_ in due.gone:
            state.gone.pop(id_, None)
        for room, used_ms in due.uses:
            for known, account in state.catalog.rooms.items():
                if known == room:
                    account.saved_use_ms = used_ms
        state.found_corrupt -= due.corrupt
        state.healed -= due.healed
        return True

    def _write_index_in_thread(self, due: _Due) -> int:
        index = self._state.index
        index.write(due.rows.values(), due.gone, due.uses, due.corrupt, due.healed)
        index.checkpoint()
        return index.size()

    async def _remake_index(self) -> None:
        """Begins a broken index anew from the files, as a start would."""
        state = self._state
        volumes = [volume for volume in state.catalog.volumes() if volume.closed]
        try:
            await trio.to_thread.run_sync(self._remake_index_in_thread, volumes)
        except (sqlite3.Error, OSError) as fault:
            log.error("index-not-remade", reason=str(fault))
            return
        log.info("index-remade", files=len(volumes))

    def _remake_index_in_thread(self, volumes: Sequence[Volume]) -> None:
        state = self._state
        state.index.close()
        state.index = replace_index(state.layout)
        for start in range(0, len(volumes), _INDEX_PENDING):
            rows = (state.read_row(volume) for volume in volumes[start : start + _INDEX_PENDING])
            state.index.write((row for row in rows if row is not None), ())
        state.index.checkpoint()

    async def _look_after_suspects(self) -> None:
        state = self._state
        for volume in list(state.suspects):
            try:
                if await self._mender.mend_trailer(volume):
                    continue
            except OSError as fault:  # it stays a suspect till the next beat
                log.debug("not-looked-at", file=volume.name, reason=str(fault))
                continue
            lost = await self._mender.set_aside(volume)
            if isinstance(lost, SegmentKey):
                state.evicted([lost])


def _drop_cached(paths: Sequence[str]) -> None:
    for path in paths:
        files.drop_cached(path)

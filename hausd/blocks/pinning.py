"""Pinning and unpinning: what of the store a pin holds."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog
import trio

from hausd.blocks.catalog import Volume, on_disk
from hausd.blocks.holding import holder, span_of
from hausd.blocks.layout import FileKind
from hausd.blocks.pins import MAX_PINS, BadTarget, Pin, Pins, parse_target
from hausd.blocks.reader import Reader
from hausd.blocks.state import Progress, State
from hausd.blocks.verify import Verifier
from hausd.core import dagcbor, dagpb
from hausd.core.cid import CID, Codec
from hausd.core.ids import RoomId
from hausd.core.shapes import PinShape, VerifyShape
from hausd.policy.depth import WHOLE, Depth, lasts, next_change_ms

log = structlog.get_logger("hausd.blocks")

_LOOK_S = 60.0
_PROGRESS_STEP = 256


class TooManyPins(ValueError):
    """The list of pins is full."""


class Pinning:
    """The pins as users see them."""

    def __init__(self, state: State, pins: Pins, reader: Reader, verifier: Verifier) -> None:
        self._state = state
        self._pins = pins
        self._reader = reader
        self._verifier = verifier
        self._changed = trio.Event()

    async def resolve_all(self, progress: Progress) -> None:
        """Finds what every pin holds; before anything is evicted."""
        for pin in list(self._pins.targets.values()):
            await self._resolve(pin, progress)

    async def add(
        self, untrusted_target: str, progress: Progress, depth: Depth = WHOLE
    ) -> PinShape:
        """Pins a room or CID, durably; again is fine, and sets the depth. Raises BadTarget,
        TooManyPins, and OSError: then nothing has changed."""
        target = parse_target(untrusted_target)
        if isinstance(target, CID) and depth.last_ms is not None:
            raise BadTarget("only a room has a newest hour: what a CID names is pinned whole")
        # Under the lock, so that nothing of it was chosen to be removed and is not yet.
        async with self._state.lock:
            known = self._pins.targets.get(str(target))
            if known is None and len(self._pins.targets) >= MAX_PINS:
                raise TooManyPins(f"there are {MAX_PINS} pins already: remove one first")
            created_ms = known.created_ms if known is not None else self._state.clock.now_ms()
            pin = Pin(target, created_ms, depth)
            if known is not None:
                pin.held |= known.held  # what it held till now is held while that is found again
            self._pins.targets[str(target)] = pin
        await self._resolve(pin, progress)
        try:
            await self._save()
        except OSError:
            if known is None:
                self._pins.targets.pop(str(target), None)
            else:
                self._pins.targets[str(target)] = known
            raise
        self._changed.set()
        return self._shape(pin)

    async def remove(self, untrusted_target: str) -> bool:
        """Unpins, durably; False where it wasn't pinned. Raises BadTarget, and OSError: then
        nothing has changed."""
        target = str(parse_target(untrusted_target))
        found = self._pins.targets.pop(target, None)
        if found is not None or not self._pins.trusted:
            try:
                await self._save()
            except OSError:
                if found is not None:
                    self._pins.targets[target] = found
                raise
        return found is not None

    def shapes(self) -> list[PinShape]:
        """All pins, oldest first."""
        pins = sorted(self._pins.targets.values(), key=lambda pin: pin.created_ms)
        return [self._shape(pin) for pin in pins]

    async def verify(self, progress: Progress) -> tuple[VerifyShape, list[PinShape]]:
        """Reads all that is pinned again; then tells which pins are whole."""
        await self.resolve_all(progress)
        holds = holder(self._state, self._pins)
        volumes = [volume for volume in self._state.catalog.volumes() if holds(volume)]
        found = await self._verifier.verify(volumes, progress)
        await self.resolve_all(progress)
        return found, self.shapes()

    def size(self) -> int:
        """Bytes on disk of all files that are pinned."""
        catalog, pins = self._state.catalog, self._pins
        if not pins.trusted:
            return catalog.used_bytes
        now_ms = self._state.clock.now_ms()
        whole = {
            room
            for room, depth in pins.depths().items()
            if depth.last_ms is None and lasts(depth, now_ms)
        }
        size = sum(account.size for room, account in catalog.rooms.items() if room in whole)
        rest = [room for room in pins.depths() if room not in whole]
        parts = {volume for room in rest for volume in self._held_of(room)} | pins.held()
        return size + sum(on_disk(volume.size) for volume in parts if volume.room not in whole)

    def _held_of(self, room: RoomId) -> set[Volume]:
        """What of a room is held by any pin."""
        account = self._state.catalog.rooms.get(room)
        if account is None:
            return set()
        holds = holder(self._state, self._pins)
        return {volume for volume in account.volumes() if holds(volume)}

    def depth(self, room: RoomId) -> Depth | None:
        """How much of a room is pinned now; None where nothing is."""
        pin = self._pins.targets.get(room)
        if pin is None or not lasts(pin.depth, self._state.clock.now_ms()):
            return None
        return pin.depth

    async def run(self) -> None:
        """Takes out pins whose date has come, until cancelled. They hold nothing from then on."""
        while True:
            self._changed = trio.Event()
            await self._expire()
            for pin in [pin for pin in self._pins.targets.values() if not pin.sure]:
                await self._resolve(pin, lambda what, done, total: None)
            depths = [pin.depth for pin in self._pins.targets.values()]
            now_ms = self._state.clock.now_ms()
            due_ms = next_change_ms(depths, now_ms)
            # clocks are set: what is due in a year is looked at again before
            pause_s = _LOOK_S if due_ms is None else min((due_ms - now_ms) / 1000, _LOOK_S)
            with trio.move_on_after(pause_s):
                await self._changed.wait()

    async def _expire(self) -> None:
        now_ms = self._state.clock.now_ms()
        over = [
            target for target, pin in self._pins.targets.items() if not lasts(pin.depth, now_ms)
        ]
        for target in over:
            del self._pins.targets[target]
            log.info("pin-ended", target=target)
        if over:
            try:
                await self._save()
            except OSError as fault:  # by its date it holds nothing, whatever the file says
                log.error("pins-not-saved", error=fault.strerror)

    async def _save(self) -> None:
        async with self._state.lock:
            await trio.to_thread.run_sync(self._pins.save, self._pins.encoded())

    async def _resolve(self, pin: Pin, progress: Progress) -> None:
        if not isinstance(pin.target, CID):
            if pin.depth.last_ms is not None:
                await self._date(RoomId(pin.target))
        else:
            async with pin.walking:
                removals = -1
                while removals != self._state.catalog.removals:
                    removals = self._state.catalog.removals
                    await self._walk(pin, pin.target, progress)

    async def _date(self, room: RoomId) -> None:
        """Looks up when each segment of a room was streamed; the writer knows those it closes."""
        account = self._state.catalog.rooms.get(room)
        undated = [
            volume
            for volume in (account.segments.values() if account is not None else ())
            if volume.closed and volume.span is None
        ]
        for volume, record in (await self._reader.records(undated)).items():
            volume.span = span_of(record)

    async def _walk(self, pin: Pin, root: CID, progress: Progress) -> None:
        """Everything reachable. A file that lies in a segment is held with the whole segment, so
        what is below it needs no look."""
        pin.complete = True
        unread: CID | None = None
        stack, seen = [root], {root}
        while stack:
            cid = stack.pop()
            if len(seen) % _PROGRESS_STEP == 0:
                progress("finding what is pinned", len(seen) - len(stack), len(seen))
            holders = self._holders(cid)
            if not holders:
                pin.complete = False
                continue
            pin.held.update(holders)
            whole = next((v for v in holders if v.kind is FileKind.SEGMENT), None)
            if whole is not None and self._reader.locate(cid) is not None:
                continue
            if cid.codec is Codec.RAW:
                pin.complete = pin.complete and self._reader.locate(cid) is not None
                continue
            block = await self._reader.block(cid)
            if block is None:
                pin.complete = False
                unread = cid if self._reader.has(cid) else unread
                continue
            fresh = [link for link in _links(cid, block) if link not in seen]
            seen.update(fresh)
            stack.extend(fresh)
        pin.sure = unread is None
        if unread is not None:
            log.error("pin-unread", target=str(root), block=str(unread))

    def _holders(self, cid: CID) -> list[Volume]:
        """Files in which a block is: all of them, since each may be the one that is read.

        What can't be looked at counts too: it is hardly ever another's.
        """
        found = []
        for volume in self._state.catalog.candidates(cid.digest):
            table = self._state.table(volume)
            if (
                table is None
                or cid.digest in table.nodes
                or next(table.find(cid.digest), None) is not None
            ):
                found.append(volume)
        return found

    def _shape(self, pin: Pin) -> PinShape:
        volumes, complete = pin.held, pin.complete
        if not isinstance(pin.target, CID):
            volumes = self._held_of(RoomId(pin.target))
            complete = bool(volumes)
        return PinShape(
            target=str(pin.target),
            kind="cid" if isinstance(pin.target, CID) else "room",
            created=_time(pin.created_ms),
            bytes=sum(on_disk(volume.size) for volume in volumes),
            complete=complete and not any(volume.corrupt for volume in volumes),
            last_s=pin.depth.last_ms / 1000 if pin.depth.last_ms is not None else None,
            until=_time(pin.depth.until_ms) if pin.depth.until_ms is not None else None,
        )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _links(cid: CID, block: bytes) -> list[CID]:
    """What a block links to; nothing where it is not what its codec says."""
    try:
        if cid.codec is Codec.DAG_PB:
            return [link.cid for link in dagpb.decode(block).links]
        value = dagcbor.decode(block, max_items=dagcbor.MAX_LISTED_ITEMS)
        return list(dagcbor.links(value))
    except (dagpb.DagPbError, dagcbor.DagCborError):
        return []

"""Sees to it that recordings are kept elsewhere: one task for each recording and place.

A task tries until it is pinned, with pauses that grow and are drawn by lot, then looks now and
then whether it is so still. What it is at is written down, so that a restart goes on with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import structlog
import tenacity
import trio

from hausd.core.clock import Clock
from hausd.ipfs.metrics import PIN_TRIES, PINS
from hausd.ipfs.ports import Place, TryFailed
from hausd.ipfs.table import MAX_PINS, PinState, PinTable, RemotePin, encode
from hausd.telemetry import count_swallowed

log = structlog.get_logger("hausd.ipfs")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 4.0, 1800.0
_LEAST_PAUSE_S = 1.0
RECHECK_S = 24 * 3600.0
AT_ONCE = 4
"""Recordings that are under way to one place at a time."""
_SAVE_AFTER_S = 0.2
_SAVE_AGAIN_S = 10.0
_drawn = tenacity.wait_random_exponential(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S)


class TooManyPins(Exception):
    """The table is full."""


class Pinner:
    """What is kept elsewhere. ``open`` owns the tasks."""

    def __init__(self, places: Iterable[Place], table: PinTable, clock: Clock) -> None:
        self._places = {place.name: place for place in places}
        self._table = table
        self._clock = clock
        self._pins: dict[tuple[str, str], RemotePin] = {}
        self._scopes: dict[tuple[str, str], trio.CancelScope] = {}
        self._slots = {name: trio.Semaphore(AT_ONCE) for name in self._places}
        self._unsaved = trio.Event()
        self._nursery: trio.Nursery | None = None

    @property
    def names(self) -> Sequence[str]:
        """The places there are."""
        return list(self._places)

    @property
    def places(self) -> Sequence[Place]:
        return list(self._places.values())

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Pinner]:
        """Goes on with what was under way, until the context is left."""
        kept = await self._load()
        self._pins = {pin.key: pin for pin in kept}
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._keep_saving)
            for pin in kept:
                self._begin(pin)
            self._count()
            try:
                yield self
            finally:
                self._nursery = None
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True), suppress(OSError):
                    await self._save()

    def pins(self) -> list[RemotePin]:
        """All but what was removed, as it stands, oldest first."""
        return [pin for pin in self._pins.values() if pin.state is not PinState.REMOVED]

    def get(self, to: str, room: str) -> RemotePin | None:
        """What is known of a room at a place; also that it was removed by hand."""
        return self._pins.get((to, room))

    def want(self, wish: RemotePin) -> RemotePin:
        """Has a recording pinned at a place; what was there of the same room is replaced.

        What is pinned already is looked after; what waits is tried at once. Raises TooManyPins.
        """
        known = self._pins.get(wish.key)
        if known is None:
            if len(self._pins) >= MAX_PINS:
                raise TooManyPins(f"more than {MAX_PINS:,} recordings can't be kept elsewhere")
            known = self._pins[wish.key] = wish
        else:
            known.cid, known.size, known.title = wish.cid, wish.size, wish.title
            known.manifest, known.since_ms = wish.manifest, wish.since_ms
            known.state, known.because, known.tries = PinState.QUEUED, "", 0
            known.sent_bytes = known.next_try_ms = 0
        self._begin(known)
        self._changed()
        return known

    def unwant(self, to: str, room: str) -> bool:
        """Has it removed there; False where it is not known. A place that is configured no more
        is forgotten."""
        pin = self._pins.get((to, room))
        if pin is None or pin.state is PinState.REMOVED:
            return False
        if to not in self._places:
            del self._pins[pin.key]
        else:
            pin.state, pin.because, pin.tries = PinState.REMOVING, "", 0
            self._begin(pin)
        self._changed()
        return True

    # -- the tasks --

    def _begin(self, pin: RemotePin) -> None:
        """The task of a pin anew, from what it is now."""
        scope = self._scopes.pop(pin.key, None)
        if scope is not None:
            scope.cancel()
        if self._nursery is None or pin.to not in self._places or pin.state is PinState.REMOVED:
            return
        scope = self._scopes[pin.key] = trio.CancelScope()
        self._nursery.start_soon(self._run, pin, self._places[pin.to], scope)

    async def _run(self, pin: RemotePin, place: Place, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await self._keep(pin, place)
            except Exception as fault:  # the door of a pin's task; counted
                count_swallowed("remote-pin", fault)
                log.exception("remote-pin-failed", to=pin.to, room=pin.room)
                pin.state, pin.because = PinState.FAILED, "the node failed at this; see its log"
                self._changed()
        if self._scopes.get(pin.key) is scope:
            del self._scopes[pin.key]

    async def _keep(self, pin: RemotePin, place: Place) -> None:
        resting_s = (pin.next_try_ms - self._clock.now_ms()) / 1000
        if pin.state is PinState.FAILED and resting_s > 0:
            await trio.sleep(min(resting_s, LONGEST_PAUSE_S))
        while pin.state is not PinState.REMOVED:
            if pin.state is PinState.PINNED:
                await trio.sleep(RECHECK_S)
                await self._recheck(pin, place)
                continue
            retrying = tenacity.AsyncRetrying(
                wait=_pause,
                sleep=trio.sleep,
                retry=tenacity.retry_if_exception_type(TryFailed),
                before_sleep=partial(self._failed, pin),
            )
            await retrying(self._try, pin, place)

    async def _try(self, pin: RemotePin, place: Place) -> None:
        removing = pin.state is PinState.REMOVING
        pin.next_try_ms = 0
        async with self._slots[pin.to]:
            if removing:
                await place.unpin(pin)
                pin.state, pin.request_id, pin.asked_cid = PinState.REMOVED, "", ""
            else:
                if pin.state is PinState.FAILED:
                    pin.state = PinState.QUEUED
                    self._changed()
                await place.pin(pin, self._changed)
                pin.state = PinState.PINNED
        pin.because, pin.tries = "", 0
        PIN_TRIES.labels(pin.to, "done").inc()
        log.info("remote-pin", to=pin.to, room=pin.room, cid=pin.cid, state=pin.state.value)
        self._changed()

    def _failed(self, pin: RemotePin, retry: tenacity.RetryCallState) -> None:
        fault = retry.outcome.exception() if retry.outcome is not None else None
        pause_s = retry.next_action.sleep if retry.next_action is not None else 0.0
        if pin.state is not PinState.REMOVING:
            pin.state = PinState.FAILED
        pin.because = fault.because if isinstance(fault, TryFailed) else ""
        pin.tries += 1
        pin.next_try_ms = self._clock.now_ms() + round(pause_s * 1000)
        PIN_TRIES.labels(pin.to, "failed").inc()
        log.warning(
            "remote-pin-not-yet",
            to=pin.to,
            room=pin.room,
            because=pin.because,
            again_in_s=round(pause_s, 1),
        )
        self._changed()

    async def _recheck(self, pin: RemotePin, place: Place) -> None:
        try:
            held = await place.holds(pin)
        except TryFailed as fault:
            log.info("remote-pin-unchecked", to=pin.to, room=pin.room, because=fault.because)
            return
        if not held:
            log.warning("remote-pin-gone", to=pin.to, room=pin.room, cid=pin.cid)
            pin.state, pin.sent_bytes = PinState.QUEUED, 0
            self._changed()

    # -- writing down --

    async def _load(self) -> list[RemotePin]:
        """What was kept; a file that can't be read is set aside, and what it said found again."""
        try:
            return await trio.to_thread.run_sync(self._table.load)
        except (OSError, ValueError) as fault:
            log.error("remote-pins-unread", because=str(fault))
            with suppress(OSError):
                await trio.to_thread.run_sync(self._table.set_aside)
            return []

    def _changed(self) -> None:
        self._unsaved.set()
        self._count()

    def _count(self) -> None:
        for name in self._places:
            for state in PinState:
                count = sum(pin.to == name and pin.state is state for pin in self._pins.values())
                PINS.labels(name, state.value).set(count)

    async def _keep_saving(self) -> None:
        while True:
            await self._unsaved.wait()
            await trio.sleep(_SAVE_AFTER_S)
            self._unsaved = trio.Event()
            try:
                await self._save()
            except OSError as fault:
                log.error("remote-pins-not-saved", because=fault.strerror)
                self._unsaved.set()
                await trio.sleep(_SAVE_AGAIN_S)

    async def _save(self) -> None:
        encoded = encode(self._pins.values())
        await trio.to_thread.run_sync(self._table.write, encoded)


def _pause(retry: tenacity.RetryCallState) -> float:
    """Drawn from a span that doubles with each try; no shorter than the other side asked for."""
    fault = retry.outcome.exception() if retry.outcome is not None else None
    asked_s = fault.pause_s if isinstance(fault, TryFailed) else 0.0
    return max(_LEAST_PAUSE_S + _drawn(retry), min(asked_s, LONGEST_PAUSE_S))

"""Finished recordings are kept elsewhere too: at pinning services and in a Kubo node.

What should be there is every room that was streamed into this node and has ended, at every place
that is configured; what the operator removed by hand stays removed. A room that goes on after
its end is pinned anew when it ends again, in place of what was there.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import structlog
import trio

from hausd.blocks.store import Store
from hausd.config import Config
from hausd.config.home import Home
from hausd.config.ipfs import KUBO, token_path
from hausd.core.beat import beat
from hausd.core.clock import Clock
from hausd.core.errors import Problem
from hausd.core.live import RoomState
from hausd.core.peers import PeerAddress, PeerUnreachable
from hausd.core.shapes import CheckShape, PinShape, RemotePinShape
from hausd.exporting import finished_directory
from hausd.ipfs.calls import Caller, Secret, open_client, read_secret
from hausd.ipfs.kubo import ANSWER_S, KuboNode
from hausd.ipfs.pinner import Pinner, TooManyPins
from hausd.ipfs.pinning import PinningService
from hausd.ipfs.ports import Origin, Place, TryFailed
from hausd.ipfs.table import PinState, PinTable, RemotePin
from hausd.network import NodeNetwork
from hausd.policy.reach import Reach
from hausd.rooms.manager import Rooms
from hausd.rooms.room import Room
from hausd.telemetry import count_swallowed

log = structlog.get_logger("hausd.remote")

LOOK_S = 2.0
"""How often is looked whether a room has ended."""
_AGAIN_S, _AGAIN_MOST_S = 60.0, 3600.0
_SERVICE_ANSWER_S = 30.0
_CHECK_S = 8.0
_DIAL_S = 15.0
_DIALS_AT_ONCE = 8
_OVER = (RoomState.ENDED, RoomState.CLOSED)


@dataclass(slots=True)
class RemotePins:
    """What the operator may ask of recordings elsewhere. ``automatic`` may be changed."""

    pinner: Pinner
    rooms: Rooms
    store: Store
    clock: Clock
    automatic: bool
    _again_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Rooms whose recording could not be gathered: when to try again, and the pause after that."""

    async def push(self, untrusted_room: str, to: str = "") -> list[RemotePinShape]:
        """Has a finished room pinned at one place or all. Raises Problem."""
        names = self._names(to)
        room = self.rooms.find(untrusted_room)
        return [_shape(pin, self.pinner) for pin in await self._push(room, names)]

    def remove(self, untrusted_target: str, from_: str) -> None:
        """Has a room, or what has this CID, removed from a place. Raises Problem."""
        there = [pin for pin in self.pinner.pins() if pin.to == from_]
        wanted = {untrusted_target}
        if not any(untrusted_target in (pin.room, pin.cid) for pin in there):
            wanted.add(self.rooms.find(untrusted_target).id)
        found = [pin for pin in there if {pin.room, pin.cid} & wanted]
        if not found:
            raise Problem(
                "not-found",
                f"{untrusted_target[:80]!r} is not pinned at {from_[:40]!r}",
                hint="`hausctl pins list` shows what is, and where",
                status=404,
            )
        for pin in found:
            self.pinner.unwant(pin.to, pin.room)

    def beside(self, pins: Sequence[PinShape]) -> list[PinShape]:
        """The pins here with what is elsewhere of each; then what is only elsewhere."""
        elsewhere: dict[str, list[RemotePinShape]] = {}
        for pin in self.pinner.pins():
            elsewhere.setdefault(pin.room, []).append(_shape(pin, self.pinner))
        shown = [pin.model_copy(update={"remote": elsewhere.pop(pin.target, [])}) for pin in pins]
        for room, remote in elsewhere.items():
            shown.append(
                PinShape(
                    target=room,
                    kind="room",
                    created=min(one.since for one in remote),
                    bytes=0,
                    complete=False,
                    here=False,
                    remote=remote,
                )
            )
        return shown

    async def checks(self) -> list[CheckShape]:
        """Whether each place is there and lets us in."""
        found: dict[str, CheckShape] = {}

        async def look(place: Place) -> None:
            name, why = f"pins at {place.name}", f"no answer within {_CHECK_S:g} s"
            mend = f"look at what [ipfs] says of {place.name}, and whether it runs"
            with trio.move_on_after(_CHECK_S):
                try:
                    told = await place.check()
                except TryFailed as fault:
                    why = fault.because
                else:
                    found[place.name] = CheckShape(name=name, state="ok", found=told)
                    return
            found[place.name] = CheckShape(name=name, state="fail", found=why, mend=mend)

        async with trio.open_nursery() as nursery:
            for place in self.pinner.places:
                nursery.start_soon(look, place)
        return [found[name] for name in self.pinner.names]

    async def run(self) -> None:
        """Pins what has ended, until cancelled."""
        while True:
            await beat(LOOK_S)
            if not self.automatic or not self.pinner.names:
                continue
            for room in self.rooms.origins():
                names = [name for name in self.pinner.names if self._lacks(name, room)]
                if names:
                    try:
                        await self._push_ended(room, names)
                    except Exception as fault:  # the door of a room's turn; counted
                        count_swallowed("remote-pins", fault)
                        log.exception("room-not-pinned", room=room.id)
                        self._later(room)

    def _lacks(self, name: str, room: Room) -> bool:
        if room.state not in _OVER or not room.record.manifest:
            return False
        known = self.pinner.get(name, room.id)
        if known is None:
            return True
        by_hand = known.state in (PinState.REMOVING, PinState.REMOVED)
        return not by_hand and known.manifest != room.record.manifest

    async def _push_ended(self, room: Room, names: Sequence[str]) -> None:
        if trio.current_time() < self._again_s.get(room.id, (0.0, 0.0))[0]:
            return
        try:
            await self._push(room, names)
        except Problem as fault:
            log.warning("room-not-pinned", room=room.id, because=fault.message)
            self._later(room)
        else:
            self._again_s.pop(room.id, None)

    def _later(self, room: Room) -> None:
        pause_s = min(2 * self._again_s.get(room.id, (0.0, _AGAIN_S / 2))[1], _AGAIN_MOST_S)
        self._again_s[room.id] = (trio.current_time() + pause_s, pause_s)

    async def _push(self, room: Room, names: Sequence[str]) -> list[RemotePin]:
        await room.recorder.drained()
        manifest = room.record.manifest
        made = await finished_directory(room, self.store)
        try:
            return [
                self.pinner.want(
                    RemotePin(
                        to=name,
                        room=room.id,
                        title=room.title or room.id,
                        cid=str(made.exported.root),
                        size=made.exported.size,
                        manifest=manifest,
                        since_ms=self.clock.now_ms(),
                    )
                )
                for name in names
            ]
        except TooManyPins as fault:
            raise Problem("too-many-pins", str(fault), status=409) from fault

    def _names(self, to: str) -> list[str]:
        names = list(self.pinner.names)
        if not names:
            raise Problem(
                "no-places",
                "no pinning service and no Kubo node is configured",
                hint="set ipfs.pinning or ipfs.kubo, and start the node again",
                status=409,
            )
        if to and to not in names:
            hint = "there is " + ", ".join(names)
            raise Problem("no-such-place", f"no place is called {to[:40]!r}", hint, 404)
        return [to] if to else names


@asynccontextmanager
async def open_remote_pins(
    home: Home,
    config: Config,
    rooms: Rooms,
    store: Store,
    network: NodeNetwork | None,
    clock: Clock,
) -> AsyncIterator[RemotePins]:
    """Keeps recordings elsewhere until the context is left."""
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        dials = trio.Semaphore(_DIALS_AT_ONCE)

        def connect(told: PeerAddress, told_at: Reach) -> None:
            if network is not None and dials.value:
                nursery.start_soon(_dial, network, told, told_at, dials)

        origin = Origin(
            store.block, lambda: network.host.addresses if network is not None else (), connect
        )
        places = await _places(config, origin, clock, stack)
        pinner = await stack.enter_async_context(Pinner(places, PinTable(home.path), clock).open())
        made = RemotePins(pinner, rooms, store, clock, config.ipfs.pin_finished)
        nursery.start_soon(made.run)
        try:
            yield made
        finally:
            nursery.cancel_scope.cancel()


async def _places(
    config: Config, origin: Origin, clock: Clock, stack: AsyncExitStack
) -> list[Place]:
    places: list[Place] = []
    for service in config.ipfs.pinning:
        client = await stack.enter_async_context(open_client(_SERVICE_ANSWER_S))
        secret = partial(_bearer, service.token)
        caller = Caller(client, service.endpoint, clock, secret)
        places.append(PinningService(service.name, service.endpoint, caller, origin))
    if config.ipfs.kubo:
        client = await stack.enter_async_context(open_client(ANSWER_S))
        token = config.ipfs.kubo_token
        kubo_secret: Secret = partial(_kubo_secret, str(token)) if token else lambda: ""
        caller = Caller(client, config.ipfs.kubo, clock, kubo_secret)
        places.append(KuboNode(KUBO, caller, origin))
    return places


def _bearer(token: str) -> str:
    return "Bearer " + read_secret(lambda: token_path(token).read_bytes())


def _kubo_secret(token: str) -> str:
    """As Kubo writes it in API.Authorizations: ``bearer:SECRET`` or ``basic:USER:PASSWORD``."""
    text = read_secret(lambda: token_path(token).read_bytes())
    kind, colon, rest = text.partition(":")
    if kind == "basic" and colon:
        return "Basic " + base64.b64encode(rest.encode()).decode()
    return "Bearer " + (rest if kind == "bearer" and colon else text)


async def _dial(
    network: NodeNetwork, told: PeerAddress, told_at: Reach, dials: trio.Semaphore
) -> None:
    async with dials:
        with trio.move_on_after(_DIAL_S):
            try:
                await network.host.connect_told(told, told_at)
            except PeerUnreachable as fault:
                log.debug("delegate-unreachable", peer=told.peer, because=str(fault))


def _shape(pin: RemotePin, pinner: Pinner) -> RemotePinShape:
    percent = None
    if pin.state is PinState.PINNING and pin.sent_bytes and pin.size:
        percent = min(99, 100 * pin.sent_bytes // pin.size)  # the last hundredth is its answer
    because = pin.because
    if pin.to not in pinner.names:
        because = "no place of this name is configured any more"
    next_try = datetime.fromtimestamp(pin.next_try_ms / 1000, UTC) if pin.next_try_ms else None
    return RemotePinShape(
        to=pin.to,
        cid=pin.cid,
        state=pin.state.value,
        percent=percent,
        bytes=pin.size,
        detail=pin.detail,
        because=because,
        tries=pin.tries,
        since=datetime.fromtimestamp(pin.since_ms / 1000, UTC),
        next_try=next_try,
    )

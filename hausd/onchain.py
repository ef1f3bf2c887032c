"""Own events' rooms and the chain: goes live, writes manifests down, closes what is over there.

The stream authority's key signs and pays, from the small budget that the artist gave it. A chain
that is slow or away holds nothing up: what is newest by the time it answers is written down. Rooms
of others are told what their event's account names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.budgets import Budgets
from hausd.chain.known import KnownEvents
from hausd.chain.metrics import CHECKPOINTS_BEHIND
from hausd.chain.service import ChainService
from hausd.chain.watching import AccountWatch
from hausd.core.beat import beat, next_beat
from hausd.core.errors import Problem
from hausd.core.event_shapes import ChainStatusShape, ToldShape
from hausd.core.events import RoomEvent
from hausd.core.ids import RoomId
from hausd.core.keys import open_room_authority
from hausd.core.live import RoomState
from hausd.core.programs.instructions import Builder
from hausd.policy.onchain import Step, behind, next_step, spacing
from hausd.rooms.followed_room import FollowedRoom
from hausd.rooms.manager import Rooms
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.standing import standing_of
from hausd.wire.statements import Head

log = structlog.get_logger("hausd.onchain")

_LOOK_S = 1.0
_READ_S = 5.0
_TOLD_S = 0.2
"""Pause between rounds of reading, however often the chain tells of changes: half a slot."""
_COUNT_S = 30.0
_AGAIN_S = 2.0
_AGAIN_MAX_S = 60.0


@dataclass(slots=True)
class _Trouble:
    again_at_s: float = 0.0
    wait_s: float = _AGAIN_S
    because: str = ""


class OnChain:
    """``open`` owns the tasks."""

    def __init__(
        self,
        rooms: Rooms,
        chain: ChainService,
        known: KnownEvents,
        every: int,
        websockets: Sequence[str],
    ) -> None:
        self._rooms = rooms
        self._chain = chain
        self._known = known
        self._every = every
        self._budgets = Budgets(chain)
        self._behind = 0
        self._busy: set[RoomId] = set()
        self._troubles: dict[RoomId, _Trouble] = {}
        self._due_s: dict[RoomId, float] = {}
        """When each event is read again."""
        self._watch = AccountWatch(websockets, self._happened)
        self._told: set[RoomId] = set()
        """Events that changed by the chain's word, and were not read since."""
        self._wake = trio.Event()
        self._doubted = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OnChain]:
        """Reads and tells until the context is left."""
        async with trio.open_nursery() as nursery:
            self._known.changed = self._read
            nursery.start_soon(self._watch.run)
            nursery.start_soon(self._keep_reading)
            nursery.start_soon(self._keep_telling, nursery)
            nursery.start_soon(self._keep_counting)
            yield self
            nursery.cancel_scope.cancel()

    def beside(self, chain: ChainStatusShape) -> ChainStatusShape:
        """The chain with what own rooms told it, and what that leaves to tell."""
        own = [(room, event) for room in self._rooms.origins() if (event := room.event)]
        told = [(event.checkpoint, room.id) for room, event in own if event.checkpoint]
        newest, of = max(told, key=lambda one: one[0].slot, default=(None, ""))
        waiting = [each.because for each in self._troubles.values()]
        doubts = [self._known.doubt(room.id) for room, _ in own]
        return chain.model_copy(
            update={
                "doubt": chain.doubt or next(filter(None, doubts), ""),
                "rooms": sum(not event.over for _, event in own),
                "checkpoints_behind": self._behind,
                "last_checkpoint": ToldShape(
                    room=of,
                    manifest=str(newest.manifest),
                    session=str(newest.session),
                    n=newest.n,
                    slot=newest.slot,
                )
                if newest is not None
                else None,
                "waiting": waiting[0] if waiting else "",
                "budgets": self._budgets.shapes(),
            }
        )

    # -- reading --

    def _kept(self) -> list[RoomId]:
        rooms = (*self._rooms.origins(), *self._rooms.followed())
        return [room.id for room in rooms if open_room_authority(room.id) is None]

    async def _keep_reading(self) -> None:
        """The events of rooms that this node takes part in are read often, and at once where the
        chain tells that they changed: then once more a second later, for one endpoint may tell of
        it before another shows it."""
        while True:
            now_s = trio.current_time()
            kept = self._kept()
            self._watch.watch(map(Pubkey.from_string, kept))
            for room in kept:
                if room not in self._due_s:  # it was looked up before there was a room to tell
                    await self._known.tell(room)
                told = room in self._told
                due = told or now_s >= self._due_s.get(room, 0.0)
                if due and self._known.expect(room):
                    self._due_s[room] = now_s + (_LOOK_S if told else _READ_S)
                    self._told.discard(room)
            for gone in self._due_s.keys() - set(kept):
                del self._due_s[gone]
            if self._wake.is_set():
                await trio.sleep(_TOLD_S)
            self._wake = trio.Event()
            if not self._told:
                with trio.move_on_at(next_beat(_LOOK_S)):
                    await self._wake.wait()

    def _happened(self, event: Pubkey) -> None:
        room = RoomId(str(event))
        if room in self._due_s:
            self._told.add(room)
            self._wake.set()

    async def _read(self, event: RoomEvent) -> None:
        """Raises OSError where the room could not write it down."""
        await self._rooms.event_changed(event)
        room = self._rooms.get(event.room)
        written = event.checkpoint
        if not isinstance(room, FollowedRoom):
            return
        if written is not None:
            state = RoomState.CLOSED if event.over else RoomState.LIVE
            room.proven(
                Head(room.id, written.session, written.n, written.manifest, state, event.starts_ms)
            )
        if event.over:
            room.event_over()

    # -- telling --

    async def _keep_telling(self, nursery: trio.Nursery) -> None:
        while True:
            await beat(_LOOK_S)
            self._again_once_it_answers()
            late = 0
            for room in self._rooms.origins():
                event = room.event
                if event is None:
                    continue
                standing = standing_of(room, event)
                late += behind(standing.newest, standing.written)
                step = next_step(standing, spacing(self._every, self._budgets.left(room.id)))
                if step is not None and self._may(room.id):
                    self._busy.add(room.id)
                    nursery.start_soon(self._take, room, event, step)
            self._behind = late
            CHECKPOINTS_BEHIND.set(late)

    def _again_once_it_answers(self) -> None:
        """What waits for a chain that did not answer waits no longer than that."""
        doubted, self._doubted = self._doubted, bool(self._chain.doubt())
        if doubted and not self._doubted:
            for trouble in self._troubles.values():
                trouble.again_at_s, trouble.wait_s = 0.0, _AGAIN_S

    async def _keep_counting(self) -> None:
        """What is left to pay with is looked at now and then, and soon where it is not known."""
        while True:
            with suppress(Problem):  # the endpoints' troubles are told already
                await self._budgets.look(self._paying())
            with trio.move_on_after(_COUNT_S):
                await beat(_LOOK_S)
                while all(self._budgets.left(room.id) is not None for room in self._paying()):
                    await beat(_LOOK_S)

    def _paying(self) -> list[OriginRoom]:
        return [room for room in self._rooms.origins() if _pays(room)]

    def _may(self, room: RoomId) -> bool:
        trouble = self._troubles.get(room)
        waits = trouble is not None and trio.current_time() < trouble.again_at_s
        return room not in self._busy and not waits

    async def _take(self, room: OriginRoom, event: RoomEvent, step: Step) -> None:
        try:
            if step is Step.CLOSE_ROOM:
                await room.close()
                log.info("room-closed-with-its-event", room=room.id, state=event.state)
            elif step is Step.MAKE_FREE:
                await room.make_free()
                log.info("recording-made-free", room=room.id)
            else:
                builder = Builder((await self._chain.client()).programs)
                instruction = _instruction(builder, room, event, step)
                landed = await self._chain.act([instruction], Keypair.from_seed(room.record.seed))
                self._budgets.paid(room.id, landed.fee)
                await self._known.look_up(room.id)
            self._troubles.pop(room.id, None)
        except Problem as fault:
            self._note(room, step, fault.message)
        except OSError as fault:
            self._note(room, step, f"it can't be written down here ({fault.strerror})")
        finally:
            self._busy.discard(room.id)

    def _note(self, room: OriginRoom, step: Step, because: str) -> None:
        trouble = self._troubles.setdefault(room.id, _Trouble())
        if trouble.because != because:
            log.warning("chain-not-told", room=room.id, of=step.value, because=because)
            room.notice("chain-not-told", f"This waits for the chain ({step}): {because}.")
        trouble.because = because
        trouble.again_at_s = trio.current_time() + trouble.wait_s
        trouble.wait_s = min(_AGAIN_MAX_S, 2 * trouble.wait_s)


def _pays(room: OriginRoom) -> bool:
    """Whether more is to be told of its event by its own key."""
    event = room.event
    return event is not None and not event.over and event.authority.raw == room.record.authority


def _instruction(builder: Builder, room: OriginRoom, event: RoomEvent, step: Step) -> Instruction:
    address = Pubkey.from_string(room.id)
    signer = Keypair.from_seed(room.record.seed).pubkey()
    standing = standing_of(room, event)
    if step is Step.GO_LIVE:
        return builder.go_live(signer, address)
    if step is Step.TELL_RECORDING:
        assert standing.recording is not None  # next_step saw one
        return builder.set_recording(signer, address, standing.recording)
    head = room.head
    assert head is not None  # next_step saw one
    return builder.checkpoint(signer, address, head.manifest, head.session, head.n)

"""What an origin has to tell the chain of its event's room next. Pure.

The chain is behind by design: it gets the newest manifest now and then, never each, and a stream
never waits for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from hausd.core.cid import CID
from hausd.core.events import EventState
from hausd.core.ids import SessionId
from hausd.core.live import RoomState

_RUNS = (RoomState.LIVE, RoomState.WAITING)
_OVER = (RoomState.ENDED, RoomState.CLOSED)
_WRITES = (EventState.LIVE, EventState.ENDED, EventState.FINALIZED)

_LITTLE = 50
"""Checkpoints that are left when they begin to be spared."""
_FOR_THE_END = 3
"""The last manifest, the directory, and one for what may go wrong."""
_NOT_WHILE_IT_RUNS = 2**40


class Step(StrEnum):
    """What is to be done next."""

    GO_LIVE = "go-live"
    CHECKPOINT = "checkpoint"
    TELL_RECORDING = "tell-recording"
    CLOSE_ROOM = "close-room"
    MAKE_FREE = "make-free"


@dataclass(frozen=True, slots=True)
class Place:
    """How far a manifest is: each of a session's heads names one segment more or less."""

    session: SessionId
    n: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A room as it is here, beside its event as the chain has it.

    ``signs``: the chain names this node's key for the stream. ``newest`` is signed here,
    ``written`` on chain. ``recording``: the finished recording's directory, ``told`` the one that
    the chain has. Of ``renditions`` that are made now each one's segment has a head of its own.
    ``to_free``: the recording is to be for everybody, and is not yet.
    """

    room: RoomState
    event: EventState
    signs: bool
    newest: Place | None
    written: Place | None
    recording: CID | None
    told: CID | None
    renditions: int = 1
    to_free: bool = False


def behind(newest: Place | None, written: Place | None) -> int:
    """Heads that were signed and are not on chain; of earlier sessions none is counted."""
    if newest is None:
        return 0
    if written is None or written.session.counter < newest.session.counter:
        return newest.n + 1
    return max(0, newest.n - written.n)


def spacing(every: int, left: int | None) -> int:
    """Segments from checkpoint to checkpoint, where the budget pays for ``left`` more: the fewer
    are left the more apart they are, and the last ones are for the end. None: not known."""
    if left is None or left > _LITTLE:
        return every
    if left <= _FOR_THE_END:
        return _NOT_WHILE_IT_RUNS
    return every * math.ceil(_LITTLE / left)


def next_step(standing: Standing, every: int) -> Step | None:
    """``every``: so many segments pass from one manifest that is written down to the next."""
    event, room = standing.event, standing.room
    over = event in (EventState.ENDED, EventState.FINALIZED, EventState.CANCELLED)
    if over and room is not RoomState.CLOSED:
        return Step.CLOSE_ROOM
    if not standing.signs:
        return None
    if event is EventState.FINALIZED and standing.to_free:
        return Step.MAKE_FREE
    if event is EventState.OPEN and room in _RUNS:
        return Step.GO_LIVE
    due = behind(standing.newest, standing.written)
    if event in _WRITES and (due >= every * standing.renditions or (due and room in _OVER)):
        return Step.CHECKPOINT
    finished = standing.recording is not None and standing.told is None and room in _OVER
    if finished and event in (EventState.ENDED, EventState.FINALIZED):
        return Step.TELL_RECORDING
    return None

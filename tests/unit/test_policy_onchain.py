"""What an origin tells the chain next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.core.cid import CID
from hausd.core.events import EventState
from hausd.core.ids import SessionId
from hausd.core.live import RoomState
from hausd.policy.onchain import Place, Standing, Step, behind, next_step, spacing

FIRST, SECOND = SessionId(1, 7), SessionId(2, 9)
DONE = CID.of(b"a directory")
LIVE = Standing(RoomState.LIVE, EventState.LIVE, True, Place(FIRST, 9), Place(FIRST, 3), None, None)
OVER = replace(
    LIVE, event=EventState.FINALIZED, room=RoomState.CLOSED, written=Place(FIRST, 9), told=DONE
)


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        (replace(LIVE, event=EventState.OPEN), Step.GO_LIVE),
        (replace(LIVE, event=EventState.OPEN, room=RoomState.CREATED), None),
        (replace(LIVE, event=EventState.DRAFT), None),
        (LIVE, Step.CHECKPOINT),
        (replace(LIVE, renditions=2), None),
        (replace(LIVE, written=Place(FIRST, 4)), None),
        (replace(LIVE, written=Place(FIRST, 8), room=RoomState.ENDED), Step.CHECKPOINT),
        (replace(LIVE, written=Place(FIRST, 9), room=RoomState.ENDED), None),
        (replace(LIVE, newest=Place(SECOND, 5)), Step.CHECKPOINT),
        (replace(LIVE, newest=None, written=None), None),
        (replace(LIVE, written=None), Step.CHECKPOINT),
        (replace(LIVE, event=EventState.ENDED), Step.CLOSE_ROOM),
        (replace(LIVE, event=EventState.FINALIZED, to_free=True), Step.CLOSE_ROOM),
        (replace(OVER, to_free=True), Step.MAKE_FREE),
        (replace(OVER, event=EventState.ENDED, to_free=True), None),
        (replace(OVER, event=EventState.CANCELLED, to_free=True), None),
        (replace(OVER, signs=False, to_free=True), None),
        (replace(LIVE, event=EventState.CANCELLED, signs=False), Step.CLOSE_ROOM),
        (replace(LIVE, signs=False), None),
        (
            replace(
                LIVE,
                event=EventState.FINALIZED,
                room=RoomState.CLOSED,
                written=Place(FIRST, 9),
                recording=DONE,
            ),
            Step.TELL_RECORDING,
        ),
        (
            replace(
                LIVE, event=EventState.FINALIZED, room=RoomState.CLOSED, recording=DONE, told=DONE
            ),
            Step.CHECKPOINT,
        ),
        (
            replace(
                LIVE,
                event=EventState.FINALIZED,
                room=RoomState.CLOSED,
                written=Place(FIRST, 9),
                recording=DONE,
                told=DONE,
            ),
            None,
        ),
    ],
)
def test_the_next_step(standing: Standing, step: Step | None) -> None:
    assert next_step(standing, 6) is step


places = st.builds(Place, st.sampled_from([FIRST, SECOND]), st.integers(0, 50))


@given(
    st.builds(
        Standing,
        st.sampled_from(RoomState),
        st.sampled_from(EventState),
        st.booleans(),
        st.none() | places,
        st.none() | places,
        st.none() | st.just(DONE),
        st.just(None),
    ),
    st.integers(1, 20),
)
def test_every_step_leads_on_and_they_come_to_an_end(standing: Standing, every: int) -> None:
    """Nothing is paid for twice, whatever the room and the chain look like."""
    for _ in range(5):
        match next_step(standing, every):
            case None:
                return
            case Step.GO_LIVE:
                standing = replace(standing, event=EventState.LIVE)
            case Step.CHECKPOINT:
                assert behind(standing.newest, standing.written) > 0
                standing = replace(standing, written=standing.newest)
            case Step.TELL_RECORDING:
                standing = replace(standing, told=standing.recording)
            case Step.CLOSE_ROOM:
                standing = replace(standing, room=RoomState.CLOSED)
    raise AssertionError(standing)


@pytest.mark.parametrize(
    ("left", "every"), [(None, 6), (51, 6), (50, 6), (49, 12), (25, 12), (10, 30), (4, 78)]
)
def test_checkpoints_are_further_apart_the_less_is_left(left: int | None, every: int) -> None:
    assert spacing(6, left) == every


def test_the_last_of_a_budget_is_for_the_end() -> None:
    late = replace(LIVE, newest=Place(FIRST, 10**6))
    assert next_step(late, spacing(6, 3)) is None
    assert next_step(replace(late, room=RoomState.ENDED), spacing(6, 3)) is Step.CHECKPOINT

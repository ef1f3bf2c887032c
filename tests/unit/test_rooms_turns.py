"""All rooms share the line on which archives are fetched, by weight; none waits for another."""

from __future__ import annotations

from collections import Counter

import trio

from hausd.core.ids import RoomId
from hausd.policy.sharing import PREMIUM_WEIGHT
from hausd.rooms.turns import Turns

BLOCK = 131_072
ROOMS = {RoomId("premium"): PREMIUM_WEIGHT, RoomId("one"): 1.0, RoomId("two"): 1.0}


async def test_a_room_that_wants_much_leaves_the_others_their_share(
    autojump_clock: trio.testing.MockClock,
) -> None:
    turns = Turns(at_once=4)
    taken: list[RoomId] = []
    most = here = 0

    async def fetch(room: RoomId) -> None:
        nonlocal most, here
        async with turns.turn(room, ROOMS[room], BLOCK):
            taken.append(room)
            here += 1
            most = max(most, here)
            await trio.sleep(0.1)
            here -= 1

    with trio.move_on_after(30):
        async with trio.open_nursery() as nursery:
            for room in ROOMS:
                for _ in range(1000 if room == "one" else 400):
                    nursery.start_soon(fetch, room)
    counts = Counter(taken[:600])
    assert most == 4
    assert 380 <= counts[RoomId("premium")] <= 400
    # the first four find nobody before them, whoever they are
    assert abs(counts[RoomId("one")] - counts[RoomId("two")]) <= 2 + 4


async def test_who_goes_away_while_waiting_or_when_called_takes_no_turn_with_him(
    autojump_clock: trio.testing.MockClock,
) -> None:
    turns = Turns(at_once=1)
    room = RoomId("one")

    async def wait() -> None:
        async with turns.turn(room, 1.0, BLOCK):
            await trio.sleep(1)

    for patience_s in (0, 0.5, 1, 1.5):  # at 1 the turn comes as it is given up
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(patience_s):
                await wait()
    with trio.fail_after(1.5):
        await wait()

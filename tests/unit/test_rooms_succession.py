"""Two encoders with one key: who has the room, and what their artist is told."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from hausd.core.publishing import FeedOver, Publisher
from hausd.policy.takeover import HOLD_S, SILENT_S, Takeovers
from hausd.rooms.succession import Succession


class Encoder:
    """A publisher's stay, without the room around it."""

    def __init__(self, name: str) -> None:
        self.publisher = Publisher("192.0.2.1", "rtmp", name)
        self.holds = True
        self.last_tag_at_s = 0.0
        self._changed = trio.Event()

    def send(self) -> None:
        self.last_tag_at_s = trio.current_time()
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def go(self) -> None:
        self.holds = False
        self._changed.set()

    async def heard(self) -> None:
        await self._changed.wait()

    async def keep_sending(self) -> None:
        while self.holds:
            self.send()
            await trio.sleep(0.25)


class Stage:
    """A room of which only the succession is real."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.notices: list[tuple[str, str]] = []
        self.holder: Encoder | None = None
        self._nursery = nursery
        self._succession = Succession(lambda code, text: self.notices.append((code, text)))

    @property
    def codes(self) -> list[str]:
        return [code for code, _ in self.notices]

    async def come(self, name: str) -> Encoder:
        """An encoder comes and, where it may, begins to send."""
        newcomer = Encoder(name)
        await self._succession.decide(newcomer.publisher, lambda: self.holder)
        if self.holder is not None:
            self.holder.go()
        self.holder = newcomer
        self._nursery.start_soon(newcomer.keep_sending)
        await trio.sleep(0.5)
        return newcomer


@pytest.fixture
def stage(nursery: trio.Nursery) -> Stage:
    return Stage(nursery)


async def test_a_silent_encoder_is_succeeded_at_once_and_nobody_is_bothered(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    for _ in range(5):
        holder = await stage.come("OBS")
        holder.holds = False  # it stops sending ...
        await trio.sleep(SILENT_S)
        holder.holds = True  # ... but its connection is still there
        before = trio.current_time()
        await stage.come("OBS")
        assert trio.current_time() - before == pytest.approx(0.5, abs=0.1)
        stage.holder = None
    assert stage.notices == []


async def test_the_first_newcomer_has_the_room_at_once_also_from_one_that_sends(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    await stage.come("first")
    before = trio.current_time()
    assert await stage.come("second") is stage.holder
    assert trio.current_time() - before == pytest.approx(0.5, abs=0.1)
    ((code, text),) = stage.notices
    assert code == "taken-over"
    assert "(second) took this room over from the encoder at 192.0.2.1 (first)" in text


async def test_an_encoder_that_was_sent_away_does_not_take_the_room_back_however_often_it_tries(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    await stage.come("first")
    second = await stage.come("second")
    for _ in range(30):
        with pytest.raises(FeedOver, match=r"\(second\) is already sending"):
            await stage.come("first")
        await trio.sleep(10)
    assert stage.holder is second
    assert stage.codes == ["taken-over", "contested"], "told once, however often it tries"


async def test_one_that_dies_while_the_room_is_held_is_succeeded_after_a_moment(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    await stage.come("first")
    second = await stage.come("second")
    second.holds = False
    await trio.sleep(0.3)
    second.holds = True  # its connection is there, and it sent a moment ago
    before = trio.current_time()
    await stage.come("first")
    assert trio.current_time() - before <= SILENT_S + 0.6


async def test_one_that_leaves_while_a_newcomer_waits_makes_room_at_once(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    await stage.come("first")
    second = await stage.come("second")
    before = trio.current_time()
    second.go()
    await stage.come("first")
    assert trio.current_time() - before == pytest.approx(0.5, abs=0.1)


async def test_after_a_quiet_while_an_artist_may_move_again(
    autojump_clock: trio.testing.MockClock, stage: Stage
) -> None:
    await stage.come("first")
    await stage.come("second")
    await trio.sleep(HOLD_S)
    await stage.come("third")
    assert stage.holder is not None
    assert stage.holder.publisher.encoder == "third"


async def test_encoders_that_outwait_the_hold_take_the_room_ever_more_seldom() -> None:
    takeovers, now, times = Takeovers(), 1000.0, []
    while now < 1000 + 6 * 3600:
        if not takeovers.held(now):
            takeovers.taken(now)
            times.append(now)
        now += 1
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps[:4] == [60, 120, 240, 480]
    assert len(times) < 30

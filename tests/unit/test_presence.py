"""What a node says of its rooms in the DHT: one that others made can't keep the others back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from hausd.presence import Presence


@dataclass
class Made:
    """A room whose recording came from another node."""

    id: str


class Two:
    """Rooms."""

    def origins(self) -> list[Made]:
        return [Made("bad"), Made("good")]

    def followed(self) -> list[Made]:
        return []


async def test_a_recording_that_nobody_thought_of_keeps_no_other_from_being_published(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    async def finish(_: Presence, room: Made) -> None:
        tried.append(room.id)
        if room.id == "bad":
            raise KeyError("nobody thought of this")

    monkeypatch.setattr(Presence, "_finish", finish)
    nothing = cast(Any, None)
    presence = Presence(nothing, nothing, nothing, cast(Any, Two()), nothing, nothing, nothing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(presence._keep_naming)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert tried.count("good") > tried.count("bad") > 1, "it is tried again, and less often"

"""What hausctl says of a room."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import pytest

from hausctl.rooms import coming_in
from hausd.core.live import RoomState
from hausd.core.shapes import RenditionShape, RoomShape


@pytest.mark.parametrize(
    ("role", "state", "comes_in"),
    [
        ("follower", RoomState.LIVE, 3_000_000),
        ("follower", RoomState.WAITING, 0),
        ("origin", RoomState.LIVE, 0),  # no encoder is here
    ],
)
def test_what_comes_in_of_a_followed_room_is_what_its_active_qualities_take(
    role: Literal["origin", "follower"], state: RoomState, comes_in: int
) -> None:
    room = RoomShape(
        id="k51",
        title="A show",
        state=state,
        role=role,
        created=datetime.now(UTC),
        renditions=[
            _quality("source", 2_900_000, True),
            _quality("audio", 100_000, True),
            _quality("360p", 800_000, False),
        ],
    )
    assert coming_in(room) == comes_in


def _quality(name: str, bitrate: int, active: bool) -> RenditionShape:
    return RenditionShape(name=name, kind="video", codecs="", bitrate=bitrate, active=active)

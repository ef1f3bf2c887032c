"""What is told of rooms, whatever one of them is like."""

from __future__ import annotations

from typing import cast

import pytest
import structlog
import trio
from support.stage import GOPS_A_SEGMENT, Show, Stage, Wall

from hausd.blocks.store import Store
from hausd.core.ids import RoomId
from hausd.exporting import finished_directory
from hausd.p2p import Host
from hausd.p2p.exchange import Exchange
from hausd.p2p.kad import Dht
from hausd.presence import Presence
from hausd.rooms.directory import Directory
from hausd.rooms.finished import Finished
from hausd.rooms.ports import BlockStore
from hausd.rooms.room import Room


class Alone:
    """A DHT without peers."""

    peers = 0


async def test_a_room_that_can_t_be_published_keeps_no_other_from_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage() as stage, trio.open_nursery() as nursery:
        origin = await stage.node("origin")
        ids = [RoomId((await origin.rooms.create(title)).id) for title in ("Bad", "Good")]
        for room in ids:
            async with Show(stage, origin, room, ("source",)).on() as show:
                await show.play(GOPS_A_SEGMENT)
        await trio.sleep(60)
        tried: list[float] = []

        async def finish(room: Room, store: BlockStore) -> Finished:
            if room.id == ids[0]:
                tried.append(trio.current_time())
                raise OverflowError("a date that no calendar has")
            return await finished_directory(room, store)

        monkeypatch.setattr("hausd.presence.finished_directory", finish)
        presence = Presence(
            cast(Host, None),
            cast(Exchange, None),
            cast(Dht, Alone()),
            origin.rooms,
            cast(Directory, None),
            cast(Store, origin.home.store),
            Wall(),
        )
        with structlog.testing.capture_logs():
            nursery.start_soon(presence._keep_naming)
            await trio.sleep(600)
        assert origin.room(ids[1]).record.directory
        assert not origin.room(ids[0]).record.directory
        assert 2 <= len(tried) <= 10, "again, ever more seldom"
        nursery.cancel_scope.cancel()

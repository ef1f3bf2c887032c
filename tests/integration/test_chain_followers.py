"""A follower's room hears from the chain at once what becomes of its event."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio
from solders.pubkey import Pubkey
from support.memorystore import MemoryStore
from support.ownchain import Box, box_office
from support.stage import SETTINGS, MemoryRecords, ScriptedWorkers
from support.swarm import Swarm

from hausd import onchain
from hausd.chain import known
from hausd.chain.known import KnownEvents
from hausd.core.clock import SystemClock
from hausd.core.ids import RoomId
from hausd.onchain import OnChain
from hausd.rooms.manager import Rooms
from hausd.rooms.room import RoomParts

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built")


@pytest.fixture(autouse=True)
def _only_the_chain_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read anew within an hour, unless the chain tells that it changed."""
    monkeypatch.setattr(onchain, "_READ_S", 3600.0)
    monkeypatch.setattr(known, "FRESH_S", 3600.0)


@asynccontextmanager
async def follower(box: Box) -> AsyncIterator[Rooms]:
    """The rooms of a node that follows events on this chain."""
    async with trio.open_nursery() as nursery:
        events = KnownEvents(box.chain)
        nursery.start_soon(events.run)
        parts = RoomParts(
            settings=SETTINGS,
            workers=ScriptedWorkers(),
            store=MemoryStore(),
            records=MemoryRecords(),  # type: ignore[arg-type] # the same, in memory
            clock=SystemClock(),
            random_bytes=os.urandom,
            network=Swarm(nursery, Random(1)).node("follower"),  # type: ignore[call-overload] # any name
            chain=events,
        )
        rooms = Rooms(parts)
        async with rooms.open(), OnChain(rooms, box.chain, events, 1, box.websockets).open():
            yield rooms
        nursery.cancel_scope.cancel()


async def shows(rooms: Rooms, room: RoomId, status: str) -> None:
    """Waits until a room shows its event so."""
    with trio.fail_after(20):
        while (event := rooms.shape(room).event) is None or event.status != status:
            await trio.sleep(0.02)


async def test_a_followers_room_hears_at_once_what_becomes_of_its_event(tmp_path: Path) -> None:
    async with box_office(tmp_path) as box, follower(box) as rooms:
        by, artist = box.artist, box.artist.pubkey()
        show, other = await box.event(), await box.event()
        for room in (show, other):
            await rooms.follow(room)
            await shows(rooms, room, "open")
        at, elsewhere = Pubkey.from_string(show), Pubkey.from_string(other)
        await box.do(by, box.build.go_live(artist, at))
        await shows(rooms, show, "live")
        await box.do(by, box.build.cancel(artist, elsewhere))
        await shows(rooms, other, "cancelled")
        await box.do(by, box.build.end_event(artist, at))
        await shows(rooms, show, "ended")

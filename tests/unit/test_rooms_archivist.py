"""How a follower looks for what is missing of a recording that names a great deal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest
import trio
from support.content import ROOM, VIDEO, BlockBox, record

from hausd.core.cid import CID
from hausd.core.manifest import Manifest, SegmentRecord
from hausd.core.peers import PeerId
from hausd.core.storage import SegmentKey
from hausd.policy.depth import WHOLE
from hausd.rooms.archivist import Archivist, _Trouble
from hausd.rooms.fetching import Fetcher
from hausd.rooms.mending import Mending
from hausd.wire.announce import Signed
from hausd.wire.statements import Head


class Nodes:
    """A fetcher of manifest nodes that are there."""

    room = ROOM

    def __init__(self, box: BlockBox) -> None:
        self.box = box

    async def node(self, cid: CID, told_by: PeerId | None, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.box.blocks[cid]


class Troubles(dict[SegmentKey, _Trouble]):
    """Counts how often it is looked into."""

    looked = 0

    def get(self, key: SegmentKey, *_: object) -> _Trouble | None:  # type: ignore[override]
        self.looked += 1
        return super().get(key)


def archivist(nodes: Nodes) -> Archivist:
    def ignore(*_: object) -> None:
        pass

    async def nobody() -> None:
        pass

    fetcher = cast(Fetcher, nodes)
    return Archivist(
        fetcher,
        {},
        recording=lambda key: False,
        list_segment=ignore,
        mending=Mending({}, fetcher, lambda: WHOLE),
        list_late=ignore,
        on_complete=ignore,
        notice=ignore,
        on_read=ignore,
        ask_others=nobody,
    )


def named(name: str, count: int) -> Iterator[SegmentRecord]:
    rendition = replace(VIDEO, name=name)
    return (record(number, rendition) for number in range(count))


async def test_a_long_plan_of_what_nobody_has_is_not_looked_through_each_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    made, troubles = archivist(Nodes(BlockBox())), Troubles()
    made._troubles = troubles
    for name in ("one", "two"):
        made._plan[name] = deque(named(name, 5000))
        for one in made._plan[name]:
            troubles[one.key] = _Trouble(1, 1e9)
    fresh = made._plan["two"][-1]
    del made._troubles[fresh.key]
    assert await made._next_to_fill() == fresh
    made._filling.add(fresh.key)
    made._troubles[fresh.key] = _Trouble(1, 1e9)
    for _ in range(100):
        assert await made._next_to_fill() is None
    assert troubles.looked <= 10_002
    made._filling.clear()
    del made._troubles[made._plan["one"][17].key]
    await trio.sleep(6)
    assert await made._next_to_fill() == made._plan["one"][17], "time and again from the first on"


async def test_what_is_planned_is_bounded_and_every_rendition_has_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hausd.rooms.archivist.MAX_PLANNED", 1600)
    box, manifest = BlockBox(), Manifest(ROOM)
    names = [f"r{at}" for at in range(16)]
    for name in names:
        box.blocks.update(manifest.append(*named(name, 150)))
    made = archivist(Nodes(box))
    head = Head(ROOM, record(0).segment.session, 0, manifest.cid, manifest.state, 1)
    made.head(Signed(head, b"head", b"digest"), None)
    assert not await made._read_manifest(Signed(head, b"head", b"digest")), "the rest is read later"
    assert {len(plan) for plan in made._plan.values()} == {100}
    assert made.missing == 1600
    made.stored(next(named("r3", 1)))
    assert made.missing == 1599

"""What was passed over is looked for again, whatever came meanwhile."""

from __future__ import annotations

from typing import cast

import trio
from support.content import ROOM, VIDEO, record

from hausd.core.cid import CID
from hausd.core.manifest import Manifest
from hausd.core.peers import PeerId
from hausd.policy.depth import WHOLE
from hausd.rooms.fetching import Fetcher
from hausd.rooms.mending import Mending


class Slowly:
    """Fetches nodes that it has, each in a second."""

    room = ROOM

    def __init__(self, blocks: dict[CID, bytes]) -> None:
        self.blocks = blocks

    async def node(self, cid: CID, told_by: PeerId | None, max_bytes: int) -> bytes:
        await trio.sleep(1)
        return self.blocks[cid]


async def test_a_rendition_of_which_all_came_while_another_was_read_is_passed_by(
    autojump_clock: trio.testing.MockClock,
) -> None:
    manifest = Manifest(ROOM)
    blocks = dict(manifest.append(*(record(number) for number in range(3))))
    late = record(1)
    mending = Mending(
        {VIDEO.name: [(1, 1)], "audio": [(2, 2)], "none": []},
        cast(Fetcher, Slowly(blocks)),
        lambda: WHOLE,
    )
    rounds = 0

    def begun() -> None:
        nonlocal rounds
        rounds += 1

    def wanted(_: object) -> bool:
        mending.passed["audio"].clear()
        return True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mending.run, lambda: (manifest.cid, None), wanted, begun)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert rounds == 1
    assert mending.take() == late

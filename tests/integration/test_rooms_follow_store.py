"""A followed room in a real store: it is the origin's, and a restart goes on with it."""

from __future__ import annotations

from pathlib import Path

import trio
from support.stage import Show, Stage, same_archive, same_live

from hausd.blocks.store import Store
from hausd.core.cid import Codec

NAMES = ("source", "720p", "audio")


async def test_a_late_joiner_that_restarts_has_the_origins_store(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    async with Stage(1, tmp_path) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(23)
            await follower.rooms.follow(room)
            await show.play(3)
            stage.kill("follower")  # in the middle of live segments and of fetched ones
            await trio.sleep(1)
            already = {cid for cid, _ in origin.node.served.of if cid.codec is Codec.RAW}
            await show.play(3)
            origin.node.served.of.clear()
            follower = await stage.node("follower")
            await show.play(12)
            await trio.sleep(0.3)
            await same_live(origin, follower, room, late=True)
        await trio.sleep(60)
        await same_archive(origin, follower, room)
        again = {cid for cid, _ in origin.node.served.of} & already
        assert len(again) <= 20, "but for what was under way, nothing is fetched twice"
        store = follower.home.store
        assert isinstance(store, Store)
        found = await store.verify()
        assert (found.corrupt, found.missing) == (0, 0)

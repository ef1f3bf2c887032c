"""A follower's recording is the origin's: the same segments, CIDs and manifest."""

from __future__ import annotations

import trio
from support.stage import Show, Stage, same_archive, same_live

from hausd.core.following import Priority
from hausd.core.live import RoomState
from hausd.rooms.archivist import FILLS_AT_ONCE
from hausd.rooms.fetching import LEAVES_AT_ONCE

NAMES = ("source", "720p", "audio")


async def test_a_follower_records_the_same_segments_and_manifest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(1) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        await follower.rooms.follow(room)
        await trio.sleep(1)
        for _ in range(2):
            async with Show(stage, origin, room, NAMES).on() as show:
                await show.play(7)
                await trio.sleep(0.3)
                await same_archive(origin, follower, room)
                show.begin_run()
                await show.play(9)
                show.shed("720p")
                await show.play(6)
                show.bring_back("720p")
                await show.play(4)
            await trio.sleep(60)
            await same_archive(origin, follower, room)
        archived = [cid for cid, priority in origin.node.served.of if priority is Priority.ARCHIVE]
        assert not [cid for cid in archived if cid.codec.name == "RAW"], "nothing came twice"
        assert not follower.room(room).notices


async def test_a_quality_that_comes_back_within_the_segment_it_was_shed_in_goes_on_with_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(1) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        await follower.rooms.follow(room)
        await trio.sleep(1)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(2)
            show.shed("720p")
            await show.play(2)
            show.bring_back("720p")
            await show.play(20)
            assert origin.room(room).state is RoomState.LIVE
        await trio.sleep(60)
        await same_archive(origin, follower, room)
        recorded = origin.room(room).archive_of.playlist("720p").segments
        whole = origin.room(room).archive_of.playlist("source").segments
        assert recorded[0].number == whole[0].number
        assert recorded[0].duration_ms < whole[0].duration_ms
        assert recorded[1:]
        assert [one.duration_ms for one in recorded[1:]] == [one.duration_ms for one in whole[1:]]


async def test_who_joins_late_is_live_at_once_and_gets_the_rest_behind_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(2) as stage:
        origin, early = await stage.node("origin"), await stage.node("early")
        late = await stage.node("late")
        stage.swarm.link(origin.node, early.node)
        stage.swarm.link(early.node, late.node)
        room = (await origin.rooms.create("A room")).id
        await early.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(23)
            await late.rooms.follow(room)
            await trio.sleep(0.3)
            assert late.room(room).state is RoomState.LIVE
            edges = {
                name: (track.playlist().edge(), origin.room(room).tracks[name].playlist().edge())
                for name, track in late.room(room).tracks.items()
            }
            assert set(edges) == set(NAMES)
            assert all(here == there for here, there in edges.values()), edges
            shown = [len(track.playlist().segments) for track in late.room(room).tracks.values()]
            assert shown == [2, 2, 2], "a whole GOP and the open one: nothing old goes first"
            await show.play(12)
            await trio.sleep(0.3)
            await same_live(origin, late, room, late=True)
        await trio.sleep(60)
        for peer in (early, late):
            await same_archive(origin, peer, room)
        assert not late.room(room).notices


async def test_a_long_archive_is_fetched_a_little_at_a_time_and_live_goes_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(3) as stage:
        origin, late = await stage.node("origin"), await stage.node("late")
        stage.swarm.link(origin.node, late.node, delay_s=0.1)
        room = (await origin.rooms.create("A room")).id
        under_way = dict.fromkeys(Priority, 0)
        most = dict(under_way)
        fetch = late.node.fetch

        async def counted(*what: object, priority: Priority, **more: object) -> bytes:
            under_way[priority] += 1
            most[priority] = max(most[priority], under_way[priority])
            try:
                return await fetch(*what, priority=priority, **more)  # type: ignore[arg-type]
            finally:
                under_way[priority] -= 1

        late.node.fetch = counted  # type: ignore[method-assign,assignment] # the same, counted
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(60)
            await late.rooms.follow(room)
            await trio.sleep(0.9)
            behind, missing = [], []
            for _ in range(10):
                await show.play(1)
                await trio.sleep(0.39)
                shown = late.rooms.shape(room)
                assert shown.role == "follower"
                assert shown.recording is not None
                missing.append(shown.recording.missing)
                behind += [
                    track.playlist().edge() != late.room(room).tracks[name].playlist().edge()
                    for name, track in origin.room(room).tracks.items()
                ]
            assert not any(behind)
            assert missing[0] > missing[-1], "it goes on meanwhile, and says how far it is"
        await trio.sleep(60)
        await same_archive(origin, late, room)
        assert late.rooms.shape(room).recording.missing == 0  # type: ignore[union-attr]
        manifest = len(NAMES)  # a node of each rendition's tree at a time
        assert 0 < most[Priority.ARCHIVE] <= FILLS_AT_ONCE * LEAVES_AT_ONCE + manifest


async def test_a_room_that_is_closed_while_live_is_recorded_to_its_last_part(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(4) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        await follower.rooms.follow(room)
        await trio.sleep(1)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(7)
            await origin.rooms.close(room)
            await trio.sleep(10)
            assert follower.room(room).state is RoomState.CLOSED
            await same_live(origin, follower, room)
            await same_archive(origin, follower, room)

"""A follower shows what the origin shows: the same playlists, and byte for byte the same media."""

from __future__ import annotations

from random import Random

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.stage import Peer, Show, Stage, same_archive, same_live

from hausd.core.live import RoomState

NAMES = ("source", "720p", "audio")
SETTLED_S = 0.3
"""More than the way through these networks takes, less than a part."""


async def test_a_follower_has_the_origins_playlists_and_media(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        await follower.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            for _ in range(12):
                await show.play(1)
                await trio.sleep(SETTLED_S)
                await same_live(origin, follower, room)
        await trio.sleep(1)
        assert follower.room(room).state is RoomState.WAITING
        await same_live(origin, follower, room)
        await trio.sleep(30)
        assert follower.room(room).state is RoomState.ENDED
        await same_live(origin, follower, room)


async def test_runs_shed_renditions_and_new_sessions_are_followed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(1) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        await follower.rooms.follow(room)
        for _ in range(2):
            async with Show(stage, origin, room, NAMES).on() as show:
                await show.play(2)
                show.shed("720p")
                await show.play(3)
                await trio.sleep(SETTLED_S)
                await same_live(origin, follower, room)
                show.bring_back("720p")
                await show.play(1)
                show.begin_run()
                await show.play(2)
                await trio.sleep(SETTLED_S)
                await same_live(origin, follower, room)
            await trio.sleep(5)  # the encoder comes back within the session
            async with Show(stage, origin, room, NAMES).on() as show:
                await show.play(1)
                await trio.sleep(SETTLED_S)
                await same_live(origin, follower, room)
            await trio.sleep(60)
            assert follower.room(room).state is RoomState.ENDED
            await same_live(origin, follower, room)


@pytest.mark.parametrize("late_gops", [1, 3, 6, 70])
async def test_an_encoder_that_is_late_in_a_new_run_never_gives_two_segments_one_number(
    autojump_clock: trio.testing.MockClock, late_gops: int
) -> None:
    async with Stage(3) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        await follower.rooms.follow(room)
        await trio.sleep(1)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(2)
            show.begin_run(late=["720p"])
            await show.play(late_gops)
            await show.parts(2)
            show.catch_up("720p")
            await show.parts(3)
            await trio.sleep(SETTLED_S)
            for peer in (origin, follower):
                await _serves_what_was_made(peer, room, show, "720p")
            await same_live(origin, follower, room)
            await show.play(3)
            await trio.sleep(SETTLED_S)
            for peer in (origin, follower):
                await _serves_what_was_made(peer, room, show, "720p")
            await same_live(origin, follower, room)
            shown = origin.room(room).tracks["720p"].playlist().segments
            if late_gops <= 3:
                assert not any(segment.gap for segment in shown), "it was waited for"
            newest = origin.room(room).tracks["source"].playlist().segments[-1]
            assert (shown[-1].msn, shown[-1].gap) == (newest.msn, False)
            assert len(shown) <= 11, "the window is 20 s"
        await trio.sleep(60)
        await same_archive(origin, follower, room)
        whole, late = [origin.room(room).archive_of.playlist(name) for name in ("source", "720p")]
        assert whole is not None
        assert late is not None
        assert [one.duration_ms for one in late.segments] == [
            one.duration_ms for one in whole.segments
        ], "all of it is recorded, whatever players could be shown"


async def test_playlists_of_a_video_that_is_lost_go_on_with_the_sound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(3) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = (await origin.rooms.create("A room")).id
        await follower.rooms.follow(room)
        await trio.sleep(1)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(3)
            show.begin_run(late=["source", "720p"])
            await show.play(6)
            for _ in range(70):
                await show.play(1)
                await trio.sleep(0.01)
                edges = {
                    name: origin.room(room).tracks[name].playlist().segments[-1].msn
                    for name in NAMES
                }
                assert len(set(edges.values())) == 1, edges
            await trio.sleep(SETTLED_S)
            await same_live(origin, follower, room)
            show.begin_run()
            await show.play(2)
            await trio.sleep(SETTLED_S)
            for peer in (origin, follower):
                for name in NAMES:
                    await _serves_what_was_made(peer, room, show, name)
            await same_live(origin, follower, room)


async def _serves_what_was_made(peer: Peer, room: str, show: Show, name: str) -> None:
    """Every name in a playlist gives the bytes that it stands for."""
    track = peer.room(room).tracks[name]
    segments = track.playlist().segments
    numbers = [segment.msn for segment in segments]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    firsts = {segment.run: segment.msn for segment in reversed(segments)}
    newest = max(firsts)
    gops = max(gop for which, run, gop, _ in show.made if (which, run) == (name, newest))
    for segment in segments:
        if segment.run != newest or segment.gap:
            continue
        gop = gops - (numbers[-1] - segment.msn)
        for at in range(len(segment.parts)):
            media = track.part(segment.session.counter, segment.msn, at)
            assert media is not None
            assert await peer.bytes_of(media) == show.made[name, newest, gop, at]
        whole = track.segment(segment.session.counter, segment.msn)
        assert (whole is not None) == segment.complete
        if whole is not None:
            parts = [show.made[name, newest, gop, at] for at in range(len(segment.parts))]
            assert await peer.bytes_of(whole) == b"".join(parts)


async def test_in_a_chain_of_three_the_origin_sends_one_copy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(2) as stage:
        origin = await stage.node("origin")
        relays = [await stage.node(name) for name in ("one", "two", "three")]
        for near, far in zip([origin, *relays], relays, strict=False):
            stage.swarm.link(near.node, far.node, delay_s=0.02)
        room = (await origin.rooms.create("A room")).id
        for relay in relays:
            await relay.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(4)
            await trio.sleep(SETTLED_S)
            for relay in relays:
                await same_live(origin, relay, room)
        sent = [peer.node.served.bytes for peer in (origin, *relays)]
        assert sent[0] == sent[1] == sent[2] > 0
        assert sent[3] == 0


@pytest.mark.parametrize("loss", [0.0, 0.1])
@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 2**32))
async def test_whatever_order_messages_take_the_playlists_come_out_the_same(
    autojump_clock: trio.testing.MockClock, loss: float, seed: int
) -> None:
    random = Random(seed)
    async with Stage(seed) as stage:
        names = ["origin", "a", "b", "c"]
        peers = [await stage.node(name) for name in names]
        for at, peer in enumerate(peers):
            for other in peers[:at]:
                if random.random() < 0.5 or other is peers[at - 1]:
                    stage.swarm.link(
                        peer.node,
                        other.node,
                        delay_s=random.uniform(0.0, 0.1),
                        jitter_s=random.choice([0.0, 0.8]),
                        loss=loss,
                        twice=0.2,
                    )
        room = (await peers[0].rooms.create("A room")).id
        for peer in peers[1:]:
            await peer.rooms.follow(room)
        await trio.sleep(1)
        async with Show(stage, peers[0], room, NAMES).on() as show:
            await show.play(3)
            show.begin_run()
            await show.play(3)
        await trio.sleep(15)
        for peer in peers[1:]:
            await same_live(peers[0], peer, room)

"""A follower shows what the origin shows: the same playlists, and byte for byte the same media."""

from __future__ import annotations

from random import Random

import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.stage import Show, Stage, same_live

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

"""Rooms of events: the chain names who signs for them, and followers go by what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from support.eventchain import EVENT, GENESIS, EventChain
from support.stage import Peer, Show, Stage, Wall, same_archive, same_live

from hausd.core.errors import Problem
from hausd.core.events import EventState
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import SigningKey
from hausd.core.live import RoomState
from hausd.core.peers import PeerId, Verdict
from hausd.core.publishing import Refused
from hausd.rooms.directory import Directory
from hausd.wire.statements import Head

NAMES = ("source", "audio")
STRANGER = SigningKey(bytes(range(1, 33)))


async def on_chain(origin: Peer, chain: EventChain, **more: object) -> RoomId:
    """An event whose stream key is in the origin's node."""
    room = (await origin.rooms.create("A show", event=EVENT, chain=GENESIS)).id
    chain.has(EVENT, SigningKey(origin.room(room).record.seed), **more)  # type: ignore[arg-type]
    await chain.look_up(EVENT)
    return RoomId(room)


async def test_an_events_room_is_followed_by_the_key_that_its_chain_names(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(1, chain=chain) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = await on_chain(origin, chain)
        assert room == EVENT
        await follower.rooms.follow(room)
        assert follower.room(room).title == "A show"
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(12)
            await trio.sleep(0.3)
            await same_live(origin, follower, room)
        await trio.sleep(60)
        await same_archive(origin, follower, room)
        signed = follower.followed(room)._follower.head
        assert signed is not None
        follower.followed(room).proven(signed.statement)
        shown = follower.rooms.shape(room).event
        assert shown is not None
        assert (shown.status, shown.artist, shown.signs) == ("open", "the artist", None)
        assert follower.followed(room).proving.outcome == "matches"
        assert not follower.room(room).notices
        other = replace(signed.statement, manifest=chain.nonsense)
        follower.followed(room).proven(other)
        assert follower.followed(room).proving.outcome == "differs"
        assert [notice.code for notice in follower.room(room).notices] == ["checkpoint-differs"]
        own = origin.rooms.shape(room).event
        assert own is not None
        assert own.signs
        assert own.behind == signed.statement.n + 1


async def test_a_follower_knows_the_key_after_a_restart_without_its_chain(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(2, chain=chain) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = await on_chain(origin, chain)
        await follower.rooms.follow(room)
        await trio.sleep(1)
        stage.kill("follower")
        chain.reachable = False
        follower = await stage.node("follower")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(12)
            assert follower.room(room).state is RoomState.LIVE


async def test_what_another_key_signs_is_not_shown(autojump_clock: trio.testing.MockClock) -> None:
    chain = EventChain()
    async with Stage(3, chain=chain) as stage:
        liar, follower = await stage.node("liar"), await stage.node("follower")
        stage.swarm.link(liar.node, follower.node)
        room = RoomId((await liar.rooms.create("A show", event=EVENT, chain=GENESIS)).id)
        chain.has(EVENT, STRANGER)
        await follower.rooms.follow(room)
        async with Show(stage, liar, room, NAMES).on() as show:
            await show.play(8)
        assert follower.room(room).state is RoomState.CREATED
        assert not follower.room(room).tracks


async def test_a_follower_goes_over_to_the_key_that_the_artist_names_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(4, chain=chain) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = await on_chain(origin, chain)
        named = chain.has(EVENT, STRANGER, slot=5)
        await follower.rooms.follow(room)
        right = SigningKey(origin.room(room).record.seed).public
        for slot, key in ((20, right), (15, STRANGER.public)):
            event = replace(named, slot=30, authority=key, authority_slot=slot)
            await follower.rooms.event_changed(event)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(8)
            assert follower.room(room).state is RoomState.LIVE, "an older word changes nothing"


async def test_a_recording_is_found_by_what_the_chain_says_of_its_manifest_alone(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = EventChain()
    async with Stage(7, chain=chain) as stage:
        origin, keeper = await stage.node("origin"), await stage.node("keeper")
        late = await stage.node("late")
        stage.swarm.link(origin.node, keeper.node)
        stage.swarm.link(keeper.node, late.node)
        room = await on_chain(origin, chain)
        await keeper.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(33)
        await trio.sleep(60)
        said = keeper.followed(room)._follower.head
        assert said is not None
        stage.kill("origin")

        async def nobody_answers(*_: object) -> None:
            return None

        monkeypatch.setattr(late.node, "ask", nobody_answers)
        await late.rooms.follow(room)
        await trio.sleep(30)
        assert not late.room(room).archive_of.segments
        older = replace(said.statement, n=said.statement.n - 1, manifest=chain.nonsense)
        for head in (said.statement, older):
            late.followed(room).proven(head)
        await trio.sleep(60)
        await same_archive(keeper, late, room)
        assert late.room(room).state is RoomState.ENDED


async def test_a_chain_that_lies_about_a_manifest_keeps_nothing_signed_from_the_archive(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(8, chain=chain) as stage:
        origin, follower = await stage.node("origin"), await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        room = await on_chain(origin, chain)
        await follower.rooms.follow(room)
        lie = Head(room, SessionId(5, 1), 10**6, chain.nonsense, RoomState.LIVE, 0)
        follower.followed(room).proven(lie)
        async with Show(stage, origin, room, NAMES).on() as show:
            assert follower.followed(room).sought == chain.nonsense
            await show.play(12)
            follower.followed(room).proven(replace(lie, n=10**7))
            await show.play(12)
        await trio.sleep(60)
        await same_archive(origin, follower, room)
        assert follower.followed(room).proving.outcome == "unseen"


async def test_who_is_not_heard_when_the_event_is_over_will_not_be(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(9, chain=chain) as stage:
        origin, keeper = await stage.node("origin"), await stage.node("keeper")
        stage.swarm.link(origin.node, keeper.node)
        room = await on_chain(origin, chain)
        await keeper.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(25)
            await on_chain_again(chain, EventState.ENDED)
            await trio.sleep(1)
            assert keeper.room(room).state is RoomState.LIVE, "it is heard still"
            stage.kill("origin")
        await trio.sleep(60)
        assert keeper.room(room).state is RoomState.CLOSED
        playlist = keeper.room(room).archive("source")
        assert playlist is not None
        assert playlist.ended


@pytest.mark.parametrize(("chain", "code"), [(None, "no-chain"), (EventChain(), "no-such-event")])
async def test_an_event_that_cannot_be_looked_up_says_why(
    autojump_clock: trio.testing.MockClock, chain: EventChain | None, code: str
) -> None:
    async with Stage(chain=chain) as stage:
        node = await stage.node("node")
        with pytest.raises(Problem) as caught:
            await node.rooms.follow(EVENT)
        assert caught.value.code == code
        assert node.rooms.list() == []


async def test_cards_of_events_pass_once_their_chain_was_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(5, chain=chain) as stage:
        origin, other = await stage.node("origin"), await stage.node("other")
        room = await on_chain(origin, chain, starts_ms=7, gated=True)
        card = Directory(origin.rooms, Wall(), chain).card_of(room)
        assert card is not None
        chain.forget()
        directory = Directory(other.rooms, Wall(), chain)
        peer = PeerId("a peer")
        assert directory.judge(peer, card) is Verdict.IGNORE
        assert chain.wanted == [EVENT]
        assert directory.judge(peer, card) is Verdict.ACCEPT
        (shown,) = directory.cards()
        assert (shown.id, shown.artist, shown.gated) == (EVENT, "the artist", True)
        chain.has(EVENT, STRANGER)
        await chain.look_up(EVENT)
        assert Directory(other.rooms, Wall(), chain).judge(peer, card) is Verdict.REJECT
        assert Directory(other.rooms, Wall(), None).judge(peer, card) is Verdict.IGNORE


async def test_nobody_publishes_into_an_event_that_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(6, chain=chain) as stage:
        origin = await stage.node("origin")
        room = await on_chain(origin, chain)
        key = origin.room(room).record.stream_key
        assert origin.rooms.admit(key) == room
        await on_chain_again(chain, EventState.ENDED)
        refused = origin.rooms.admit(key)
        assert isinstance(refused, Refused)
        assert refused.code == "event-over"


async def on_chain_again(chain: EventChain, state: EventState) -> None:
    chain.events[EVENT] = replace(chain.events[EVENT], state=state)
    await chain.look_up(EVENT)

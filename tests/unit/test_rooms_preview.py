"""What is free of a gated room plays for everybody, and nothing else of it does."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import trio
from support.content import KEY, OTHER_KEY, SESSION, VIDEO, content, epoch
from support.eventchain import EventChain
from support.memorystore import MemoryStore
from support.stage import Peer, Show, Stage, same_archive
from test_rooms_gated import NAMES, blocks_of, clear_of, gated, on_chain, opened, recorded

from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.dagcbor import decode, encode
from hausd.core.freeing import FreeKey, decode_freed
from hausd.core.gating import WHOLE, EpochFrom, EpochKey, ObjectSeal, Withheld
from hausd.core.live import Media, RoomState
from hausd.exporting import finished_directory
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.room import Room
from hausd.wire.announce import AnnounceError, sign, verify
from hausd.wire.leafseal import rendition_use
from hausd.wire.seals import TrackSeal
from hausd.wire.statements import Head, Track, body

LADDER = ("source", "720p", "audio")


def ours(peer: Peer, room: str) -> OriginRoom:
    found = peer.room(room)
    assert isinstance(found, OriginRoom)
    return found


def newest(room: Room, name: str) -> Media:
    """The first part of the newest segment at the live edge."""
    track = room.tracks[name]
    live = track.playlist().segments[-1]
    found = track.part(live.session.counter, live.msn, 0)
    assert found is not None
    return found


async def told(peer: Peer, room: str) -> list[bool]:
    """Of each recorded segment of the source, whether everybody may open it."""
    playlist = peer.room(room).archive("source")
    assert playlist is not None
    found = [peer.room(room).archive_media("source", one.cid) for one in playlist.segments]
    return [one is not None and one.free() for one in found]


async def test_the_beginning_plays_for_everybody_and_what_follows_for_who_has_the_keys(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(30) as stage:
        origin, viewer, stranger = [
            await stage.node(name) for name in ("origin", "viewer", "stranger")
        ]
        for one in (viewer, stranger):
            stage.swarm.link(origin.node, one.node)
        viewer.home.keyring.holder = origin.home.keyring
        room = await gated(origin)
        await ours(origin, room).choose_free(120, None, None)
        for one in (viewer, stranger):
            await one.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
            theirs = stranger.room(room)
            assert theirs.withheld() is None
            assert theirs.free_now() == origin.room(room).free_now() == set(NAMES)
            assert await opened(newest(theirs, "source")) in [data for _, data in show.said]
            assert stranger.home.keyring.asked == 0  # nobody is troubled for what is free
            origin.room(room).epochs.renew()  # type: ignore[attr-defined] # a refund changes nothing of it
            await show.play(35)
            assert len(ours(origin, room).free.listed()) == 1
            await show.play(49)  # three minutes in all
            assert not origin.room(room).free_now()
            withheld = theirs.withheld()
            assert withheld is not None
            assert withheld.code == "no-ticket"
            assert withheld.message.startswith("The free preview is over")
            assert viewer.room(room).withheld() is None
            for one in (origin, viewer, stranger):
                assert not newest(one.room(room), "source").free()
        await trio.sleep(30)
        async with Show(stage, origin, room, NAMES).on() as again:  # later sessions are not free
            await again.play(6)
            assert not origin.room(room).free_now()
        await trio.sleep(60)
        await same_archive(origin, viewer, room)
        mine, theirs_ = [await recorded(one, room, "source") for one in (origin, stranger)]
        seen = [isinstance(part, bytes) for part in theirs_]
        assert seen == await told(origin, room) == await told(stranger, room)
        assert [part for part in theirs_ if isinstance(part, bytes)] == mine[: seen.count(True)]
        # two minutes, and to the next segment but one
        assert 12 <= seen.count(True) <= 15
        assert len(seen) > 18
        held = blocks_of(stranger)
        assert not any(data[:64] in held for _, data in show.said[::50])
        # for good: with the origin gone, and after a restart
        stage.kill("origin")
        stage.kill("stranger")
        await trio.sleep(1)
        stranger = await stage.node("stranger")
        await trio.sleep(10)
        assert await told(stranger, room) == seen
        late = await stage.node("late")
        stage.swarm.link(late.node, stranger.node)
        await late.rooms.follow(room)
        await trio.sleep(60)
        assert await told(late, room) == seen
        assert await opened(_first(late, room)) == mine[0]


def _first(peer: Peer, room: str) -> Media | None:
    playlist = peer.room(room).archive("source")
    assert playlist is not None
    return peer.room(room).archive_media("source", playlist.segments[0].cid)


async def test_a_reconnect_within_the_preview_is_free_till_it_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(31) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        await ours(origin, room).choose_free(60, None, None)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(5)
        await trio.sleep(25)  # longer than a room waits for its encoder
        async with Show(stage, origin, room, NAMES).on() as again:
            await again.play(3)
            assert origin.room(room).free_now() == set(NAMES)
            assert len(ours(origin, room).free.listed()) == 2
            await again.play(30)
            assert not origin.room(room).free_now()
        assert show.said


async def test_a_preview_that_begins_in_mid_show_plays_at_once_and_the_artist_ends_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(32) as stage:
        origin, stranger = await stage.node("origin"), await stage.node("stranger")
        stage.swarm.link(origin.node, stranger.node)
        room = await gated(origin)
        await stranger.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(9)
            theirs = stranger.room(room)
            assert not origin.room(room).free
            assert theirs.withheld() is not None
            await ours(origin, room).choose_free(3600, None, None)
            assert origin.room(room).free_now() == set(NAMES)
            await show.parts(1)
            assert theirs.free_now() == set(NAMES)
            assert theirs.withheld() is None
            await plays(theirs, "source", show)
            assert await told(origin, room) == await told(stranger, room) == [True]
            await show.play(45)
            assert len(ours(origin, room).free.listed()) == 1
            await ours(origin, room).choose_free(0, None, None)
            await show.play(15)
            assert not origin.room(room).free_now()
            assert theirs.withheld() is not None
        stage.kill("origin")
        await trio.sleep(1)
        origin = await stage.node("origin")
        assert not ours(origin, room).record.free_first_s
        assert len(origin.room(room).free.listed()) == 1


async def plays(room: Room, name: str, show: Show) -> None:
    """All of a rendition that a player asks for: its init and what is newest."""
    track = room.tracks[name]
    live = track.playlist().segments[-1]
    init = track.init(live.session.counter, live.run)
    assert await opened(init) == f"init of {name} in run {live.run}".encode()
    assert await opened(newest(room, name)) in [data for _, data in show.said]


async def test_a_rendition_that_is_made_free_hours_into_a_show_plays_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(38) as stage:
        origin, stranger = await stage.node("origin"), await stage.node("stranger")
        stage.swarm.link(origin.node, stranger.node)
        room = await gated(origin)
        await stranger.rooms.follow(room)
        async with Show(stage, origin, room, LADDER).on() as show:
            for _ in range(6):  # more epochs than a statement names
                ours(origin, room).epochs.renew()
                await show.play(40)
            assert len(origin.home.keyring._keys) > 6
            await ours(origin, room).choose_free(None, "lowest", None)
            await show.play(1)
            theirs = stranger.room(room)
            assert theirs.free_now() == {"720p", "audio"}
            for name in ("720p", "audio"):
                await plays(theirs, name, show)
            assert isinstance(await opened(newest(theirs, "source")), Withheld)


async def test_one_rendition_plays_for_everybody_with_its_sound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(33) as stage:
        origin, stranger = await stage.node("origin"), await stage.node("stranger")
        stage.swarm.link(origin.node, stranger.node)
        room = await gated(origin)
        await ours(origin, room).choose_free(None, "lowest", None)
        await stranger.rooms.follow(room)
        async with Show(stage, origin, room, LADDER).on() as show:
            await show.play(10)
            for one in (origin, stranger):
                assert one.room(room).free_now() == {"720p", "audio"}
                assert not newest(one.room(room), "source").free()
            theirs = stranger.room(room)
            for name in ("720p", "audio"):
                await plays(theirs, name, show)
            assert isinstance(await opened(newest(theirs, "source")), Withheld)
            await show.play(40)  # the next epochs too
            assert theirs.free_now() == {"720p", "audio"}
            assert await opened(newest(theirs, "720p")) in [data for _, data in show.said]
        await trio.sleep(60)
        low = await recorded(stranger, room, "720p")
        assert b"".join(one for one in low if isinstance(one, bytes)) == clear_of(show, "720p")
        assert all(isinstance(one, Withheld) for one in await recorded(stranger, room, "source"))
        # nothing that was published is an epoch's key, nor opens another rendition
        keys = origin.home.keyring._keys
        published = origin.room(room).free.listed()
        assert not {key.raw for key in published} & {key.raw for key in keys.values()}
        assert not any(key.use in (WHOLE, rendition_use("source")) for key in published)


async def test_where_there_is_only_the_source_the_lowest_rendition_is_none(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(34) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        await ours(origin, room).choose_free(None, "lowest", None)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(8)
            assert not origin.room(room).free
        assert [one.code for one in origin.room(room).notices].count("nothing-free") == 1


async def test_a_recording_that_was_made_free_needs_no_key_holder(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(35, chain=chain) as stage:
        origin, relay = await stage.node("origin"), await stage.node("relay")
        stage.swarm.link(origin.node, relay.node)
        room = await on_chain(origin, chain, gated=True)
        await ours(origin, room).choose_free(None, None, finalized=True)
        await relay.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(40)
        await trio.sleep(60)
        await ours(origin, room).close()
        await trio.sleep(30)
        assert isinstance((await recorded(relay, room, "source"))[0], Withheld)
        assert not ours(origin, room).is_free
        await ours(origin, room).make_free()
        assert ours(origin, room).is_free
        await trio.sleep(30)
        assert relay.room(room).free.all
        stage.kill("origin")
        fresh = await stage.node("fresh")
        stage.swarm.link(fresh.node, relay.node)
        await fresh.rooms.follow(room)
        await trio.sleep(120)
        for one in (relay, fresh):
            for name in NAMES:
                found = await recorded(one, room, name)
                assert b"".join(part for part in found if isinstance(part, bytes)) == clear_of(
                    show, name
                )
        assert all(await told(fresh, room))
        directory = (await finished_directory(fresh.room(room), fresh.home.store)).exported.root
        get = fresh.home.store.block
        root = await unixfs.resolve(directory, ["README.txt"], get)
        readme = b"".join([piece async for piece in unixfs.read(root, get)])
        assert f"hausctl rooms export {room} --output".encode() in readme
        keys = await unixfs.resolve(directory, ["free-keys.cbor"], get)
        listed = b"".join([piece async for piece in unixfs.read(keys, get)])
        assert decode_freed(listed).all
        origin = await stage.node("origin")
        assert ours(origin, room).is_free


async def test_a_recording_that_is_free_is_so_for_who_knows_the_chain_alone(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = EventChain()
    async with Stage(39, chain=chain) as stage:
        origin, relay = await stage.node("origin"), await stage.node("relay")
        late = await stage.node("late")
        stage.swarm.link(origin.node, relay.node)
        stage.swarm.link(relay.node, late.node)
        room = await on_chain(origin, chain, gated=True)
        await ours(origin, room).choose_free(None, None, finalized=True)
        await relay.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(20)
        await trio.sleep(60)
        await ours(origin, room).close()
        await ours(origin, room).make_free()
        head = ours(origin, room).head
        assert head is not None
        await trio.sleep(60)
        stage.kill("origin")

        async def nobody_answers(*_: object) -> None:
            return None

        monkeypatch.setattr(late.node, "ask", nobody_answers)  # there are blocks, and no head
        await late.rooms.follow(room)
        await trio.sleep(30)
        assert late.followed(room).newest is None
        # as ``onchain`` says it of the event's account
        written = Head(head.room, head.session, head.n, head.manifest, RoomState.CLOSED, 0)
        late.followed(room).proven(written)
        await trio.sleep(120)
        assert late.followed(room).newest is None
        assert late.room(room).free.all
        assert all(await told(late, room))
        found = await recorded(late, room, "source")
        assert b"".join(part for part in found if isinstance(part, bytes)) == clear_of(
            show, "source"
        )


async def test_a_list_of_free_keys_that_nobody_has_yet_is_asked_for_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(37) as stage:
        origin, late = await stage.node("origin"), await stage.node("late")
        stage.swarm.link(origin.node, late.node)
        room = await gated(origin)
        await ours(origin, room).choose_free(30, None, None)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(20)
        await trio.sleep(60)
        # the head is there, and the list it links to is nowhere
        root = ours(origin, room).announcer.free_list
        assert root is not None
        store, leaves = origin.home.store, ours(origin, room).leaves
        assert isinstance(store, MemoryStore)
        kept = store.small.pop(root)
        leaves._held.pop(root, None)
        await late.rooms.follow(room)
        await trio.sleep(20)
        assert not late.room(room).free.listed()
        store.small[root] = kept
        await trio.sleep(200)
        assert late.room(room).free.listed() == ours(origin, room).free.listed()


async def test_keys_that_are_not_right_open_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(36) as stage:
        origin, stranger = await stage.node("origin"), await stage.node("stranger")
        stage.swarm.link(origin.node, stranger.node)
        room = await gated(origin)
        await stranger.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(3)
            theirs = stranger.room(room)
            (epoch,) = {id_ for _, id_ in origin.home.keyring._keys}
            wrong = EpochKey(bytes(32))
            theirs.free.tell([FreeKey(epoch, WHOLE, wrong.raw)])
            assert isinstance(await opened(newest(theirs, "source")), Withheld)
            theirs.free.tell([FreeKey(epoch, rendition_use("source"), wrong.raw)])
            assert isinstance(await opened(newest(theirs, "source")), Withheld)
            # and who comes by the right key later is not held up by it
            right = origin.home.keyring._keys[theirs.id, epoch]
            stranger.home.keyring._keys[theirs.id, epoch] = right
            assert await opened(newest(theirs, "source")) in [data for _, data in show.said]
            # and what this node opens by it is not for everybody by a list that is made up
            assert not newest(theirs, "source").free()
            theirs.free.tell([FreeKey(epoch, WHOLE, right.raw)])
            assert newest(theirs, "source").free()


def test_a_relay_makes_nothing_free() -> None:
    """It has to sign for it, or to change what is signed."""
    room, init = KEY.public.open_room, CID.of(b"an init")
    seal = TrackSeal(ObjectSeal(epoch(1), 3), (EpochFrom(200, epoch(1)),))
    said = Track(room, SESSION, 0, 0, 2, VIDEO, init, 7, True, 2, 434, 60_000, 1, 1, seal)
    honest = sign(said, KEY)
    free = replace(said, seal=replace(seal, free=(FreeKey(epoch(1).id, WHOLE, content(2, 32)),)))
    forged = sign(free, OTHER_KEY)
    name, _, signature = cast("list[bytes]", decode(honest.encoded))
    spliced = encode([name, encode(body(free)), signature])
    for untrusted in (forged.encoded, spliced):
        with pytest.raises(AnnounceError):
            verify(untrusted, KEY.public, room)
    assert verify(honest.encoded, KEY.public, room).statement == said
    # nor does what a track says of other epochs count
    other = (FreeKey(epoch(5).id, WHOLE, content(6, 32)),)
    with pytest.raises(ValueError, match="free"):
        sign(replace(said, seal=replace(seal, free=other)), KEY)

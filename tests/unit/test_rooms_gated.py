"""Gated rooms: what is stored and sent is ciphertext, and plays for who has the keys only."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import ClassVar

import pytest
import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from support.eventchain import EVENT, GENESIS, EventChain
from support.memorystore import MemoryStore
from support.stage import Peer, Show, Stage, Worker, same_archive, same_live

from hausd.core.gating import Epoch, EpochId, EpochKey, Withheld
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.live import ArchivePlaylist, Flow, Media, RoomState, Sealed
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import PeerAddress, peer_id_of
from hausd.core.publishing import FeedOver, Publisher
from hausd.keyholding import _Events
from hausd.keys.ports import GatedEvent
from hausd.rooms.images import Images
from hausd.rooms.opened import Opened
from hausd.rooms.opening import Opener
from hausd.rooms.origin_room import OriginRoom
from hausd.wire import leafseal
from hausd.wire.worker import PartMade

NAMES = ("source", "audio")
HOLDER = PeerAddress(peer_id_of(SigningKey(bytes(32)).public), ())


async def gated(peer: Peer) -> str:
    return (await peer.rooms.create("A gated room", gated=True)).id


def blocks_of(peer: Peer) -> bytes:
    """Everything that a node has on disk or gives to others."""
    store = peer.home.store
    assert isinstance(store, MemoryStore)
    return b"".join([*store._blocks.values(), *store.small.values()])


async def opened(media: Media | None) -> bytes | Withheld:
    assert media is not None
    body = media.body
    clear = await body.open() if isinstance(body, Sealed) else body
    if isinstance(clear, Withheld):
        return clear
    if isinstance(clear, Flow):
        clear = await clear.whole()
    assert isinstance(clear, tuple)
    return b"".join(clear)


def clear_of(show: Show, name: str) -> bytes:
    return b"".join(data for of, data in show.said if of == name)


async def recorded(peer: Peer, room: str, name: str) -> list[bytes | Withheld]:
    """The content of every recorded segment of a rendition."""
    playlist = peer.room(room).archive(name)
    assert playlist is not None
    return [await opened(peer.room(room).archive_media(name, one.cid)) for one in playlist.segments]


async def test_who_has_the_keys_sees_what_was_streamed_and_all_else_is_ciphertext(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(1) as stage:
        origin, viewer, relay = [await stage.node(name) for name in ("origin", "viewer", "relay")]
        stage.swarm.link(origin.node, relay.node)
        stage.swarm.link(relay.node, viewer.node)
        viewer.home.keyring.holder = origin.home.keyring
        room = await gated(origin)
        for one in (relay, viewer):
            await one.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(13)
            await trio.sleep(0.3)
            await same_live(origin, viewer, room)
            assert viewer.room(room).withheld() is None
            track = viewer.room(room).tracks["source"]
            live = track.playlist().segments[-1]
            part = track.part(live.session.counter, live.msn, 0)
            assert await opened(part) in [data for _, data in show.said]
            init = track.init(live.session.counter, live.run)
            assert (await opened(init)) == f"init of source in run {live.run}".encode()
        await trio.sleep(60)
        await same_archive(origin, viewer, room)
        for one in (origin, viewer):
            for name in NAMES:
                found = await recorded(one, room, name)
                assert b"".join(part for part in found if isinstance(part, bytes)) == clear_of(
                    show, name
                )
        # the relay has it all, and can show nothing
        assert blocks_of(relay)
        assert relay.room(room).withheld() == Withheld(
            "no-ticket", "the wallet has no ticket for this event"
        )
        for media in await recorded(relay, room, "source"):
            assert isinstance(media, Withheld)
            assert media.code == "no-ticket"
        held = {name: blocks_of(one) for name, one in [("origin", origin), ("relay", relay)]}
        held["files"] = b"".join(relay.home.records.files.values())
        for name, data in show.said:
            for where, kept in held.items():
                assert data[:64] not in kept, (name, where)
        assert not any(b"init of" in kept for kept in held.values())
        await opens_with_no_key_of(relay, room)


@pytest.mark.parametrize("freed", [False, True])
async def test_a_room_opens_though_a_wrong_key_of_it_was_imported(
    autojump_clock: trio.testing.MockClock, *, freed: bool
) -> None:
    """Nobody knows what an imported key is worth before its epoch is announced."""
    async with Stage(31) as stage:
        origin, viewer = await stage.node("origin"), await stage.node("viewer")
        stage.swarm.link(origin.node, viewer.node)
        room = await gated(origin)
        await viewer.rooms.follow(room)
        keys = viewer.home.keyring
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(1)
            for at in origin.home.keyring._keys:
                keys._keys[at] = EpochKey(bytes(32))
            await show.play(2)
            withheld = viewer.room(room).withheld()
            assert withheld is not None
            assert withheld.code == "no-ticket"
            if not freed:
                keys.holder = origin.home.keyring
            await show.play(6)
            assert (viewer.room(room).withheld() is None) is not freed
        if freed:
            ours = origin.room(room)
            assert isinstance(ours, OriginRoom)
            await ours.make_free()
        await trio.sleep(60)
        assert b"".join(
            part for part in await recorded(viewer, room, "source") if isinstance(part, bytes)
        ) == clear_of(show, "source")


class OneKey:
    """Implements ``rooms.ports.Keyring``: one key for everything."""

    def __init__(self, key: EpochKey) -> None:
        self.key = key

    def get(self, room: RoomId, epoch: EpochId) -> EpochKey:
        return self.key

    def held(self, room: RoomId, epoch: Epoch) -> EpochKey:
        return self.key

    async def ask(self, room: RoomId, epoch: Epoch) -> EpochKey:
        return self.key

    async def keep(self, room: RoomId, epoch: Epoch, key: EpochKey) -> None:
        raise AssertionError("it makes none")


async def opens_with_no_key_of(peer: Peer, room: str) -> None:
    """No 32 bytes of what a node without the keys has are one, nor what is easily made of them."""
    id_, ours = RoomId(room), peer.room(room)
    store, first = peer.home.store, archive(peer, room, "source").segments[0]
    assert isinstance(store, MemoryStore)
    assert first.seal is not None
    epoch = first.seal.epoch
    public = [*store.small.values(), *peer.home.records.files.values()]
    assert sum(map(len, public)) > 1000
    for data in public:
        for at in range(len(data) - 31):
            assert not epoch.is_opened_by(id_, EpochKey(data[at : at + 32]))
    guesses = [bytes(32), epoch.commitment, 2 * epoch.id]
    guesses += [hashlib.sha256(of).digest() for of in (epoch.id, epoch.commitment, room.encode())]
    for guess in guesses:
        ours.opener = Opener(id_, store, OneKey(EpochKey(guess)), Opened())
        assert await opened(ours.archive_media("source", first.cid)) == Withheld(
            "broken", "it does not open with the room's key: it is not what was sealed here"
        )


async def test_each_epoch_has_its_key_and_who_loses_the_ticket_sees_nothing_of_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(2) as stage:
        origin, viewer = await stage.node("origin"), await stage.node("viewer")
        stage.swarm.link(origin.node, viewer.node)
        viewer.home.keyring.holder = origin.home.keyring
        room = await gated(origin)
        await viewer.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(60)  # two minutes: the first epoch and the second
            await same_live(origin, viewer, room)
            assert viewer.room(room).withheld() is None
            viewer.home.keyring.holder = None
            for _ in range(60):
                await show.play(1)
                if viewer.room(room).withheld() is not None:
                    break
            withheld = viewer.room(room).withheld()
            assert withheld is not None
            assert withheld.code == "no-ticket"
            await show.play(5)
        await trio.sleep(60)
        segments = [one for one in archive(origin, room, "source").segments if one.seal is not None]
        epochs = list(dict.fromkeys(one.seal.epoch for one in segments if one.seal))
        assert len(epochs) >= 3
        assert len({epoch.id for epoch in epochs}) == len({e.commitment for e in epochs})
        # at the same segment in every rendition
        for name in NAMES:
            assert [
                one.seal and one.seal.epoch for one in archive(origin, room, name).segments
            ] == [one.seal and one.seal.epoch for one in segments]
        mine = await recorded(origin, room, "source")
        theirs = await recorded(viewer, room, "source")
        assert b"".join(part for part in mine if isinstance(part, bytes)) == clear_of(
            show, "source"
        )
        seen = [isinstance(part, bytes) for part in theirs]
        assert seen == sorted(seen, reverse=True)
        assert True in seen
        assert False in seen
        assert [part for part in theirs if isinstance(part, bytes)] == mine[: seen.count(True)]
        assert viewer.home.keyring.asked < 60


def archive(peer: Peer, room: str, name: str) -> ArchivePlaylist:
    found = peer.room(room).archive(name)
    assert found is not None
    return found


async def test_after_a_kill_what_was_written_opens_and_another_session_has_other_keys(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(3) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        with trio.CancelScope() as scope:
            async with Show(stage, origin, room, NAMES).on() as show:
                show.fragments = True
                await show.play(8)  # into the second archive segment
                await trio.sleep(0.1)
                scope.cancel()
        stage.kill("origin")
        await trio.sleep(1)
        origin = await stage.node("origin")
        assert any("the 6.0 s that were written are kept" in one for one in origin.rooms.repaired)
        ours = origin.room(room)
        assert isinstance(ours, OriginRoom)
        ours.announcer.holders = holders = (HOLDER,)
        for name in NAMES:
            found = await recorded(origin, room, name)
            assert b"".join(part for part in found if isinstance(part, bytes)) == clear_of(
                show, name
            )
        await trio.sleep(60)  # nobody comes back: it is over, and who has the keys is still told
        head = ours.head
        assert head is not None
        assert (head.state, head.holders) == (RoomState.ENDED, holders)
        async with Show(stage, origin, room, NAMES).on() as again:
            await again.play(8)
        await trio.sleep(60)
        segments = archive(origin, room, "source").segments
        sealed = {one.session: one.seal.epoch.id for one in segments if one.seal is not None}
        assert len(sealed) == 2
        assert len(set(sealed.values())) == 2
        found = await recorded(origin, room, "source")
        assert b"".join(part for part in found if isinstance(part, bytes)) == clear_of(
            show, "source"
        ) + clear_of(again, "source")


async def test_a_node_without_the_key_keeps_what_a_crash_cut_short_as_it_can(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(4) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        with trio.CancelScope() as scope:
            async with Show(stage, origin, room, NAMES).on() as show:
                show.fragments = True
                await show.play(8)
                await trio.sleep(0.1)
                scope.cancel()
        stage.kill("origin")
        origin.home.keyring._keys.clear()
        await trio.sleep(1)
        origin = await stage.node("origin")
        (whole,) = await recorded(origin, room, "source")
        assert isinstance(whole, Withheld)


async def test_pictures_of_a_gated_room_are_sealed_too(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(5) as stage:
        origin, viewer, relay = [await stage.node(name) for name in ("origin", "viewer", "relay")]
        for one in (viewer, relay):
            stage.swarm.link(origin.node, one.node)
        viewer.home.keyring.holder = origin.home.keyring
        room = await gated(origin)
        for one in (viewer, relay):
            await one.rooms.follow(room)
        jpegs = [bytes([n]) * 3000 for n in range(3)]
        async with Show(stage, origin, room, NAMES).on() as show:
            show.depict("poster", 0, jpegs[0])
            show.depict("storyboard", 0, jpegs[1])
            await show.play(6)
            show.depict("storyboard", 0, jpegs[2])  # as the sheet fills
            show.depict("poster", 5, bytes(LEAF_BYTES - 3))  # too large to be sealed in a leaf
            await show.play(12)
        await trio.sleep(60)
        for one in (origin, viewer):
            assert await opened(one.room(room).poster()) == jpegs[0]
            storyboard = one.room(room).storyboard()
            assert storyboard is not None
            (name,) = {line.partition("#")[0] for line in storyboard.split() if ".jpg#" in line}
            assert await opened(one.room(room).sprite(name)) == jpegs[2]
            storyboard_alone = Images()
            storyboard_alone.take(one.room(room).images._sheets)
            assert storyboard_alone.sealed
            assert one.room(room).images.sealed
        assert isinstance(await opened(relay.room(room).poster()), Withheld)
        for one in (origin, viewer, relay):
            assert not any(jpeg[:99] in blocks_of(one) for jpeg in jpegs)
        # after a restart too
        stage.kill("origin")
        await trio.sleep(1)
        origin = await stage.node("origin")
        assert await opened(origin.room(room).poster()) == jpegs[0]


async def test_a_rendition_that_is_shed_and_comes_back_in_the_same_segment_stays_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(6) as stage:
        origin, viewer = await stage.node("origin"), await stage.node("viewer")
        stage.swarm.link(origin.node, viewer.node)
        viewer.home.keyring.holder = origin.home.keyring
        room = await gated(origin)
        await viewer.rooms.follow(room)
        async with Show(stage, origin, room, ("source", "720p", "audio")).on() as show:
            await show.play(2)
            show.shed("720p")
            await show.play(1)
            show.bring_back("720p")
            await show.play(1)
            await trio.sleep(0.3)
            await same_live(origin, viewer, room)
            await show.play(12)
        await trio.sleep(60)
        await same_archive(origin, viewer, room)


async def on_chain(origin: Peer, chain: EventChain, **more: object) -> str:
    """An event whose stream key is in the origin's node."""
    room = (await origin.rooms.create("A show", event=EVENT, chain=GENESIS)).id
    chain.has(EVENT, SigningKey(origin.room(room).record.seed), **more)  # type: ignore[arg-type] # by name
    return room


@pytest.mark.parametrize("tickets", [True, False])
async def test_an_event_is_gated_where_its_chain_says_so(
    autojump_clock: trio.testing.MockClock, tickets: bool
) -> None:
    chain = EventChain()
    async with Stage(7, chain=chain) as stage:
        origin = await stage.node("origin")
        room = await on_chain(origin, chain, gated=tickets)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
        await trio.sleep(60)
        assert any(data[:64] in blocks_of(origin) for _, data in show.said) is not tickets
        assert origin.room(room).gated is tickets
        # where the chain does not answer by now, what it said before opens nothing
        chain.reachable = False
        chain.forget()
        async with Show(stage, origin, room, NAMES).on() as again:
            await again.play(6)
        await trio.sleep(60)
        assert not any(data[:64] in blocks_of(origin) for _, data in again.said)
        unknown = "gated-unknown" in [notice.code for notice in origin.room(room).notices]
        assert unknown is not tickets


@pytest.mark.parametrize("how", ["hangs", "leaves the sale out"])
async def test_what_an_event_was_before_never_opens_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    chain = EventChain()
    async with Stage(15, chain=chain) as stage:
        origin = await stage.node("origin")
        room = await on_chain(origin, chain, gated=how != "hangs")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
        await trio.sleep(60)
        if how == "hangs":  # the sale opened, which this node did not hear of yet

            async def hang(_: object) -> None:
                await trio.sleep_forever()

            assert not origin.room(room).gated
            monkeypatch.setattr(chain, "look_up", hang)
        else:
            chain.has(EVENT, SigningKey(origin.room(room).record.seed))
            chain.want(EVENT)
        async with Show(stage, origin, room, NAMES).on() as again:
            await again.play(6)
            assert origin.room(room).gated
            codes = [notice.code for notice in origin.room(room).notices]
            assert "sealed-needlessly" not in codes
            if how == "hangs":
                chain.has(EVENT, SigningKey(origin.room(room).record.seed), slot=11)
                chain.want(EVENT)
                await again.play(1)
                codes = [notice.code for notice in origin.room(room).notices]
                assert "sealed-needlessly" in codes
        await trio.sleep(60)
        assert not any(data[:64] in blocks_of(origin) for _, data in again.said)


async def test_an_event_whose_chain_never_answered_is_not_streamed_in_clear(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(8, chain=chain) as stage:
        origin = await stage.node("origin")
        room = await on_chain(origin, chain)
        chain.reachable = False
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
        assert not any(data[:64] in blocks_of(origin) for _, data in show.said)
        assert "gated-unknown" in [notice.code for notice in origin.room(room).notices]
        assert origin.room(room).gated
        await trio.sleep(60)
        stage.kill("origin")
        await trio.sleep(1)
        origin = await stage.node("origin")
        ours = origin.room(room)
        assert isinstance(ours, OriginRoom)
        assert ours.gated
        ours.announcer.holders = holders = (HOLDER,)
        await ours.close()  # who gives the keys of what was recorded is told to the end
        assert ours.head is not None
        assert ours.head.holders == holders


async def test_a_stream_sealed_for_want_of_the_chain_has_holders_and_opens_when_it_is_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(16, chain=chain) as stage:
        origin, viewer = await stage.node("origin"), await stage.node("viewer")
        stage.swarm.link(origin.node, viewer.node)
        room = await on_chain(origin, chain)
        chain.reachable = False
        nodes = SimpleNamespace(rooms=origin.rooms, holders=(HOLDER,))
        events = _Events(nodes, SimpleNamespace(known=chain))  # type: ignore[arg-type]
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(3)
            assert events.event(RoomId(room)) is None  # whose tickets count is not known
            chain.reachable = True
            chain.want(EVENT)
            await show.play(3)
            assert events.event(RoomId(room)) == GatedEvent(GENESIS, "the artist", (HOLDER,))
            codes = [notice.code for notice in origin.room(room).notices]
            assert codes.count("sealed-needlessly") == 1
            async with Show(stage, origin, room, NAMES).on() as again:
                await again.play(6)
                assert [n.code for n in origin.room(room).notices].count("sealed-needlessly") == 1
        await trio.sleep(60)
        held = blocks_of(origin)
        assert not any(data[:64] in held for _, data in show.said)
        assert all(data[:64] in held for of, data in again.said if of == "source")
        assert origin.room(room).gated  # for the first half is sealed


@pytest.mark.parametrize("listed", [True, False])
async def test_a_room_that_came_as_a_recording_alone_is_gated_by_what_lies_in_it(
    autojump_clock: trio.testing.MockClock, listed: bool
) -> None:
    async with Stage(17) as stage:
        origin, late = await stage.node("origin"), await stage.node("late")
        stage.swarm.link(origin.node, late.node)
        room = await gated(origin)
        ours = origin.room(room)
        assert isinstance(ours, OriginRoom)
        if not listed:
            ours.announcer.holders = (HOLDER,)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(12)
        await trio.sleep(60)
        stage.kill("origin")  # what was live is in no memory any more
        await trio.sleep(1)
        origin = await stage.node("origin")
        if not listed:  # its head is all that is to be had
            assert isinstance(origin.home.store, MemoryStore)
            origin.home.store.small.clear()
        await late.rooms.follow(room)
        await trio.sleep(60)
        assert not late.room(room).tracks
        assert bool(late.room(room).archive_of.segments) is listed
        assert late.room(room).gated
        stage.kill("late")
        await trio.sleep(1)
        late = await stage.node("late")
        assert late.room(room).gated


@pytest.mark.parametrize("there", [True, False])
async def test_an_encoder_that_goes_while_its_session_begins_leaves_the_room_as_it_was(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    chain = EventChain()
    async with Stage(18, chain=chain) as stage:
        origin = await stage.node("origin")
        room = await on_chain(origin, chain)
        ours = origin.room(room)
        assert isinstance(ours, OriginRoom)

        async def hang(_: object) -> None:
            await trio.sleep_forever()

        async with AsyncExitStack() as stack:
            if there:  # one that is sealed, which need not be
                chain.reachable = False
                show = await stack.enter_async_context(Show(stage, origin, room, NAMES).on())
                await show.play(3)
                chain.want(EVENT)
            monkeypatch.setattr(chain, "look_up", hang)
            with trio.move_on_after(2) as scope:
                async with Show(stage, origin, room, NAMES).on():
                    pass
            assert scope.cancelled_caught
            assert ours.stint is None or ours.stint.done.is_set()
        await trio.sleep(1)
        assert ours.state is (RoomState.WAITING if there else RoomState.CREATED)
        await trio.sleep(60)
        assert ours.state is (RoomState.ENDED if there else RoomState.CREATED)
        async with Show(stage, origin, room, NAMES).on() as again:
            await again.play(3)
            assert ours.state is RoomState.LIVE
        with trio.move_on_after(2):
            await trio.sleep(60)
            async with Show(stage, origin, room, NAMES).on():
                pass
        with trio.fail_after(60):
            await ours.stop()


async def test_who_waits_behind_an_encoder_that_went_waits_for_the_one_before_it(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = EventChain()
    async with Stage(19, chain=chain) as stage:
        origin = await stage.node("origin")
        room = await on_chain(origin, chain)
        ours = origin.room(room)
        assert isinstance(ours, OriginRoom)
        chain.reachable = False
        finish = Worker.finish

        async def slowly(worker: Worker) -> None:
            await trio.sleep(4)  # what it has is still to come out
            await finish(worker)

        async def come(for_s: float) -> None:
            with trio.move_on_after(for_s):
                async with ours.publish(Publisher("192.0.2.2", "rtmp", "script")):
                    await trio.sleep_forever()

        monkeypatch.setattr(Worker, "finish", slowly)
        async with Show(stage, origin, room, NAMES).on() as show, trio.open_nursery() as nursery:
            await show.play(3)
            before = ours.stint
            assert before is not None
            chain.reachable = True
            chain.want(EVENT)
            nursery.start_soon(come, 1)
            await trio.sleep(0.5)
            nursery.start_soon(come, 20)
            await trio.sleep(2)
            assert (before.done.is_set(), ours.record.sessions) == (False, 1)
            await trio.sleep(4)
            assert (before.done.is_set(), ours.record.sessions) == (True, 2)


@pytest.mark.parametrize(
    "fault", [OSError(28, "No space left on device"), OSError("No space left for keys")]
)
async def test_a_gated_room_whose_key_cant_be_kept_takes_no_stream(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, fault: OSError
) -> None:
    async with Stage(9) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)

        async def full(*_: object) -> None:
            raise fault

        monkeypatch.setattr(origin.home.keyring, "keep", full)
        with pytest.raises(FeedOver, match="No space left"):
            async with Show(stage, origin, room, NAMES).on():
                pass
        assert "key-not-kept" in [notice.code for notice in origin.room(room).notices]
        monkeypatch.undo()
        async with Show(stage, origin, room, NAMES).on() as show:  # there is room again
            await show.play(3)
        with trio.fail_after(60):
            await origin.room(room).stop()


async def test_tickets_that_are_sold_in_the_middle_gate_what_the_encoder_streams_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chain = EventChain()
    async with Stage(13, chain=chain) as stage:
        origin, viewer = await stage.node("origin"), await stage.node("viewer")
        stage.swarm.link(origin.node, viewer.node)
        viewer.home.keyring.holder = origin.home.keyring
        room = await on_chain(origin, chain)
        await viewer.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
            chain.has(EVENT, SigningKey(origin.room(room).record.seed), gated=True)
            chain.want(EVENT)
            await show.play(3)
            assert "gated-late" in [notice.code for notice in origin.room(room).notices]
            async with Show(stage, origin, room, NAMES).on() as again:  # it takes over
                await again.play(6)
                await trio.sleep(0.3)
                await same_live(origin, viewer, room)
        await trio.sleep(60)
        await same_archive(origin, viewer, room)
        held = blocks_of(viewer)
        assert all(data[:64] in held for of, data in show.said if of == "source")
        assert not any(data[:64] in held for _, data in again.said)
        seals = [one.seal is not None for one in archive(origin, room, "source").segments]
        assert seals == sorted(seals)
        assert len(set(seals)) == 2


async def test_ciphertext_that_was_changed_is_never_shown(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A store that lies (its blocks are checked against their CIDs only when they are read)."""
    async with Stage(10) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(12)
        await trio.sleep(60)
        store = origin.home.store
        assert isinstance(store, MemoryStore)
        first, second, *_ = archive(origin, room, "source").segments
        before = {one.cid: store.locate(one.cid) for one in (first, second)}
        store._places[first.cid], store._places[second.cid] = (
            before[second.cid],  # type: ignore[assignment] # it is there
            before[first.cid],  # type: ignore[assignment] # it is there
        )
        origin.room(room).opener.opened = Opened()
        for one in (first, second):
            media = await opened(origin.room(room).archive_media("source", one.cid))
            assert isinstance(media, Withheld)
            assert media.code in ("broken", "not-here")


class Watched:
    """AES-GCM that notes with which key each nonce seals."""

    used: ClassVar[list[tuple[bytes, bytes]]] = []

    def __init__(self, key: bytes) -> None:
        self._key, self._cipher = key, AESGCM(key)

    def encrypt(self, nonce: bytes, data: bytes, about: bytes) -> bytes:
        self.used.append((self._key, nonce))
        return self._cipher.encrypt(nonce, data, about)

    def decrypt(self, nonce: bytes, data: bytes, about: bytes) -> bytes:
        return self._cipher.decrypt(nonce, data, about)

    def decrypt_into(self, nonce: bytes, data: bytes, about: bytes, into: memoryview) -> int:
        return self._cipher.decrypt_into(nonce, data, about, into)


async def test_no_key_and_nonce_pair_comes_twice_after_kills_returns_and_a_restored_backup(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leafseal, "AESGCM", Watched)
    Watched.used.clear()
    async with Stage(11) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        backup = dict(origin.home.records.files)
        for how in ("killed", "restored", "back within the session"):
            with trio.CancelScope() as scope:
                async with Show(stage, origin, room, NAMES).on() as show:
                    show.depict("poster", 0, b"a poster" * 99)
                    await show.play(4)
                    show.shed("audio")
                    await show.play(1)
                    show.bring_back("audio")
                    show.begin_run()  # as after a worker's crash
                    await show.play(40)
                    await trio.sleep(0.1)
                    if how != "back within the session":
                        scope.cancel()
            if how == "back within the session":
                async with Show(stage, origin, room, NAMES).on() as again:
                    await again.play(8)
                continue
            stage.kill("origin")
            await trio.sleep(1)
            if how == "restored":
                origin.home.records.files = dict(backup)
                assert isinstance(origin.home.store, MemoryStore)
                origin.home.store.files.clear()
            origin = await stage.node("origin")
    assert len(Watched.used) > 1000
    assert len(set(Watched.used)) == len(Watched.used)


@pytest.mark.parametrize("segment", [-1, 2**53, 2**64])
async def test_a_worker_that_says_an_odd_segment_ends_itself_and_no_room(
    autojump_clock: trio.testing.MockClock, segment: int
) -> None:
    async with Stage(12) as stage:
        origin = await stage.node("origin")
        room = await gated(origin)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(2)
            made = PartMade("source", show._run, 2, segment, 99_999_999, 36_000, True)
            show._tell(made, b"a part")
            worker = await origin.workers.worker()  # another one takes its place
            assert worker.config.first_run > show._run
        assert "worker-crashed" in [notice.code for notice in origin.room(room).notices]


async def test_who_joins_after_the_first_epoch_opens_the_init_of_it_and_all_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(14) as stage:
        origin, relay, late = [await stage.node(name) for name in ("origin", "relay", "late")]
        stage.swarm.link(origin.node, relay.node)
        stage.swarm.link(relay.node, late.node)
        late.home.keyring.holder = origin.home.keyring
        room = await gated(origin)
        await relay.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(53)
            await late.rooms.follow(room)
            await show.play(14)  # until its window is as long as the origin's
            await trio.sleep(0.3)
            await same_live(origin, late, room, late=True)
            track = late.room(room).tracks["source"]
            newest = track.playlist().segments[-1]
            init = track.init(newest.session.counter, newest.run)
            assert (await opened(init)) == f"init of source in run {newest.run}".encode()
        await trio.sleep(120)
        await same_archive(origin, late, room)
        for name in NAMES:
            found = await recorded(late, room, name)
            assert b"".join(part for part in found if isinstance(part, bytes)) == clear_of(
                show, name
            )

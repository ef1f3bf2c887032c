"""What a follower does when others vanish, lie, or leave it waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import trio
from support.authority import Authority
from support.content import OTHER_KEY, VIDEO, content
from support.stage import Peer, Show, Stage, same_archive, same_live, same_media
from support.swarm import _Topic

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import encode
from hausd.core.following import Told
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import SigningKey
from hausd.core.live import RoomState
from hausd.core.manifest import MAX_NODE_BYTES, Manifest, decode_record
from hausd.core.media import Rendition
from hausd.core.peers import PeerId, Verdict
from hausd.core.storage import Append, Close
from hausd.rooms.lane import MAX_WINDOW_GOPS
from hausd.rooms.manager import Rooms
from hausd.rooms.origin_room import OriginRoom
from hausd.wire.announce import Signed, pack, sign
from hausd.wire.hls_live import live_media_playlist
from hausd.wire.statements import End, Head, Statement, Tick, TickGap, TickGop, TickPart

NAMES = ("source", "720p", "audio")
ME = PeerId("liar")


async def joined(stage: Stage, *names: str) -> tuple[list[Peer], str]:
    """An origin and followers in a row."""
    peers = [await stage.node(name) for name in ("origin", *names)]
    for near, far in pairwise(peers):
        stage.swarm.link(near.node, far.node)
    room = (await peers[0].rooms.create("A room")).id
    for peer in peers[1:]:
        await peer.rooms.follow(room)
    await trio.sleep(1)
    return peers, room


def key_of(rooms: Rooms, room: str) -> SigningKey:
    return SigningKey(rooms.find(room).record.seed)


async def test_a_leaf_that_never_comes_leaves_a_gap_and_nothing_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(3) as stage:
        (origin, follower), room = await joined(stage, "follower")
        lost: set[CID] = set()

        def lie(cid: CID, data: bytes) -> bytes | None:
            if 28.0 < trio.current_time() < 28.5 and data[4:8] != b"init" and len(lost) < 1:
                lost.add(cid)
            return None if cid in lost and trio.current_time() < 60 else data

        origin.node.lie = lie
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(14)
            assert len(lost) == 1
            stalled = [
                name
                for name, track in origin.room(room).tracks.items()
                if follower.room(room).tracks[name].playlist().edge() != track.playlist().edge()
            ]
            assert len(stalled) == 1, "only the rendition whose leaf it is waits, and only so long"
            await show.play(4)
            await trio.sleep(0.3)
            gaps = 0
            for name, track in origin.room(room).tracks.items():
                ours, theirs = track.playlist(), follower.room(room).tracks[name].playlist()
                assert theirs.edge() == ours.edge()
                for there, here in zip(ours.segments, theirs.segments, strict=True):
                    assert (here.msn, here.duration, here.run) == (
                        there.msn,
                        there.duration,
                        there.run,
                    )
                    gaps += here.gap
                listed = any(segment.gap for segment in theirs.segments)
                assert ("#EXT-X-GAP" in live_media_playlist(theirs)) == listed
            assert gaps == 1
            await same_media(origin, follower, room)
            await show.play(12)
            await trio.sleep(0.3)
            await same_live(origin, follower, room, late=True)  # a segment less was measured
        await trio.sleep(60)
        await same_archive(origin, follower, room)


async def test_wrong_bytes_reach_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with Stage(4) as stage:
        (origin, liar), room = await joined(stage, "liar")
        honest, viewer = await stage.node("honest"), await stage.node("viewer")
        stage.swarm.link(origin.node, honest.node, delay_s=0.05)
        stage.swarm.link(liar.node, viewer.node)
        stage.swarm.link(honest.node, viewer.node)
        for peer in (honest, viewer):
            await peer.rooms.follow(room)
        await trio.sleep(1)
        liar.node.lie = lambda cid, data: b"\0" + data[1:]
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(12)
            await trio.sleep(1)
            await same_live(origin, viewer, room)
        await trio.sleep(60)
        await same_archive(origin, viewer, room)
        assert liar.node.served.leaves > 0


async def test_what_another_key_signs_is_refused_and_changes_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(5) as stage:
        (origin, follower), room = await joined(stage, "follower")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
            await trio.sleep(0.3)
            topic = follower.node.topics[RoomId(room)]
            session = SessionId(9, 9)
            end = End(RoomId(room), session, 0, None, 1, RoomState.CLOSED)
            head = Head(RoomId(room), session, 0, _cid(), RoomState.CLOSED, 1)
            forged = [pack(sign(end, OTHER_KEY)), pack(sign(head, OTHER_KEY)), b"", b"\x81\x40"]
            for message in forged:
                assert topic.validator(ME, message) is Verdict.REJECT
            replay = origin.node.published[-1]
            assert topic.validator(ME, replay) is Verdict.IGNORE
            follower.node.swarm.nodes[origin.node.id].lie_told = lambda told: Told(
                told.untrusted_tracks,
                sign(head, OTHER_KEY).encoded,
                (*told.untrusted_ticks, sign(end, OTHER_KEY).encoded, b"junk"),
            )
            await show.play(2)
            await trio.sleep(0.3)
            await same_live(origin, follower, room)
        await trio.sleep(70)
        assert follower.room(room).state is RoomState.ENDED
        await same_archive(origin, follower, room)


@pytest.mark.parametrize("by", ["gossip", "answer"])
async def test_two_statements_for_one_place_are_kept_as_evidence(
    autojump_clock: trio.testing.MockClock, by: str
) -> None:
    async with Stage(6) as stage:
        (origin, follower), room = await joined(stage, "follower")
        key = key_of(origin.rooms, room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
            await trio.sleep(0.3)
            told = origin.rooms.find(room).tell(follower.node.asked[0])
            assert told is not None
            true = follower.followed(room)._door.verified(told.untrusted_ticks[-1])
            head = follower.followed(room)._follower.head
            assert true is not None
            assert isinstance(true.statement, Tick)
            assert head is not None
            other_tick = sign(replace(true.statement, time_ms=5, gops=()), key)
            other_head = sign(replace(head.statement, manifest=_cid()), key)
            topic = follower.node.topics[RoomId(room)]
            if by == "gossip":
                for one in (other_tick, other_head, other_tick):
                    assert topic.validator(ME, pack(one)) is Verdict.IGNORE
            else:
                follower.followed(room)._follower.told(
                    Told((), other_head.encoded, (other_tick.encoded,), ME)
                )
            await show.play(1)
            await trio.sleep(0.3)
            await same_live(origin, follower, room)
        codes = [notice.code for notice in follower.room(room).notices]
        assert codes == ["contradiction", "contradiction"]
        await trio.sleep(1)
        kept = follower.home.records.load()[0][0].evidence
        assert {pair[1] for pair in kept} == {other_tick.encoded, other_head.encoded}


async def test_a_short_cut_costs_nothing_and_a_long_one_a_gap(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(7) as stage:
        (origin, relay, follower), room = await joined(stage, "relay", "follower")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(3)
            with stage.swarm.cut(origin.node, relay.node):
                await show.play(2)
            await show.play(2)
            await trio.sleep(0.3)
            await same_live(origin, relay, room)
            await same_live(origin, follower, room)
            with stage.swarm.cut(origin.node, relay.node):
                await show.play(40)
                assert follower.room(room).state is RoomState.WAITING
            await show.play(16)
            await trio.sleep(0.3)
            assert follower.room(room).state is RoomState.LIVE
            await same_media(origin, follower, room)
            for name, track in origin.room(room).tracks.items():
                theirs = follower.room(room).tracks[name].playlist()
                assert theirs.edge() == track.playlist().edge()
        await trio.sleep(90)
        for peer in (relay, follower):
            await same_archive(origin, peer, room)


async def test_an_origin_that_vanishes_and_returns_is_followed_in_its_new_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(8) as stage:
        (origin, relay, follower), room = await joined(stage, "relay", "follower")
        with trio.CancelScope() as encoder:
            async with Show(stage, origin, room, NAMES).on() as show:
                await show.play(13)
                stage.kill("origin")
                encoder.cancel()
                await trio.sleep(0)
        await trio.sleep(12)
        assert follower.room(room).state is RoomState.WAITING
        origin = await stage.node("origin")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(7)
            await trio.sleep(0.3)
            for peer in (relay, follower):
                assert peer.room(room).state is RoomState.LIVE
                await same_live(origin, peer, room)
        await trio.sleep(60)
        for peer in (relay, follower):
            await same_archive(origin, peer, room)
            assert not peer.home.store.unclosed(RoomId(room)), "what was cut short is gone"


async def test_a_follower_that_was_killed_goes_on_with_what_its_store_holds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(9) as stage:
        (origin, follower), room = await joined(stage, "follower")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(13)
            await trio.sleep(0.3)
            stage.kill("follower")
            await trio.sleep(0.1)
            before = len(follower.home.store.files)
            already = {cid for cid, _ in origin.node.served.of}
            assert before
            await show.play(11)
            origin.node.served.of.clear()
            follower = await stage.node("follower")
            await trio.sleep(0.3)
            assert follower.room(room).state is RoomState.LIVE
            await show.play(12)
            await trio.sleep(0.3)
            await same_live(origin, follower, room, late=True)
        await trio.sleep(60)
        await same_archive(origin, follower, room)
        again = [cid for cid, _ in origin.node.served.of if cid in already]
        assert not [cid for cid in again if cid.codec is Codec.RAW], "what it had was not fetched"


async def test_an_end_that_was_missed_is_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(10) as stage:
        (origin, follower), room = await joined(stage, "follower")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
        await trio.sleep(10)
        with stage.swarm.cut(origin.node, follower.node):
            await trio.sleep(20)
            assert origin.room(room).state is RoomState.ENDED
            assert follower.room(room).state is RoomState.WAITING
        await trio.sleep(40)
        assert follower.room(room).state is RoomState.ENDED
        await same_live(origin, follower, room)
        await same_archive(origin, follower, room)


async def test_who_comes_when_all_is_over_gets_the_recording(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(11) as stage:
        (origin, relay), room = await joined(stage, "relay")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(17)
        await trio.sleep(60)
        stage.kill("origin")  # only the relay is left, and it was restarted since
        stage.kill("relay")
        await trio.sleep(1)
        relay = await stage.node("relay")
        late = await stage.node("late")
        stage.swarm.link(relay.node, late.node)
        await late.rooms.follow(room)
        await trio.sleep(60)
        assert late.room(room).state is RoomState.ENDED
        await same_archive(relay, late, room)


async def test_a_full_disk_stops_the_recording_and_not_the_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(12) as stage:
        (origin, follower), room = await joined(stage, "follower")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(3)
            follower.home.store.full = True
            await show.play(10)
            await trio.sleep(0.3)
            await same_live(origin, follower, room)
            follower.home.store.full = False
            await show.play(20)
        await trio.sleep(90)
        await same_archive(origin, follower, room)
        codes = {notice.code for notice in follower.room(room).notices}
        assert codes == {"recording-stopped", "recording-resumed"}


def _cid() -> CID:
    return CID.of(b"nothing", Codec.DAG_CBOR)


async def test_a_manifest_that_is_not_what_was_announced_is_told_and_followed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(13) as stage:
        (origin, follower), room = await joined(stage, "follower")
        key = key_of(origin.rooms, room)
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(4)
            # the true head is lost on its way, and one with another manifest comes instead
            judge = follower.node.topics[RoomId(room)].validator
            follower.node.topics[RoomId(room)].validator = lambda peer, message: (
                Verdict.IGNORE if b"hausd/1/head" in message else judge(peer, message)
            )
            await show.play(2)
            follower.node.topics[RoomId(room)].validator = judge
            await trio.sleep(0.3)
            (stored,) = await follower.home.store.segments(RoomId(room))
            true = decode_record(stored.record)
            other = replace(true, segment=replace(true.segment, duration_ms=1))
            tree = Manifest(RoomId(room))
            await origin.home.store.put(tree.append(other, state=RoomState.LIVE), RoomId(room))
            session = true.segment.session
            head = Head(RoomId(room), session, 50, tree.cid, RoomState.LIVE, 1)
            follower.node.topics[RoomId(room)].arrived(pack(sign(head, key)), ME)
            await trio.sleep(3)
            (stored,) = await follower.home.store.segments(RoomId(room))
            assert decode_record(stored.record) == other
            assert [notice.code for notice in follower.room(room).notices] == ["archive-differs"]
            assert follower.room(room).record.manifest == str(tree.cid)


async def test_a_segment_that_nobody_has_is_left_out_once_later_ones_can_be_had(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(14) as stage:
        origin = await stage.node("origin")
        room = (await origin.rooms.create("A room")).id
        follower = await stage.node("follower")
        stage.swarm.link(origin.node, follower.node)
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(21)
            stored = await origin.home.store.segments(RoomId(room))
            leaves = origin.home.store.files[stored[1].key].leaves
            gone = {cid for cid, leaf in leaves if len(leaf) > 1}  # a byte may be elsewhere too
            origin.node.lie = lambda cid, data: None if cid in gone else data
            await follower.rooms.follow(room)
            await show.play(6)
            theirs = follower.room(room).archive("source")
            assert theirs is not None
            assert len(theirs.segments) == 1, "what comes after a hole waits for it"
            await show.play(200)
        await trio.sleep(60)
        ours, theirs = origin.room(room).archive("source"), follower.room(room).archive("source")
        assert ours is not None
        assert theirs is not None
        numbers = [segment.number for segment in ours.segments]
        assert [segment.number for segment in theirs.segments] == [numbers[0], *numbers[2:]]
        assert [one.code for one in follower.room(room).notices] == ["segment-missing"]
        origin.node.lie = lambda cid, data: data
        await trio.sleep(3600)
        await same_archive(origin, follower, room)


async def test_an_origin_that_never_returns_is_held_to_be_gone_and_may_come_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(15) as stage:
        (origin, follower), room = await joined(stage, "follower")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(6)
            with stage.swarm.cut(origin.node, follower.node):
                await trio.sleep(200)
                assert follower.room(room).state is RoomState.WAITING
                await trio.sleep(200)
                assert follower.room(room).state is RoomState.ENDED
            await show.play(16)
            await trio.sleep(0.3)
            assert follower.room(room).state is RoomState.LIVE
            await same_live(origin, follower, room, late=True)


async def test_what_the_store_evicts_is_not_fetched_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(16) as stage:
        (origin, follower), room = await joined(stage, "follower")
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(17)
            keys = [one.key for one in await follower.home.store.segments(RoomId(room))]
            await follower.home.store.discard(keys[:1])
            follower.rooms.evicted(keys[:1])
            await show.play(10)
        await trio.sleep(60)
        theirs = follower.room(room).archive("source")
        assert theirs is not None
        assert theirs.segments[0].number == keys[1].number
        assert keys[0] not in {one.key for one in await follower.home.store.segments(RoomId(room))}


async def test_a_head_that_names_no_manifest_is_told_and_the_next_one_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(17) as stage:
        (origin, follower), room = await joined(stage, "follower")
        key = key_of(origin.rooms, room)
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(6)
            await trio.sleep(0.3)
            true = follower.followed(room)._follower.head
            assert true is not None
            junk = b"\xa1\x61v\x01"
            cid = CID.of(junk, Codec.DAG_CBOR)
            await origin.home.store.put([(cid, junk)], RoomId(room))
            bad = sign(replace(true.statement, n=1, manifest=cid), key)
            follower.node.topics[RoomId(room)].arrived(pack(bad), ME)
            await trio.sleep(1)
            assert follower.room(room).record.manifest == str(true.statement.manifest)
            origin_room = origin.room(room)
            assert isinstance(origin_room, OriginRoom)
            origin_room.announcer._heads = 2
            await show.play(5)
        await trio.sleep(60)
        await same_archive(origin, follower, room)
        codes = [notice.code for notice in follower.room(room).notices]
        assert codes == ["bad-manifest"]


async def test_renditions_that_are_ever_new_are_no_manifest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(27) as stage:
        (origin, follower), room = await joined(stage, "follower")
        key = key_of(origin.rooms, room)
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(6)
            await trio.sleep(0.3)
            (stored,) = await follower.home.store.segments(RoomId(room))
            true = decode_record(stored.record)
            for n in range(50, 54):
                tree = Manifest(RoomId(room))
                records = [
                    replace(true, rendition=replace(true.rendition, name=f"r{n}.{at}"))
                    for at in range(10)
                ]
                await origin.home.store.put(
                    tree.append(*records, state=RoomState.LIVE), RoomId(room)
                )
                head = Head(RoomId(room), true.segment.session, n, tree.cid, RoomState.LIVE, 1)
                follower.node.topics[RoomId(room)].arrived(pack(sign(head, key)), ME)
                await trio.sleep(1)
            archivist = follower.followed(room)._archivist
            assert len(archivist._plan) <= 16
            codes = {notice.code for notice in follower.room(room).notices}
            assert codes == {"bad-manifest"}


async def test_a_segment_that_the_store_has_otherwise_is_fetched_in_its_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(30) as stage:
        (origin, follower), room = await joined(stage, "follower")
        store = follower.home.store
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(3)
            with stage.swarm.cut(origin.node, follower.node):
                await show.play(9)  # whose segments are fetched afterwards
                stored = await origin.home.store.segments(RoomId(room))
                for one in stored:
                    if one.key not in {here.key for here in await store.segments(RoomId(room))}:
                        await store.discard([one.key])
                        await store.write(
                            [Append(one.key, ((CID.of(b"x"), b"x"),)), Close(one.key, (), b"")]
                        )
            await show.play(5)
        await trio.sleep(120)
        await same_archive(origin, follower, room)
        codes = {notice.code for notice in follower.room(room).notices}
        assert "following-failed" not in codes


async def test_what_fails_when_following_begins_anew_ends_no_node(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage(31) as stage:
        (origin, follower), room = await joined(stage, "follower")
        followed = follower.followed(room)
        left = [OSError("a disk that fails"), ValueError("no record")]
        assemble, watch, fails = followed._assemble, followed._watch, [True]

        def failing() -> None:
            if left:
                raise left.pop()
            assemble()

        async def watching() -> None:
            if fails:
                await trio.sleep(7)
                fails.clear()
                raise ValueError("what was signed")
            await watch()

        monkeypatch.setattr(followed, "_assemble", failing)
        monkeypatch.setattr(followed, "_watch", watching)
        nursery = followed._nursery
        assert nursery is not None
        nursery.start_soon(watching)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(20)
            await trio.sleep(0.3)
            assert not left
            await same_media(origin, follower, room)
        await trio.sleep(90)
        await same_archive(origin, follower, room)


async def hostile(stage: Stage, origin: Peer, follower: Peer, room: str) -> Hostile:
    """Who has the room's key, and signs whatever it likes."""
    id_ = RoomId(room)
    block = b"x"
    await origin.home.store.put([(CID.of(block), block)], id_)
    key = key_of(origin.rooms, room)
    return Hostile(Authority(id_, SessionId(9, 9), key), follower.node.topics[id_], CID.of(block))


@dataclass
class Hostile:
    """``leaf`` is a byte that the follower may fetch, also as an init."""

    authority: Authority
    topic: _Topic
    leaf: CID

    def track(self, rendition: Rendition) -> None:
        said = self.authority.track(
            rendition,
            run=0,
            init=self.leaf,
            init_size=1,
            target_s=2,
            part_target_ms=400,
            window_ms=600_000,
            peak_bps=1,
            average_bps=1,
        )
        self._send(said)

    def tick(self, gops: Sequence[TickGop], gaps: Sequence[TickGap] = ()) -> None:
        self._send(self.authority.tick(1, gops, gaps))

    def _send(self, signed: Signed[Statement]) -> None:
        self.topic.arrived(pack(signed), ME)


def gop(msn: int, *parts: TickPart) -> TickGop:
    return TickGop(msn, 0, 0, parts)


def byte(rendition: str, leaf: CID) -> TickPart:
    return TickPart(rendition, 0, 1_000_000, 1, 1, (leaf,), independent=True, ends_gop=True)


async def test_parts_of_more_renditions_than_a_room_has_are_not_fetched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(28) as stage:
        (origin, follower), room = await joined(stage, "follower")
        bad = await hostile(stage, origin, follower, room)
        for msn in range(40):
            names = [f"r{msn}.{at}" for at in range(40)]
            leaves = [CID.of(name.encode()) for name in names]
            bad.tick([gop(msn, *map(byte, names, leaves))])
            await trio.sleep(0.1)
        await trio.sleep(10)
        puller = follower.followed(room)._puller
        assert not puller._pending
        assert puller._bytes == 0


@pytest.mark.parametrize("gaps", [False, True])
async def test_a_live_window_is_bounded_whatever_durations_are_signed(
    autojump_clock: trio.testing.MockClock, gaps: bool
) -> None:
    async with Stage(29) as stage:
        (origin, follower), room = await joined(stage, "follower")
        bad = await hostile(stage, origin, follower, room)
        bad.track(VIDEO)
        await trio.sleep(0.1)
        msn = 0
        for _ in range(100):
            said = range(msn, msn + 50)
            missing = [TickGap(VIDEO.name, at, 0, 1_000_000, 1) for at in said[1:]] if gaps else []
            parts = [gop(at, byte(VIDEO.name, bad.leaf)) for at in (said[:1] if gaps else said)]
            bad.tick(parts, missing)
            msn += 50
            await trio.sleep(0.2)
        await trio.sleep(1)
        (track,) = follower.room(room).tracks.values()
        listed = track.playlist().segments
        assert listed[-1].msn == msn - 1
        assert len(listed) <= MAX_WINDOW_GOPS


async def test_a_manifest_larger_than_any_is_not_fetched(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(17) as stage:
        (origin, follower), room = await joined(stage, "follower")
        key = key_of(origin.rooms, room)
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(6)
            await trio.sleep(0.3)
            true = follower.followed(room)._follower.head
            assert true is not None
            large = encode([content(0, MAX_NODE_BYTES)])
            cid = CID.of(large, Codec.DAG_CBOR)
            await origin.home.store.put([(cid, large)], RoomId(room))
            bad = sign(replace(true.statement, n=1, manifest=cid), key)
            follower.node.topics[RoomId(room)].arrived(pack(bad), ME)
            await trio.sleep(3)
            assert not follower.home.store.has(cid)


@pytest.mark.parametrize(
    ("heard", "lost"),
    [
        pytest.param(31, 4, id="in the middle of a GOP"),
        pytest.param(25, 8, id="the first GOP of a segment"),
    ],
)
async def test_ticks_that_nobody_can_tell_are_given_up_and_leave_gaps_of_their_size(
    autojump_clock: trio.testing.MockClock, heard: int, lost: int
) -> None:
    async with Stage(18) as stage:
        (origin, follower), room = await joined(stage, "follower")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.parts(heard)
            await trio.sleep(0.1)
            origin.node.lie_told = lambda told: replace(told, untrusted_ticks=())
            with stage.swarm.cut(origin.node, follower.node):
                await show.parts(lost)  # the last two are told again by the next tick
            await show.play(4)
            await trio.sleep(0.3)
            for name, track in origin.room(room).tracks.items():
                ours, theirs = track.playlist(), follower.room(room).tracks[name].playlist()
                assert theirs.edge() == ours.edge()
                assert [one.msn for one in theirs.segments] == [one.msn for one in ours.segments]
                assert [one.duration for one in theirs.segments] == [
                    one.duration for one in ours.segments
                ]
                assert sum(one.gap for one in theirs.segments) == 1
            await same_media(origin, follower, room)
        await trio.sleep(60)
        await same_archive(origin, follower, room)
        assert not follower.room(room).notices, "what was recorded was never in doubt"


async def test_who_comes_after_an_origin_that_took_its_newest_manifest_along_gets_what_others_have(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(31) as stage:
        (origin, relay), room = await joined(stage, "relay")
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(25)
            await trio.sleep(1)
            had = relay.room(room).archive_of.segments
            origin.node.lie = lambda cid, data: None  # heads are still heard, no block comes
            await show.play(10)
            stage.kill("origin")
        newest = relay.followed(room).newest
        for name in ("late", "later"):
            late = await stage.node(name)
            stage.swarm.link(relay.node, late.node)
            await late.rooms.follow(room)
            await trio.sleep(60)
            assert late.followed(room).newest == newest, "the one that nobody can read"
            assert had
            assert late.room(room).archive_of.segments == had
            stage.kill(name)
            stage.kill("relay")
            await trio.sleep(1)
            relay = await stage.node("relay")

"""Whatever comes on a room's topic, and whatever its authority signs, a follower stands it."""

from __future__ import annotations

from dataclasses import replace

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from support.authority import Authority
from support.content import KEY, NOW_MS, ROOM, SESSION, VIDEO
from support.mangle import mangled, seeds
from support.memorystore import MemoryStore
from support.stage import Stage

from hausd.core.cid import CID, Codec
from hausd.core.following import LeafMissing, Told
from hausd.core.live import RoomState
from hausd.core.peers import PeerId, Verdict
from hausd.rooms.door import Door
from hausd.rooms.leaftable import LeafTable
from hausd.wire.follow import TickChain
from hausd.wire.hls_live import live_media_playlist
from hausd.wire.statements import TickGap, TickGop, TickPart

PEER = PeerId("peer")
LIBRARY = {CID.of(bytes([n]) * (n + 1)): bytes([n]) * (n + 1) for n in range(8)}
INIT = CID.of(b"init")
NAMES = st.sampled_from(["source", "720p"])
small = st.integers(0, 6)
wild = st.integers(0, 31).flatmap(
    lambda choice: st.integers(0, 2**53 - 1) if choice == 31 else st.just(choice % 7)
)
times = st.sampled_from([NOW_MS, NOW_MS, NOW_MS + 400, 2**53 - 1])
runs = st.sampled_from([0, 0, 0, 0, 0, 1, 2])


@given(st.binary(max_size=400) | mangled(seeds("announce")))
async def test_a_message_is_judged_without_raising(message: bytes) -> None:
    door = Door(ROOM, KEY.public, TickChain(), LeafTable(MemoryStore()), lambda *_: None)
    assert door.judge(PEER, message) in Verdict


@st.composite
def parts(draw: st.DrawFn, count: int) -> tuple[TickPart, ...]:
    found = []
    for name in draw(st.lists(NAMES, unique=True, min_size=1)):
        at = draw(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 600, 2**53 - 9]))
        for index in range(at, at + draw(st.integers(1, count))):
            cid = draw(st.sampled_from(sorted(LIBRARY)))
            found.append(
                TickPart(
                    name,
                    min(index, 2**53 - 1 - count),
                    draw(times),
                    draw(st.integers(1, 2**20)),
                    len(LIBRARY[cid]),
                    (cid,),
                    draw(st.booleans()),
                    draw(st.booleans()),
                )
            )
            if at > 2**53 - 10:
                break
    return tuple(found)


@st.composite
def tick(draw: st.DrawFn) -> dict[str, object]:
    msns = sorted(draw(st.sets(wild, max_size=2)))
    gops = tuple(TickGop(msn, draw(runs), draw(wild), draw(parts(3))) for msn in msns)
    gap = st.builds(TickGap, NAMES, wild, runs, times, st.integers(1, 2**20))
    return {"gops": gops, "gaps": tuple(draw(st.lists(gap, max_size=2)))}


track = st.fixed_dictionaries(
    {
        "name": NAMES,
        "run": runs,
        "active": st.sampled_from([True, True, True, False]),
        "window_ms": st.sampled_from([1, 9_000, 600_000, 2**40]),
        "timescale": st.sampled_from([1, 1000, 1000, 1000, 2**32]),
    }
)
heads = st.just("head")


@settings(max_examples=100, deadline=None)
@given(st.lists(tick() | track | heads | st.sampled_from(["end", "run"]), max_size=14))
def test_no_authority_can_sign_what_ends_the_following(said: list[object]) -> None:
    async def follow() -> None:
        async with Stage() as stage:
            peer = await stage.node("follower")

            async def fetch(room: str, cid: CID, *_: object, **__: object) -> bytes:
                await trio.sleep(0.01)
                if cid == INIT:
                    return b"init"
                if cid in LIBRARY:
                    return LIBRARY[cid]
                raise LeafMissing(cid)

            peer.node.fetch = fetch  # type: ignore[method-assign,assignment]
            await peer.rooms.follow(ROOM)
            await trio.sleep(2)
            room, topic = peer.followed(ROOM), peer.node.topics[ROOM]
            authority = Authority(ROOM, SESSION, KEY)
            begin = {"run": 0, "active": True, "window_ms": 9_000, "timescale": 1000}
            prelude = [{"name": name, **begin} for name in ("source", "720p")]
            for at, one in enumerate([*prelude, *said]):
                match one:
                    case "head":
                        cid = CID.of(b"%d" % at, Codec.DAG_CBOR)
                        signed = authority.head(cid, RoomState.LIVE, at)
                    case "end":
                        if authority._ended:
                            continue
                        signed = authority.end(at, RoomState.ENDED)
                    case "run":
                        if authority._ended:
                            continue
                        signed = authority.tick(at, ends_run=True)
                    case {"name": name, "timescale": timescale, "window_ms": window, **rest}:
                        signed = authority.track(
                            replace(VIDEO, name=name, timescale=timescale),
                            init=INIT,
                            init_size=4,
                            target_s=2,
                            part_target_ms=400,
                            window_ms=window,
                            peak_bps=1,
                            average_bps=1,
                            **rest,  # type: ignore[arg-type]
                        )
                    case {"gops": gops, "gaps": gaps}:
                        if authority._ended:
                            continue
                        signed = authority.tick(at, gops, gaps)
                topic.arrived(authority.message(signed), PEER)
                await trio.sleep(0.3)
                for live in room.tracks.values():
                    live_media_playlist(live.playlist())
            room._follower.told(Told((), None, (b"", b"\x80"), PEER))
            await trio.sleep(30)
            assert "following-failed" not in {notice.code for notice in room.notices}
            for live in room.tracks.values():
                live_media_playlist(live.playlist())

    trio.run(follow, clock=trio.testing.MockClock(autojump_threshold=0))

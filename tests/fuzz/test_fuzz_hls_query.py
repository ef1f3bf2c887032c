"""No path or query brings the responder down, or makes it say something out of place."""

from __future__ import annotations

import json

import trio
from hypothesis import example, given
from hypothesis import strategies as st
from support.hls_room import MemoryBlocks, Rooms, Script, StudioRoom

from hausd.core.ids import RoomId
from hausd.http.directives import BadDirectives, is_reached, is_too_far, parse_directives
from hausd.http.messages import Fetch, NotMine, Request, Response, Wait
from hausd.http.responder import RoomResponder

ROOM = StudioRoom(Script(frame_bytes=8))
ROOM.begin_run()
ROOM.run_gops(6)
ROOM.run_gops(parts=2)
GATED = StudioRoom(Script(frame_bytes=8), RoomId("4" * 44))
GATED.begin_run()
GATED.run_gops(1)
RESPONDER = RoomResponder(Rooms(ROOM, GATED), MemoryBlocks(ROOM.blocks))
SOME_CID = str(next(iter(ROOM.blocks)))

numbers = st.one_of(
    st.integers(-3, 20).map(str),
    st.sampled_from(["", "-0", "+1", "1e3", "0x1", "１", "9" * 15, "9" * 17, " 1", "%31"]),
    st.text(max_size=6),
)  # fmt: skip
directives = st.lists(
    st.one_of(
        st.builds(lambda value: f"_HLS_msn={value}", numbers),
        st.builds(lambda value: f"_HLS_part={value}", numbers),
        st.sampled_from(["_HLS_skip=YES", "_HLS_skip=v2", "_HLS_skip", "&", "=", "_HLS_msn"]),
        st.builds(lambda value: f"format={value}", st.sampled_from(["raw", "car", "x", ""])),
        st.builds(lambda a, b: f"entity-bytes={a}:{b}", numbers, numbers),
        st.text(max_size=12),
    ),
    max_size=5,
).map("&".join)
names = st.one_of(
    st.sampled_from(
        ["live", "archive", "ipfs", "static", "", "..", ".", ROOM.id, GATED.id, "source", "audio",
         "index.m3u8", "poster.jpg", "storyboard.vtt", "1.0.m4s", "1.6.1.m4s", "1.6.2.m4s",
         "init.1.0.mp4", SOME_CID, f"{SOME_CID}.m4s", f"{SOME_CID}.mp4", f"{SOME_CID}.jpg"]
    ),
    st.builds(lambda a, b, c: f"{a}.{b}.{c}.m4s", numbers, numbers, numbers),
    st.text(max_size=10),
)  # fmt: skip
paths = st.one_of(
    st.lists(names, max_size=6).map(lambda found: "/" + "/".join(found)),
    st.builds(lambda a, b: f"/live/{ROOM.id}/{a}/{b}", names, names),
    st.builds(lambda a: f"/archive/{ROOM.id}/source/{a}", names),
    st.builds(lambda a: f"/ipfs/{SOME_CID}/{a}", names),
)


@given(
    paths,
    directives,
    st.sampled_from(["GET", "HEAD", "OPTIONS", "POST"]),
    st.dictionaries(
        st.sampled_from(["origin", "sec-fetch-site", "accept", "range", "if-range"]),
        st.one_of(
            st.sampled_from(["same-origin", "cross-site", "http://h", "bytes=0-"]), st.text()
        ),
    ),
)
@example(f"/live/{ROOM.id}/source/index.m3u8", "_HLS_msn=6&_HLS_part=99999", "GET", {})
@example(f"/live/{ROOM.id}/source/index.m3u8", "&".join(["a=b"] * 200), "GET", {})
@example(f"/ipfs/{SOME_CID}", "&".join(["format=raw"] * 200), "GET", {})
@example(f"/ipfs/{SOME_CID}", "format=car&entity-bytes=-99999999999999:0", "GET", {})
@example(f"/live/{GATED.id}/index.m3u8", "", "GET", {"origin": "\0://"})
def test_the_responder_answers_anything(
    path: str, query: str, method: str, headers: dict[str, str]
) -> None:
    request = Request(method, path, query, headers, "1.1", False, "127.0.0.1", "h:80")
    answer = RESPONDER.respond(request)
    if isinstance(answer, Fetch) and path.startswith("/ipfs"):
        answer = trio.run(answer.get)
    assert isinstance(answer, Response | Wait | Fetch | NotMine)
    if isinstance(answer, Wait):
        assert 0 < answer.deadline_s < 60
        answer = answer.expired
    if isinstance(answer, Response):
        assert answer.status in (200, 204, 206, 400, 403, 404, 405, 406, 416, 503)
        for name, value in answer.headers:
            assert name == name.lower()
            assert b"\n" not in value
            assert b"\r" not in value
        if answer.status >= 400 and answer.status != 416:
            assert isinstance(answer.body, tuple)
            assert set(json.loads(answer.body[0])) == {"error"}


@given(directives)
@example("_HLS_msn=1&_HLS_part=2&_HLS_skip=YES")
def test_what_is_asked_for_is_never_both_there_and_too_far(query: str) -> None:
    found = parse_directives(query)
    if isinstance(found, BadDirectives) or found.msn is None:
        return
    for view in (ROOM.live("source"), ROOM.live("audio")):
        assert view is not None
        playlist = view.playlist()
        reached = is_reached(playlist, found.msn, found.part)
        assert not (reached and is_too_far(playlist, found.msn, found.part))
        edge_msn, edge_part = playlist.edge()
        part = 0 if found.part is None else found.part
        if (found.msn, part) >= (edge_msn, edge_part):
            assert not reached or found.part is None

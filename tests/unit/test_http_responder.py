"""What viewers and other pages get, asked of the responder itself (no socket)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from fractions import Fraction
from functools import partial

import pytest
import trio
import trio.testing
from support.hls_room import MemoryBlocks, Rooms, Script, StudioRoom
from support.hls_validator import check_archive, check_live, check_multivariant

from hausd.core.cid import CID
from hausd.core.gating import Withheld
from hausd.core.ids import RoomId
from hausd.core.live import Media, RoomState, Sealed
from hausd.core.release import Refusal
from hausd.http.messages import Answer, Fetch, NotMine, Request, Response, Wait
from hausd.http.responder import RoomResponder
from hausd.wire.worker import ImageMade

Respond = Callable[..., Awaitable[Response]]
SCRIPT = Script(frame_bytes=8)


def request(path: str, query: str = "", method: str = "GET", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, path, query, named, "1.1", False, "127.0.0.1", "127.0.0.1:8080")


class Asked:
    """A responder over one room, asked as the lanes ask."""

    def __init__(self, room: StudioRoom) -> None:
        self.room = room
        self.responder = RoomResponder(Rooms(room), MemoryBlocks(room.blocks))

    def at_once(self, path: str, query: str = "", method: str = "GET", **headers: str) -> Response:
        answer = self.ask(path, query, method, **headers)
        assert isinstance(answer, Response), answer
        return answer

    def ask(self, path: str, query: str = "", method: str = "GET", **headers: str) -> Answer:
        path = path.replace("ROOM", self.room.id)
        return self.responder.respond(request(path, query, method, **headers))

    async def get(self, path: str, query: str = "", **headers: str) -> Response:
        answer = first = self.ask(path, query, **headers)
        with trio.move_on_after(first.deadline_s if isinstance(first, Wait) else 1000):
            while isinstance(answer, Wait):
                await answer.until()
                answer = self.ask(path, query, **headers)
            if isinstance(answer, Fetch):
                answer = await answer.get()
        if isinstance(answer, Wait):
            assert isinstance(first, Wait)
            return first.expired
        assert isinstance(answer, Response)
        return answer


def header(response: Response, name: str) -> str | None:
    return dict(response.headers).get(name.encode(), b"").decode() or None


def text(response: Response) -> str:
    assert isinstance(response.body, tuple)
    return b"".join(response.body).decode()


def code(response: Response) -> str:
    body = json.loads(text(response))
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "hint"}
    return str(body["error"]["code"])


@pytest.fixture
def on_air() -> Asked:
    room = StudioRoom(SCRIPT)
    room.begin_run()
    room.run_gops(8)
    room.run_gops(parts=2)
    return Asked(room)


# -- playlists


def test_the_choice_of_qualities_is_valid_and_open_to_every_player(on_air: Asked) -> None:
    answer = on_air.at_once("/live/ROOM/index.m3u8")
    assert answer.status == 200
    found, faults = check_multivariant(text(answer))
    assert not faults
    assert [stream.uri for stream in found.streams] == ["source/index.m3u8", "720p/index.m3u8"]
    assert header(answer, "content-type") == "application/vnd.apple.mpegurl"
    assert header(answer, "access-control-allow-origin") == "*"
    assert header(answer, "cache-control") == "no-cache"


def test_thousands_of_viewers_cost_one_rendering(on_air: Asked) -> None:
    first = on_air.at_once("/live/ROOM/source/index.m3u8")
    assert on_air.at_once("/live/ROOM/source/index.m3u8") is first
    held = on_air.at_once("/live/ROOM/source/index.m3u8", "_HLS_msn=8&_HLS_part=1")
    assert on_air.at_once("/live/ROOM/source/index.m3u8", "_HLS_msn=8&_HLS_part=0") is held
    on_air.room.run_gops(parts=3)
    assert on_air.at_once("/live/ROOM/source/index.m3u8") is not first


def test_reports_on_other_renditions_are_as_new_as_the_answer() -> None:
    room = StudioRoom(SCRIPT)
    room.begin_run()
    room.run_gops(1)
    asked = Asked(room)
    before = text(asked.at_once("/live/ROOM/audio/index.m3u8"))
    assert 'URI="../source/index.m3u8",LAST-MSN=0,LAST-PART=4' in before
    room.silent = {"audio"}
    room.run_gops(parts=1)
    after = text(asked.at_once("/live/ROOM/audio/index.m3u8"))
    assert 'URI="../source/index.m3u8",LAST-MSN=1,LAST-PART=0' in after


async def test_a_blocking_reload_comes_with_the_part_and_not_before(on_air: Asked) -> None:
    came: list[str] = []

    async def ask(name: str, query: str) -> None:
        answer = await on_air.get("/live/ROOM/source/index.m3u8", query)
        assert answer.status == 200
        _, faults = check_live(text(answer))
        assert not faults
        came.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "part", "_HLS_msn=8&_HLS_part=2")
        nursery.start_soon(ask, "beyond the segment", "_HLS_msn=8&_HLS_part=5")
        nursery.start_soon(ask, "segment", "_HLS_msn=8")
        nursery.start_soon(ask, "old", "_HLS_msn=0&_HLS_part=99")
        await trio.testing.wait_all_tasks_blocked()
        assert came == ["old"]
        on_air.room.run_gops(parts=3)
        await trio.testing.wait_all_tasks_blocked()
        assert came == ["old", "part"]
        on_air.room.run_gops()
        await trio.testing.wait_all_tasks_blocked()
        assert came == ["old", "part", "segment"]
        on_air.room.run_gops(parts=1)
        await trio.testing.wait_all_tasks_blocked()
        assert came[-1] == "beyond the segment"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("_HLS_part=1", 400),
        ("_HLS_msn=x", 400),
        ("_HLS_msn=-1", 400),
        ("_HLS_msn=", 400),
        ("_HLS_msn=1&_HLS_msn=2", 400),
        ("_HLS_msn=99999999999999999999", 400),
        ("_HLS_msn=10", 400),
        ("_HLS_msn=8&_HLS_part=30", 400),
        ("_HLS_msn=7", 200),
        ("_HLS_msn=8&_HLS_part=1", 200),
        ("_HLS_skip=YES", 200),
        ("_HLS_skip=NO", 200),
        ("token=1&_HLS_msn=0", 200),
    ],
)
def test_directives_are_answered_as_the_rfc_says(on_air: Asked, query: str, status: int) -> None:
    answer = on_air.at_once("/live/ROOM/source/index.m3u8", query)
    assert answer.status == status, text(answer)
    if status == 400:
        assert code(answer) in ("bad-directive", "too-far")
        assert header(answer, "access-control-allow-origin") == "*"


async def test_a_stream_that_stands_still_is_unavailable_after_three_targets(
    on_air: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    answer = await on_air.get("/live/ROOM/source/index.m3u8", "_HLS_msn=9")
    assert (answer.status, trio.current_time() - began) == (503, 6)


async def test_who_waits_is_told_at_once_that_the_run_is_over(on_air: Asked) -> None:
    async with trio.open_nursery() as nursery:
        answers: list[Response] = []

        async def ask() -> None:
            answers.append(await on_air.get("/live/ROOM/source/index.m3u8", "_HLS_msn=9"))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        on_air.room.end_run()
        await trio.testing.wait_all_tasks_blocked()
        assert text(answers[0]).splitlines()[-3] == "#EXT-X-DISCONTINUITY"


async def test_while_the_encoder_is_away_players_get_the_playlist_and_no_errors(
    on_air: Asked, autojump_clock: trio.testing.MockClock
) -> None:
    on_air.room.end_run()
    assert on_air.room.state is RoomState.WAITING
    for path in ("index.m3u8", "source/index.m3u8", "audio/index.m3u8", "source/1.8.m4s"):
        assert on_air.at_once(f"/live/ROOM/{path}").status == 200
    began = trio.current_time()
    answer = await on_air.get("/live/ROOM/source/index.m3u8", "_HLS_msn=9&_HLS_part=0")
    assert answer.status == 200
    waited_s = trio.current_time() - began
    assert waited_s >= 1, "asking must not turn into a busy loop"
    assert waited_s < 0.8 * 2, "hls.js gives up what takes 0.8 target durations"
    assert header(answer, "cache-control") == "no-cache", "it does not have what was asked for"

    async with trio.open_nursery() as nursery:
        answers: list[Response] = []

        async def ask() -> None:
            query = "_HLS_msn=9&_HLS_part=0"
            answers.append(await on_air.get("/live/ROOM/source/index.m3u8", query))

        nursery.start_soon(ask)
        await trio.sleep(1)
        on_air.room.begin_run()
        on_air.room.run_gops(1, parts=1)
    assert "1.9.0.m4s" in text(answers[0])


def test_delta_updates_are_shorter(on_air: Asked) -> None:
    on_air.room.run_gops(8)
    full = on_air.at_once("/live/ROOM/source/index.m3u8")
    delta = on_air.at_once("/live/ROOM/source/index.m3u8", "_HLS_skip=YES")
    assert "#EXT-X-SKIP:" in text(delta)
    assert len(text(delta)) < len(text(full))


# -- before and after


@pytest.mark.parametrize("rendition", ["source", "audio"])
async def test_who_has_no_playlist_yet_gets_one_with_a_whole_segment(
    rendition: str, autojump_clock: trio.testing.MockClock
) -> None:
    """Parts alone are an empty playlist to hls.js, which is an error to it."""
    room = StudioRoom(SCRIPT)
    room.begin_run()
    room.run_gops(parts=1)
    asked = Asked(room)
    answers: list[Response] = []

    async def ask() -> None:
        answers.append(await asked.get(f"/live/ROOM/{rendition}/index.m3u8"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(0.4)
        room.run_gops(parts=2)
        await trio.sleep(0.4)
        assert not answers
        room.run_gops()
    assert "#EXTINF" in text(answers[0])
    found, faults = check_live(text(answers[0]))
    assert not faults, found


async def test_a_segment_that_is_long_in_coming_does_not_keep_players_waiting_for_good(
    autojump_clock: trio.testing.MockClock,
) -> None:
    room = StudioRoom(SCRIPT)
    room.begin_run()
    room.run_gops(parts=1)
    answer = await Asked(room).get("/live/ROOM/source/index.m3u8")
    assert answer.status == 200
    assert "#EXT-X-PART:" in text(answer)
    assert trio.current_time() == 6


async def test_players_that_block_get_each_part_also_before_a_segment_is_whole() -> None:
    room = StudioRoom(SCRIPT)
    room.begin_run()
    room.run_gops(parts=1)
    query = f"_HLS_msn={room.live('source').last_msn}&_HLS_part=0"  # type: ignore[union-attr]
    assert Asked(room).at_once("/live/ROOM/source/index.m3u8", query).status == 200


async def test_a_room_nobody_streams_into_is_not_found_and_says_when_to_ask_again() -> None:
    asked = Asked(StudioRoom(SCRIPT))
    answer = asked.at_once("/live/ROOM/index.m3u8")
    assert (answer.status, code(answer), header(answer, "retry-after")) == (404, "not-live", "2")


async def test_a_stream_that_is_about_to_begin_is_no_ticket_that_is_not_valid_yet(
    autojump_clock: trio.testing.MockClock,
) -> None:
    room = StudioRoom(SCRIPT)
    room.begin_run()
    asked = Asked(room)
    for path in ("index.m3u8", "source/index.m3u8"):
        answer = await asked.get(f"/live/ROOM/{path}")
        assert (answer.status, code(answer)) == (503, "not-begun")
        assert code(answer) not in set(Refusal)
        assert header(answer, "retry-after") == "2"


async def test_the_first_viewer_gets_sound_too_though_it_begins_a_moment_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    room = StudioRoom(SCRIPT)
    room.silent = {"audio"}
    room.begin_run()
    room.run_gops(parts=1)
    asked = Asked(room)
    async with trio.open_nursery() as nursery:
        answers: list[Response] = []

        async def ask() -> None:
            answers.append(await asked.get("/live/ROOM/index.m3u8"))

        nursery.start_soon(ask)
        await trio.sleep(0.5)
        assert not answers
        room.silent = set()
        room.run_gops(parts=2)
    assert 'AUDIO="audio"' in text(answers[0])


async def test_a_rendition_that_never_begins_delays_the_first_viewer_only(
    autojump_clock: trio.testing.MockClock,
) -> None:
    room = StudioRoom(SCRIPT)
    room.silent = {"audio"}
    room.begin_run()
    room.run_gops(parts=1)
    asked = Asked(room)
    answer = await asked.get("/live/ROOM/index.m3u8")
    assert answer.status == 200
    assert trio.current_time() > 1
    assert asked.at_once("/live/ROOM/index.m3u8").status == 200


async def test_an_encoder_that_just_connected_is_waited_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    room = StudioRoom(SCRIPT)
    room.begin_run()
    asked = Asked(room)
    answers: dict[str, Response] = {}

    async def ask(path: str) -> None:
        answers[path] = await asked.get(f"/live/ROOM/{path}")

    async with trio.open_nursery() as nursery:
        for path in ("index.m3u8", "source/index.m3u8"):
            nursery.start_soon(ask, path)
        await trio.sleep(1)
        assert not answers
        room.run_gops(parts=1)
        await trio.sleep(1)
        assert list(answers) == ["index.m3u8"], "FFmpeg and hls.js take nothing without a segment"
        directed = asked.at_once("/live/ROOM/source/index.m3u8", "_HLS_msn=0&_HLS_part=0")
        assert "#EXT-X-PART:" in text(directed), "who knows of parts need not wait"
        room.run_gops(2)
    assert [answer.status for answer in answers.values()] == [200, 200]
    assert "#EXTINF" in text(answers["source/index.m3u8"])
    late = Asked(StudioRoom(SCRIPT))
    late.room.begin_run()
    answer = await late.get("/live/ROOM/index.m3u8")
    assert (answer.status, header(answer, "retry-after")) == (503, "2")


def test_after_the_end_directives_are_ignored_and_the_archive_is_whole(on_air: Asked) -> None:
    on_air.room.end()
    answer = on_air.at_once("/live/ROOM/source/index.m3u8", "_HLS_msn=500&_HLS_skip=YES")
    assert "#EXT-X-ENDLIST" in text(answer)
    assert "#EXT-X-SKIP" not in text(answer)
    choice = on_air.at_once("/archive/ROOM/index.m3u8")
    assert not check_multivariant(text(choice))[1]
    playlist, faults = check_archive(text(on_air.at_once("/archive/ROOM/source/index.m3u8")))
    assert not faults
    assert playlist.type == "VOD"
    for segment in playlist.complete:
        media = on_air.at_once(f"/archive/ROOM/source/{segment.uri}")
        assert header(media, "etag") == f'"{segment.uri.removesuffix(".m4s")}"'
        assert media.status == 200
        assert on_air.at_once(f"/archive/ROOM/source/{segment.init}").status == 200


# -- media


async def test_media_never_changes_under_its_name(on_air: Asked) -> None:
    part = on_air.at_once("/live/ROOM/source/1.8.1.m4s")
    segment = on_air.at_once("/live/ROOM/audio/1.7.m4s")
    init = on_air.at_once("/live/ROOM/source/init.1.0.mp4")
    for answer, kind in ((part, "video/mp4"), (segment, "audio/mp4"), (init, "video/mp4")):
        assert answer.status == 200
        assert header(answer, "content-type") == kind
        assert header(answer, "cache-control") == "public, max-age=31536000, immutable"
        assert header(answer, "access-control-allow-origin") == "*"
    assert isinstance(part.body, tuple)
    assert header(part, "etag") == f'"{CID.of(b"".join(part.body))}"'


async def test_a_hinted_part_comes_as_soon_as_it_is_made(on_air: Asked) -> None:
    async with trio.open_nursery() as nursery:
        answers: list[Response] = []

        async def ask() -> None:
            answers.append(await on_air.get("/live/ROOM/source/1.8.2.m4s"))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert not answers
        on_air.room.run_gops(parts=3)
    assert answers[0].status == 200


@pytest.mark.parametrize("then", ["end_run", "end"])
async def test_a_part_hinted_after_the_last_segment_of_a_run_is_not_waited_for(then: str) -> None:
    room = StudioRoom(SCRIPT)
    room.begin_run()
    room.run_gops(3)
    asked = Asked(room)
    assert isinstance(asked.ask("/live/ROOM/source/1.3.0.m4s"), Wait)
    getattr(room, then)()
    assert asked.at_once("/live/ROOM/source/1.3.0.m4s").status == 404


@pytest.mark.parametrize("then", ["end_run", "end"])
async def test_a_hinted_part_that_will_never_be_is_not_found_at_once(
    on_air: Asked, then: str
) -> None:
    async with trio.open_nursery() as nursery:
        answers: list[Response] = []

        async def ask() -> None:
            answers.append(await on_air.get("/live/ROOM/source/1.8.2.m4s"))

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        getattr(on_air.room, then)()
        await trio.testing.wait_all_tasks_blocked()
        assert answers[0].status == 404


@pytest.mark.parametrize(
    "path",
    ["source/1.8.3.m4s", "source/1.9.0.m4s", "source/2.8.2.m4s", "source/1.8.m4s",
     "source/init.1.7.mp4", "source/init.2.0.mp4", "source/x", "none/index.m3u8", "source", "",
     "source/..", "../ROOM/x", "source/1.8.1.m4s/", "source//index.m3u8", "index.m3u8/x"],
)  # fmt: skip
def test_what_is_not_there_is_not_found_in_plain_words(on_air: Asked, path: str) -> None:
    answer = on_air.at_once(f"/live/ROOM/{path}")
    assert answer.status == 404
    assert code(answer) in ("not-found", "unknown-rendition")


# -- pictures


def test_poster_storyboard_and_sprites(on_air: Asked) -> None:
    assert on_air.at_once("/archive/ROOM/poster.jpg").status == 404
    assert on_air.at_once("/archive/ROOM/storyboard.vtt").status == 404
    room = on_air.room
    jpeg = b"\xff\xd8\xff poster"
    image = partial(ImageMade, run=0, run_ms=0, interval_ms=5000, rows=1, tile_width=160,
                    tile_height=90)  # fmt: skip
    room.images.add(image(use="poster", columns=1, tiles=1), jpeg, 0)
    sheet = room.images.add(image(use="storyboard", columns=3, tiles=3), jpeg + b"s", 0)
    room.blocks[sheet] = jpeg + b"s"
    poster = on_air.at_once("/archive/ROOM/poster.jpg")
    assert header(poster, "content-type") == "image/jpeg"
    assert header(poster, "cache-control") == "public, max-age=10"
    vtt = on_air.at_once("/archive/ROOM/storyboard.vtt")
    assert header(vtt, "content-type") == "text/vtt; charset=utf-8"
    name = text(vtt).splitlines()[3].partition("#")[0]
    sprite = on_air.at_once(f"/archive/ROOM/{name}")
    assert sprite.body == (jpeg + b"s",)
    assert on_air.at_once("/archive/ROOM/other.jpg").status == 404


# -- who may


def test_unknown_rooms_look_the_same_to_everyone_and_begin_nothing(on_air: Asked) -> None:
    stranger = {"origin": "https://evil.example", "sec_fetch_site": "cross-site"}
    for path in ("/live/k51nobody/index.m3u8", "/live/", "/live", "/archive/x/index.m3u8"):
        plain, crossed = on_air.at_once(path), on_air.at_once(path, **stranger)
        assert plain.status == crossed.status == 404
        assert code(plain) == code(crossed) == "unknown-room"
        assert header(crossed, "access-control-allow-origin") is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "none"},
        {"origin": "http://127.0.0.1:8080", "sec_fetch_site": "cross-site"},
        {"origin": "http://127.0.0.1:9999"},
        {},
    ],
)
async def test_rooms_that_may_be_gated_are_for_our_own_pages(headers: dict[str, str]) -> None:
    room = StudioRoom(SCRIPT, RoomId("5" * 44))
    room.begin_run()
    room.run_gops(2)
    asked = Asked(room)
    for path in ("/live/ROOM/index.m3u8", "/live/ROOM/source/index.m3u8",
                 "/live/ROOM/source/1.0.m4s", "/live/ROOM/source/1.2.0.m4s",
                 "/archive/ROOM/index.m3u8", "/archive/ROOM/poster.jpg"):  # fmt: skip
        answer = asked.at_once(path, **headers)
        assert (answer.status, code(answer)) == (403, "not-for-other-sites")
        assert header(answer, "access-control-allow-origin") is None
    ours = asked.at_once("/live/ROOM/source/index.m3u8", sec_fetch_site="same-origin")
    assert ours.status == 200
    assert header(ours, "access-control-allow-origin") is None
    assert header(ours, "cross-origin-resource-policy") == "same-origin"
    assert header(ours, "cache-control") == "private, no-store"
    ours = asked.at_once("/live/ROOM/source/1.0.m4s", origin="http://127.0.0.1:8080")
    assert header(ours, "cache-control") == "private, no-store"
    preflight = asked.at_once("/live/ROOM/index.m3u8", method="OPTIONS", **headers)
    assert header(preflight, "access-control-allow-origin") is None


async def test_no_answer_of_a_gated_room_may_be_kept_or_shared(on_air: Asked) -> None:
    room = on_air.room
    open_ = on_air.at_once("/live/ROOM/source/index.m3u8")
    part = on_air.at_once("/live/ROOM/source/1.7.0.m4s")
    assert header(part, "cache-control") == "public, max-age=31536000, immutable"
    room.gated = True  # what was rendered before is not given out now
    names = ("index.m3u8", "source/index.m3u8", "source/1.7.m4s", "source/init.1.0.mp4")
    for name in names:
        crossed = on_air.at_once(f"/live/ROOM/{name}", origin="https://evil.example")
        assert (crossed.status, code(crossed)) == (403, "not-for-other-sites")
        ours = await on_air.get(f"/live/ROOM/{name}", sec_fetch_site="same-origin")
        assert ours is not open_
        assert ours.status == 200
        assert header(ours, "cache-control") == "private, no-store"
        assert header(ours, "access-control-allow-origin") is None


async def test_who_has_no_key_is_told_why_and_gets_nothing_else(on_air: Asked) -> None:
    room, ours = on_air.room, {"sec_fetch_site": "same-origin"}
    room.gated = True
    room.refused = Withheld("no-ticket", "the wallet has no ticket", "buy one")
    for name in ("index.m3u8", "source/index.m3u8", "source/1.7.m4s", "source/1.7.0.m4s"):
        answer = on_air.at_once(f"/live/ROOM/{name}", **ours)
        assert (answer.status, code(answer)) == (403, "no-ticket")
        assert header(answer, "cache-control") == "no-store"
    room.refused = None

    async def open_() -> Withheld:
        return Withheld("broken", "it does not open")

    media = Media(CID.of(b"x"), "image/jpeg", 1, Sealed(open_))
    room.poster = lambda: media  # type: ignore[method-assign]  # a sealed one
    answer = await on_air.get("/archive/ROOM/poster.jpg", **ours)
    assert (answer.status, code(answer)) == (502, "broken")


def test_preflights_for_open_rooms_allow_reading_and_nothing_else(on_air: Asked) -> None:
    answer = on_air.at_once("/live/ROOM/source/index.m3u8", method="OPTIONS")
    assert answer.status == 204
    assert header(answer, "access-control-allow-methods") == "GET, HEAD"
    assert on_air.at_once("/live/ROOM/index.m3u8", method="POST").status == 405
    assert on_air.at_once("/ipfs/x", method="DELETE").status == 405


@pytest.mark.parametrize(
    "path",
    ["/api/v1/rooms", "/healthz", "/metrics", "/whip/x", "/livex", "/static/none",
     "/static/../x", "//live/x", "/static/a/b"],
)  # fmt: skip
def test_all_else_is_left_to_the_app(on_air: Asked, path: str) -> None:
    assert isinstance(on_air.ask(path), NotMine)


def test_rooms_of_sound_or_pictures_only_have_proper_playlists() -> None:
    for script, streams in (
        (Script(videos=(), gop_s=Fraction(2)), ["audio/index.m3u8"]),
        (Script(audio=False, videos=("source",)), ["source/index.m3u8"]),
    ):
        room = StudioRoom(script)
        room.begin_run()
        room.run_gops(3)
        answer = Asked(room).at_once("/live/ROOM/index.m3u8")
        found, faults = check_multivariant(text(answer))
        assert not faults
        assert [stream.uri for stream in found.streams] == streams
        assert not found.media


async def test_a_recording_that_nobody_was_found_to_have_is_said_to_be_sought(
    autojump_clock: trio.testing.MockClock,
) -> None:
    room = StudioRoom(SCRIPT)
    room.sought = True
    answer = await Asked(room).get("/archive/ROOM/index.m3u8")
    assert (answer.status, code(answer)) == (503, "recording-sought")
    assert header(answer, "retry-after") == "5"


async def test_where_only_the_directory_of_a_recording_is_named_players_are_sent_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    room = StudioRoom(SCRIPT)
    room.sought, room.recording = True, CID.of(b"a directory")
    asked = Asked(room)
    answer = await asked.get("/archive/ROOM/index.m3u8")
    assert (answer.status, header(answer, "location")) == (
        307,
        f"/ipfs/{room.recording}/index.m3u8",
    )
    through_a_proxy = await asked.get("/archive/ROOM/index.m3u8", x_forwarded_for="192.0.2.1")
    assert through_a_proxy.status == 503

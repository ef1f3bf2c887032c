"""The node's own page with hls.js in Chromium: live with little delay, through lost encoders and
changes of quality, and from the start."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from support.browser import Frame, Watching, watching
from support.node import Node, node
from support.publish import publishing
from support.pushing import push, until_frame
from support.rtmp import read_flv

from hausd.media.demo import Shape, write

# Minutes of real time. What is measured are the media's own time and numbers of frames, so that a
# busy machine, which shows frames late, does not look like a stream that stalls.
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.alone]

SETS = ("media.ladder=[[90,120000]]", "media.segment_seconds=2", "ingest.reconnect_s=6")
LATENCY_S = 3.0
RATE = 30
UNSEEN_S = 0.5
"""A picture that stands still for longer is a stall that people see."""
START = {"bufferSeekOverHole"}
"""What hls.js may report when it begins: sound and picture begin at different parts."""
AWAY = {"bufferStalledError"}
"""What hls.js may report while there is no encoder: the picture stands still."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of the test picture, 320x180."""
    path = tmp_path_factory.mktemp("browser") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(RATE), 2.0, 0, 700_000), seconds=20)
    return path


@pytest.fixture(scope="module")
def larger_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 s of the test picture, 480x270."""
    path = tmp_path_factory.mktemp("browser") / "larger.flv"
    write(str(path), Shape(480, 270, Fraction(RATE), 2.0, 0, 900_000), seconds=20)
    return path


def wait_for_gops(one: Node, room: str, count: int) -> None:
    """Waits until the live playlists have so many complete segments; the first two make a GOP."""
    one.wait_for(f"/live/{room}/index.m3u8")
    end = time.monotonic() + 30
    while one.get(f"/live/{room}/90p/index.m3u8").text.count("EXTINF") < count:
        assert time.monotonic() < end
        time.sleep(0.1)


def new_pictures(frames: Sequence[Frame]) -> list[Frame]:
    """The frames that go on in the media. While its decoder begins anew at a keyframe, Chromium
    may show one again."""
    found: list[Frame] = []
    for frame in frames:
        if not found or frame.media_s > found[-1].media_s:
            found.append(frame)
    return found


def longest_still_s(frames: Sequence[Frame]) -> float:
    """For how long the media's clock stood, at most. A frame that is shown late does not count:
    the clock went on."""
    return max(
        (now.now_s - before.now_s) - (now.media_s - before.media_s)
        for before, now in pairwise(new_pictures(frames))
    )


def longest_leap_s(frames: Sequence[Frame]) -> float:
    """How much of the media was left out between two pictures, at most."""
    return max(
        (now.media_s - before.media_s) - (now.now_s - before.now_s)
        for before, now in pairwise(new_pictures(frames))
    )


def said(seen: Watching) -> set[str]:
    """What hls.js reported, by its names."""
    return {str(fault["details"]) for fault in seen.faults}


def test_the_page_plays_live_with_little_delay_and_changes_quality_without_a_stall(
    tmp_path: Path, film: Path
) -> None:
    with node(tmp_path / "home", *SETS) as one, watching(width=800, height=600) as seen:
        room = one.room("A show")
        with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
            wait_for_gops(one, room["id"], 3)
            seen.page.goto(f"{one.http}/?room={room['id']}")
            seen.plays(2.0)
            assert seen.colours > 8, "there is a picture"
            seen.forget()
            total, start_s = seen.dropped[1], seen.at_s
            seen.watches(6)
            played_s, decoded = seen.at_s - start_s, seen.dropped[1] - total
            assert played_s > 4
            assert decoded > RATE * played_s * 0.9, "no frame is missing"
            assert seen.waits == 0
            assert longest_still_s(seen.frames) < UNSEEN_S
            assert longest_leap_s(seen.frames) < UNSEEN_S
            seen.until(lambda: 0 < seen.behind_s < LATENCY_S)
            for height in (90, 180):
                changes_quality(seen, height)
            seen.until(lambda: 0 < seen.behind_s < LATENCY_S)
            assert not said(seen)
        seen.require_quiet()


def changes_quality(seen: Watching, height: int) -> None:
    """Chooses a quality as viewers do, and sees to it that the picture never stands still."""
    options = seen.page.locator("#quality option").all_text_contents()
    place = next(at for at, text in enumerate(options) if text.startswith(f"{height}p"))
    seen.forget()
    seen.page.select_option("#quality", index=place)
    seen.until(lambda: seen.frames and seen.frames[-1].height == height)
    seen.watches(1)
    assert seen.waits == 0
    assert longest_still_s(seen.frames) < UNSEEN_S
    assert longest_leap_s(seen.frames) < UNSEEN_S


def test_a_slow_line_gets_the_small_quality_and_the_large_one_without_a_stall_when_it_is_faster(
    tmp_path: Path, film: Path
) -> None:
    with node(tmp_path / "home", *SETS) as one, watching(width=800, height=600) as seen:
        room = one.room("A show")
        with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
            wait_for_gops(one, room["id"], 3)
            seen.page.goto(one.http)
            seen.line_bps(700_000)
            seen.page.goto(f"{one.http}/?room={room['id']}")
            seen.plays(2.0)
            seen.until(lambda: seen.frames[-1].height == 90)
            seen.plays(1.0)
            seen.forget()
            seen.line_bps(None)
            # What was learnt of the slow line is forgotten: it would take hls.js half a minute.
            seen.hls("hls.bandwidthEstimate = 20_000_000")
            seen.until(lambda: seen.frames and seen.frames[-1].height == 180, 40)
            seen.watches(1)
            assert 180 in seen.switches, (
                "how often it changes its mind is the line's, here this machine's"
            )
            assert seen.waits == 0
            assert longest_still_s(seen.frames) < UNSEEN_S
        seen.require_quiet()


@pytest.mark.parametrize("returns", ["film", "larger_film"])
def test_the_page_goes_on_by_itself_when_the_encoder_returns_and_plays_what_was_recorded(
    tmp_path: Path, film: Path, returns: str, request: pytest.FixtureRequest
) -> None:
    second: Path = request.getfixturevalue(returns)
    with node(tmp_path / "home", *SETS) as one, watching(width=800, height=600) as seen:
        room = one.room("A show")
        page = f"{one.http}/?room={room['id']}"
        url = f"{one.rtmp}/{room['stream_key']}"
        # As with many an encoder that crashes, its sound ends a frame before its picture.
        cut_short = until_frame(read_flv(film.read_bytes()), 273)
        with ThreadPoolExecutor(1) as pool:
            gone = pool.submit(push, url, cut_short, says_goodbye=False)
            wait_for_gops(one, room["id"], 3)
            seen.page.goto(page)
            seen.plays(2.0)
            gone.result(30)
        one.wait_state(room["id"], "waiting")
        seen.until(lambda: seen.text("badge") == "Reconnecting")
        assert said(seen) <= START | AWAY
        seen.forget()
        with publishing(second, url):
            one.wait_state(room["id"], "live")
            seen.plays(2.0)
            seen.until(lambda: seen.text("badge") == "Live")
            seen.until(lambda: seen.text("curtain") == "")
            seen.until(lambda: 0 < seen.behind_s < LATENCY_S)
            assert seen.waits == 0, "once it plays again, it plays on"
            assert longest_still_s(seen.frames[1:]) < UNSEEN_S
            assert said(seen) == set()
            assert seen.hls("seen.players.length") == 1, "the player was not begun anew"
            seen.plays(6.0)  # so that all of the encoder's first stay is far from the live edge
            plays_from_the_start(seen, finished=False)
        one.ctl("rooms", "close", room["id"])
        seen.page.goto(page)
        seen.until(lambda: seen.text("badge") == "Recorded")
        plays_from_the_start(seen, finished=True)
        seen.require_quiet()


def plays_from_the_start(seen: Watching, *, finished: bool) -> None:
    seen.page.click("#watch-start")
    seen.until(lambda: seen.frames and seen.at_s > 0)
    seen.forget()
    seen.plays(1.0)
    assert seen.frames[0].media_s < 1.5, "it begins at the beginning"
    seen.page.evaluate("document.querySelector('video').currentTime = 5")
    seen.until(lambda: 5.5 < seen.at_s < 8)
    if finished:
        seen.page.evaluate(
            "(video => { video.currentTime = video.duration - 1.5; })"
            "(document.querySelector('video'))"
        )
        seen.until(lambda: seen.page.evaluate("document.querySelector('video').ended"))
        assert seen.text("curtain") == "This stream has ended."
    assert not [fault for fault in seen.faults if fault["fatal"]]


@pytest.mark.parametrize("opens", ["before", "at once"])
def test_viewers_who_are_there_when_the_stream_begins_get_the_best_quality_too(
    tmp_path: Path, film: Path, opens: str
) -> None:
    with node(tmp_path / "home", *SETS) as one, watching(width=800, height=600) as seen:
        room = one.room("A show")
        seen.page.goto(f"{one.http}/?room={room['id']}")
        with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
            one.wait_state(room["id"], "live")
            if opens == "at once":
                seen.page.reload()
            seen.plays(4.0)
            assert said(seen) <= START
            assert {frame.height for frame in seen.frames} == {180}
            assert longest_still_s(seen.frames[1:]) < UNSEEN_S
            seen.until(lambda: 0 < seen.behind_s < LATENCY_S)
        seen.require_quiet()

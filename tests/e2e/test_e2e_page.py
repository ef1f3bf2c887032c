"""The page at / plays a room in Chromium, through an encoder that drops out and comes back."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from support.content import OTHER_ROOM
from support.node import node
from support.publish import publishing

pytestmark = pytest.mark.e2e

CHROMIUM = shutil.which("chromium") or "chromium"


@dataclass
class Browser:
    """A page, and everything it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def text(self, element: str) -> str:
        return str(self.page.evaluate(f"document.getElementById('{element}').textContent"))

    def at_s(self) -> float:
        return float(self.page.evaluate("document.querySelector('video').currentTime"))

    def until(self, what: Callable[[], Any], seconds: float = 40.0) -> Any:
        """Waits until something holds."""
        end = time.monotonic() + seconds
        while True:
            found = what()
            if found:
                return found
            assert time.monotonic() < end, (self.complaints, self.text("curtain"))
            self.page.wait_for_timeout(100)

    def plays(self, seconds: float = 40.0) -> None:
        """Waits until the picture moves on by more than a second."""
        start = self.at_s()
        self.until(lambda: self.at_s() > start + 1, seconds)


@contextmanager
def browser() -> Iterator[Browser]:
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = chromium.new_page()
        found = Browser(page)
        page.on("pageerror", lambda fault: found.complaints.append(f"error: {fault}"))
        page.on(
            "console",
            lambda said: said.type == "error" and found.complaints.append(f"console: {said.text}"),
        )
        yield found
        chromium.close()


def test_a_room_plays_live_from_the_start_and_after_a_reconnect(
    tmp_path: Path, looped_h264: Path
) -> None:
    sets = ("media.ladder=[[90, 150000]]", "ingest.reconnect_s=20")
    with node(tmp_path / "home", *sets) as one, browser() as seen:
        seen.page.goto(one.http)
        seen.until(lambda: seen.page.locator("#empty").is_visible())
        room = one.room("A <b>bold</b> show")
        url = f"{one.rtmp}/{room['stream_key']}"
        with publishing(looped_h264, url):
            seen.until(lambda: seen.page.locator(".badge.live").count() == 1)
            assert seen.page.locator(".card strong", has_text="A <b>bold</b> show").count() == 1
            seen.page.locator(".card", has_text="bold").click()
            seen.plays()
            assert seen.text("title") == "A <b>bold</b> show"
            seen.until(lambda: seen.text("latency").endswith("behind"))
            seen.until(lambda: seen.page.locator("#quality option").count() == 3)
            seen.until(lambda: not seen.page.locator("#watch-start").is_disabled())
            seen.page.click("#watch-start")
            seen.plays()
            assert seen.page.evaluate("document.querySelector('video').seekable.start(0)") == 0
            seen.page.click("#watch-live")
            seen.plays()
        seen.until(lambda: seen.text("badge") == "Reconnecting")
        with publishing(looped_h264, url):
            seen.until(lambda: seen.text("badge") == "Live")
            seen.plays()
    assert seen.complaints == []


@contextmanager
def other_site(folder: Path) -> Iterator[str]:
    """Another origin on this machine, with an empty page."""
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>elsewhere</title>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


ASK = """async ([url, options]) => {
  try {
    const answer = await fetch(url, options);
    return [answer.status, (await answer.text()).length];
  } catch { return [0, 0]; }
}"""


def test_a_page_of_another_site_can_play_an_open_room_and_read_nothing_else(
    tmp_path: Path, looped_h264: Path
) -> None:
    with (
        node(tmp_path / "home", "media.ladder=[]") as one,
        browser() as seen,
        other_site(tmp_path / "site") as site,
    ):
        room = one.room()

        def fetch(path: str, **options: Any) -> list[int]:
            answer: list[int] = seen.page.evaluate(ASK, [one.http + path, options])
            return answer

        with publishing(looped_h264, f"{one.rtmp}/{room['stream_key']}"):
            playlist = f"/live/{room['id']}/source/index.m3u8"
            one.wait_for(f"/live/{room['id']}/index.m3u8")
            seen.page.goto(site)
            assert fetch(playlist)[0] == 200
            named = re.search('URI="([^"]+m4s)"', one.get(playlist).text)
            assert named is not None
            part = f"/live/{room['id']}/source/{named[1]}"
            assert fetch(part, headers={"Range": "bytes=0-9"}) == [206, 10]
            cid = one.get(part).headers["etag"].strip('"')
            assert one.get(f"/ipfs/{cid}?format=raw").status_code in (200, 404)
            for path in ("/", "/api/v1/rooms", "/live/k51nobody/index.m3u8", f"/ipfs/{cid}"):
                assert fetch(path) == [0, 0], path
            assert fetch(part, method="POST") == [0, 0]


def test_the_page_joins_another_nodes_room_but_asks_first_where_another_site_led_to_it(
    tmp_path: Path, looped_h264: Path
) -> None:
    with (
        other_site(tmp_path / "site") as site,
        node(tmp_path / "origin", "media.ladder=[]") as origin,
        node(tmp_path / "viewer", "media.ladder=[]") as viewer,
        browser() as seen,
    ):
        room = origin.room("Saturday at the Haus")
        viewer.ctl("peers", "connect", origin.words["peer"])
        page = f"{viewer.http}/?room={room['id']}"
        with publishing(looped_h264, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(room["id"], "live")
            seen.page.goto(site)
            seen.page.evaluate("place => { location = place; }", page)
            seen.page.wait_for_selector("#join-yes", state="visible")
            seen.page.wait_for_timeout(1500)
            assert room["id"] not in [one["id"] for one in viewer.ctl("rooms", "list")]
            seen.page.click("#join-yes")
            seen.plays()
            seen.until(lambda: seen.text("title") == room["title"])
        viewer.ctl("rooms", "unfollow", room["id"])
        seen.page.goto(f"{viewer.http}/?room={OTHER_ROOM}")
        seen.until(lambda: "No node that this one is connected with" in seen.text("fault"))

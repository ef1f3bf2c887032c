"""What the page at / says and does when something is amiss, in Chromium. It is the page that is
shipped, at a node whose answers each test writes, by the browser's clock where it waits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route
from support.browser import Watching, watching
from support.content import OTHER_ROOM as ROOM

from hausd.http.messages import Request
from hausd.http.pages import Pages

pytestmark = pytest.mark.e2e

NODE = "http://localhost:8080"
SHOWN = f"/api/v1/rooms/{ROOM}"
LIVE = f"/live/{ROOM}/index.m3u8"
RECORDED = f"/archive/{ROOM}/index.m3u8"
PLAYER = "/static/hls.min.js"
SILENCE = None
TOUCHED = """(id) => {
  window.touched = 0;
  const count = (changes) => { touched += changes.length; };
  new MutationObserver(count).observe(document.getElementById(id), {childList: true});
}"""
"""Counts how often a region that is read aloud is written anew."""
TAKEN = """([place, key]) => !document.querySelector(place).dispatchEvent(
  new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}))"""
"""Whether the page takes a key away from what has the focus."""

Said = tuple[int, Any] | None


def refused(status: int, code: str, message: str, hint: str = "") -> Said:
    return status, {"error": {"code": code, "message": message, "hint": hint}}


def room(state: str, *, segments: int = 0, **more: Any) -> Said:
    return 200, shape(ROOM, state, segments=segments, **more)


def shape(name: str, state: str, *, segments: int = 0, **more: Any) -> dict[str, Any]:
    recording = {"segments": segments, "duration_s": 2.0 * segments, "bytes": 1, "missing": 0}
    known = {"id": name, "title": f"Show {name}", "state": state, "gated": False, "viewers": 0}
    return {**known, "recording": recording, **more}


@dataclass
class Stage:
    """The page, and what it is answered. ``says``: by path, or by path and query."""

    seen: Watching
    says: dict[str, Said] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    files: Pages = field(default_factory=Pages)

    @property
    def page(self) -> Page:
        return self.seen.page

    def opens(self, path: str = f"/?room={ROOM}") -> None:
        self.page.goto(NODE + path)

    def text(self, element: str) -> str:
        return " ".join(self.seen.text(element).split())

    def is_shown(self, element: str) -> bool:
        return self.page.locator(f"#{element}").is_visible()

    def later(self, seconds: float) -> None:
        """The page's clock goes on; what it does then is done."""
        self.page.clock.fast_forward(int(seconds * 1000))
        self.seen.watches(0.15)

    def comes_to(self, element: str, words: str) -> None:
        """Waits, by the page's clock, until an element has these words."""
        for _ in range(60):
            if words in self.text(element):
                return
            self.later(1)
        raise AssertionError((self.text(element), self.seen.complaints))

    def asks(self, path: str, times: int = 1) -> None:
        """Waits, by the page's clock, until the page has asked so many times more."""
        before = self.asked[path]
        for _ in range(60):
            if self.asked[path] >= before + times:
                return
            self.later(1)
        raise AssertionError((path, self.asked))

    def answer(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        whole = f"{url.path}?{url.query}"
        self.asked[url.path] += 1
        headers = {"accept-encoding": ""}
        request = Request("GET", url.path, "", headers, "1.1", False, "127.0.0.1", "localhost")
        found = self.files.find(request)
        if url.path not in self.says and found is not None and isinstance(found.body, tuple):
            told = {name.decode(): value.decode() for name, value in found.headers}
            route.fulfill(status=200, headers=told, body=b"".join(found.body))
            return
        missing = refused(404, "no-such-room", "No such room on this node.")
        said = self.says.get(whole, self.says.get(url.path, missing))
        if said is None:
            route.abort("connectionrefused")
            return
        status, content = said
        told = {"content-type": "application/json"}
        route.fulfill(status=status, headers=told, body=json.dumps(content))


@pytest.fixture
def stage() -> Iterator[Stage]:
    with watching(allowed=("Failed to load resource", "failed: ")) as seen:
        found = Stage(seen)
        found.says["/api/v1/status"] = 200, {"rooms_live": 1, "viewers": 0, "version": "1.2.3"}
        seen.page.clock.install()
        seen.page.route("**/*", found.answer)
        yield found


def test_a_stream_that_is_about_to_begin_is_waited_for_without_a_door(stage: Stage) -> None:
    stage.says[SHOWN] = room("live", gated=True)
    stage.says[LIVE] = refused(503, "not-begun", "The stream is about to begin.")
    stage.opens()
    stage.comes_to("curtain", "The stream is about to begin. Trying again…")
    stage.asks(LIVE, 2)
    assert stage.is_shown("video")
    assert not stage.is_shown("entry")
    stage.says[LIVE] = refused(403, "not-yet", "the delegation has not begun")
    stage.comes_to("entry-title", "Your node may not watch")
    assert not stage.is_shown("video")
    stage.seen.require_quiet()


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "unknown-room"), (404, "nobody-has-it"), (503, "too-many-rooms")],
)
def test_why_a_room_of_another_node_is_not_to_be_had_is_said_in_the_nodes_words(
    stage: Stage, status: int, code: str
) -> None:
    stage.says[LIVE] = refused(status, code, "So it is.", "Do this.")
    stage.opens()
    stage.comes_to("fault", "So it is. Do this.")
    assert not stage.is_shown("join")
    stage.page.evaluate(
        """(join) => { window.turns = 0; new MutationObserver(() => { turns += !join.hidden; })
          .observe(join, {attributeFilter: ['hidden']}); }""",
        stage.page.query_selector("#join"),
    )
    stage.asks(LIVE, 2)
    assert stage.text("fault") == "So it is. Do this."
    assert not stage.is_shown("join")
    assert stage.page.evaluate("turns") == 0, "it is not read aloud at each try"
    stage.says[SHOWN] = room("created")
    stage.comes_to("badge", "Not live yet")
    assert not stage.is_shown("fault")


def test_a_room_that_is_looked_for_is_looked_for_without_a_fault(stage: Stage) -> None:
    stage.says[LIVE] = refused(503, "still-looking", "The room is being looked for.")
    stage.opens()
    stage.asks(LIVE, 2)
    assert stage.is_shown("join-wait")
    assert not stage.is_shown("fault")
    stage.says[SHOWN] = room("created")
    stage.comes_to("badge", "Not live yet")
    assert not stage.is_shown("join")


def test_keys_are_the_players_only_while_it_is_shown_and_nothing_else_takes_them(
    stage: Stage,
) -> None:
    def taken(place: str, key: str) -> bool:
        return bool(stage.page.evaluate(TAKEN, [place, key]))

    stage.says[SHOWN] = room("created", gated=True)
    stage.opens()
    stage.comes_to("badge", "Not live yet")
    assert taken("body", " ")
    assert taken("body", "ArrowLeft")
    assert not taken("#text", "ArrowLeft"), "the caret's key, in a text to sign"
    stage.says[LIVE] = refused(403, "no-ticket", "no ticket")
    stage.opens()
    stage.comes_to("entry-title", "No ticket")
    assert not taken("body", " "), "the key that scrolls"


def test_regions_that_are_read_aloud_are_written_only_where_words_change(stage: Stage) -> None:
    stage.says[SHOWN] = room("created")
    stage.opens()
    stage.comes_to("curtain", "Waiting for the stream to begin…")
    stage.page.evaluate(TOUCHED, "curtain")
    stage.asks(SHOWN, 3)
    assert stage.page.evaluate("touched") == 0
    stage.says[SHOWN] = SILENCE
    stage.comes_to("fault", "The node does not answer. Trying again…")
    stage.page.evaluate(TOUCHED, "fault")
    stage.asks(SHOWN, 3)
    assert stage.page.evaluate("touched") == 0


def test_a_button_that_copies_says_aloud_what_it_shows(stage: Stage) -> None:
    stage.says[SHOWN] = room("created")
    stage.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    stage.opens()
    stage.comes_to("badge", "Not live yet")
    button = stage.page.locator("#links button").first
    assert button.get_attribute("aria-label") == "Copy This page"
    button.click()
    stage.page.get_by_role("button", name="Copied: This page").wait_for()
    stage.later(2)
    stage.page.get_by_role("button", name="Copy This page").wait_for()


def test_what_does_not_play_is_said_in_the_nodes_words_and_at_last_what_to_press(
    stage: Stage,
) -> None:
    stage.says[SHOWN] = room("ended", segments=3)
    stage.says[RECORDED] = refused(503, "recording-sought", "The recording is looked for")
    stage.opens()
    stage.comes_to("curtain", "The recording is looked for. Trying again…")
    stage.comes_to("curtain", "The recording is looked for. This page has stopped trying.")
    assert "Press “From the start” to try again." in stage.text("curtain")
    tried = stage.asked[RECORDED]
    stage.later(30)
    assert stage.asked[RECORDED] == tried
    stage.page.click("#watch-start")
    stage.asks(RECORDED)


def test_a_recording_that_only_others_have_is_asked_for(stage: Stage) -> None:
    known = {"segments": 0, "duration_s": 0, "bytes": 0, "missing": 0, "sought": "bafy"}
    stage.says[SHOWN] = room("closed", recording=known)
    stage.says[RECORDED] = refused(503, "recording-sought", "The recording is looked for")
    stage.opens()
    stage.comes_to("curtain", "The recording is looked for. Trying again…")


def test_a_mistake_of_the_page_is_not_blamed_on_the_node(stage: Stage) -> None:
    stage.says[SHOWN] = room("live", free={"rendition": "90p"})
    stage.opens()
    stage.comes_to("fault", "This page has failed.")
    assert any("TypeError" in said for said in stage.seen.complaints)
    stage.says[SHOWN] = refused(500, "internal", "The node failed at this.")
    stage.comes_to("fault", "The node failed at this.")


def test_a_node_that_goes_away_while_the_room_is_asked_for_is_said_to_be_away(
    stage: Stage,
) -> None:
    stage.says[LIVE] = SILENCE
    stage.opens()
    stage.comes_to("fault", "The node does not answer. Trying again…")
    stage.says[SHOWN] = room("live", gated=True)
    stage.asks(LIVE, 1)
    assert stage.text("fault") == "The node does not answer. Trying again…"


def test_a_player_that_did_not_load_is_loaded_again(stage: Stage) -> None:
    stage.says[SHOWN] = room("live")
    stage.says[LIVE] = refused(503, "not-begun", "The stream is about to begin.")
    stage.says[PLAYER] = SILENCE
    stage.opens()
    stage.comes_to("curtain", "The player could not be loaded. Trying again…")
    del stage.says[PLAYER]
    stage.comes_to("curtain", "The stream is about to begin. Trying again…")
    assert stage.page.locator(f'script[src="{PLAYER}"]').count() == 1


def test_the_focus_is_seen_on_the_video(stage: Stage) -> None:
    stage.says[SHOWN] = room("created")
    stage.opens()
    stage.comes_to("badge", "Not live yet")
    for _ in range(9):
        stage.page.keyboard.press("Tab")
        if stage.page.evaluate("document.activeElement.id") == "video":
            break
    style = "(({outlineStyle: s, outlineOffset: o}) => [s, parseFloat(o)])"
    drawn, offset = stage.page.evaluate(f"{style}(getComputedStyle(document.activeElement))")
    assert stage.page.evaluate("document.activeElement.id") == "video"
    assert drawn == "solid"
    assert offset < 0, "what is outside of the stage is cut off"


def test_the_list_has_what_is_on_air_however_old_and_the_head_goes_along(stage: Stage) -> None:
    newest = [shape(f"k{n}", "ended", segments=n % 2) for n in range(200)]
    old = shape("k999", "live", viewers=7)
    stage.says["/api/v1/rooms"] = 200, newest
    stage.says["/api/v1/rooms?limit=200&state=live&state=waiting"] = 200, [old]
    stage.opens("/")
    stage.comes_to("node", "1 live · 0 watching")
    stage.seen.until(lambda: stage.page.locator(".card").count() == 201)
    assert stage.page.locator(".card strong").first.inner_text() == "Show k999"
    assert "newest 200 rooms" in stage.text("more")
    assert stage.is_shown("more")
    badges = stage.page.locator(".card .badge").all_inner_texts()[1:]
    assert {each.upper() for each in badges[0::2]} == {"ENDED"}, "nothing was recorded"
    assert {each.upper() for each in badges[1::2]} == {"RECORDED"}
    stage.says["/api/v1/status"] = 200, {"rooms_live": 2, "viewers": 9, "version": "1.2.3"}
    stage.says["/api/v1/rooms"] = 200, [shape("k1", "ended")]
    stage.comes_to("node", "2 live · 9 watching")
    stage.seen.until(lambda: stage.page.locator(".card").count() == 1)
    assert not stage.is_shown("more")
    stage.seen.require_quiet()

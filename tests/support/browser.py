"""The node's own page in Chromium, watched closely: what hls.js does, each frame that is shown,
and everything that the page complains of.

Nothing in the page is changed but for ``window.Hls``, whose instances are remembered.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, ConsoleMessage, Page, sync_playwright

_CHROMIUM = shutil.which("chromium") or "chromium"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--autoplay-policy=no-user-gesture-required",
)

_WATCH = """
window.seen = {players: [], faults: [], switches: [], violations: [], frames: [], waits: []};
document.addEventListener('securitypolicyviolation',
  (event) => seen.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
let original;
Object.defineProperty(window, 'Hls', {
  configurable: true,
  get: () => original,
  set: (Hls) => {
    original = class extends Hls {
      constructor(config) {
        super(config);
        seen.players.push(this);
        this.on(Hls.Events.ERROR, (_, fault) =>
          seen.faults.push({details: fault.details, fatal: fault.fatal, at: performance.now(),
            why: String(fault.error ?? fault.reason ?? '')}));
        this.on(Hls.Events.LEVEL_SWITCHED, (_, {level}) =>
          seen.switches.push({height: this.levels[level].height, at: performance.now()}));
      }
    };
  },
});
addEventListener('DOMContentLoaded', () => {
  const video = document.querySelector('video');
  video.addEventListener('waiting', () => seen.waits.push(performance.now()));
  const shown = (now, {mediaTime, height, presentedFrames}) => {
    seen.frames.push({now, mediaTime, height, presentedFrames});
    if (seen.frames.length > 20000) seen.frames.splice(0, 10000);
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
});
"""

_PIXELS = """() => {
  const video = document.querySelector('video');
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  for (let at = 0; at < data.length; at += 4 * 97) {
    colours.add(`${data[at] >> 4} ${data[at + 1] >> 4} ${data[at + 2] >> 4}`);
  }
  return colours.size;
}"""


@dataclass(frozen=True)
class Frame:
    """A frame that was shown: when (seconds, the page's clock), its time in the media, and the
    height of its picture. ``count`` is of all that were presented."""

    now_s: float
    media_s: float
    height: int
    count: int


@dataclass
class Watching:
    """A page with a video."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    allowed: tuple[str, ...] = ()
    """Words of complaints that are no fault."""
    _developer: CDPSession | None = None

    # -- what is shown --

    @property
    def at_s(self) -> float:
        """The video's current time."""
        return float(self.page.evaluate("document.querySelector('video').currentTime"))

    @property
    def colours(self) -> int:
        """How many colours the picture has, roughly: 1 is a blank screen."""
        return int(self.page.evaluate(_PIXELS))

    @property
    def frames(self) -> list[Frame]:
        """The frames that were shown since ``forget`` (each that the page was told of)."""
        found = self.page.evaluate("seen.frames")
        return [
            Frame(f["now"] / 1000, f["mediaTime"], f["height"], f["presentedFrames"]) for f in found
        ]

    @property
    def dropped(self) -> tuple[int, int]:
        """Frames that came too late to be shown, and all."""
        found = self.page.evaluate(
            "(({droppedVideoFrames: d, totalVideoFrames: t}) => [d, t])"
            "(document.querySelector('video').getVideoPlaybackQuality())"
        )
        return int(found[0]), int(found[1])

    @property
    def waits(self) -> int:
        """How often the picture stood still for want of data since ``forget``."""
        return int(self.page.evaluate("seen.waits.length"))

    @property
    def switches(self) -> list[int]:
        """Heights of the levels that were switched to since ``forget``."""
        return [int(one["height"]) for one in self.page.evaluate("seen.switches")]

    @property
    def faults(self) -> list[dict[str, Any]]:
        """What hls.js reported since ``forget``; most of it is not fatal."""
        found: list[dict[str, Any]] = self.page.evaluate("seen.faults")
        return found

    def forget(self) -> None:
        """What was seen so far counts no more."""
        self.page.evaluate(
            "for (const each of ['frames', 'waits', 'switches', 'faults']) seen[each].length = 0"
        )

    def hls(self, expression: str) -> Any:
        """Evaluates an expression on ``hls``, the newest hls.js instance."""
        return self.page.evaluate(f"((hls) => {expression})(seen.players.at(-1))")

    @property
    def behind_s(self) -> float:
        """Live latency, by the dates in the playlist."""
        return float(self.hls("(Date.now() - hls.playingDate.getTime()) / 1000"))

    def line_bps(self, bps: int | None) -> None:
        """Makes the line so slow (bits a second) from now on; None: as fast as it is."""
        if self._developer is None:
            self._developer = self.page.context.new_cdp_session(self.page)
            self._developer.send("Network.enable")
        speed = -1 if bps is None else bps / 8
        self._developer.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": 0,
                "downloadThroughput": speed,
                "uploadThroughput": speed,
            },
        )

    def text(self, element: str) -> str:
        return str(self.page.evaluate(f"document.getElementById('{element}').textContent"))

    # -- waiting --

    def until(self, what: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Waits until something holds, and gives it."""
        end = time.monotonic() + seconds
        while True:
            found = what()
            if found:
                return found
            assert time.monotonic() < end, self.state()
            self.page.wait_for_timeout(50)

    def plays(self, by_s: float = 1.0, seconds: float = 30.0) -> None:
        """Waits until pictures are shown, and then until they have moved on by so much."""
        known = len(self.frames)
        self.until(lambda: len(self.frames) > known, seconds)
        start = self.at_s
        self.until(lambda: start + by_s < self.at_s < start + 3600, seconds)

    def watches(self, seconds: float) -> None:
        """Lets so much real time pass."""
        self.page.wait_for_timeout(seconds * 1000)

    def state(self) -> str:
        """What there is to say when something does not happen."""
        return str(
            self.page.evaluate(
                """() => {
                  const video = document.querySelector('video');
                  const buffered = [];
                  for (let at = 0; at < video.buffered.length; at += 1) {
                    buffered.push([video.buffered.start(at), video.buffered.end(at)]);
                  }
                  const curtain = document.getElementById('curtain')?.textContent;
                  return JSON.stringify({at: video.currentTime, ready: video.readyState,
                    paused: video.paused, ended: video.ended, buffered, curtain,
                    faults: seen.faults.slice(-8), players: seen.players.length});
                }"""
            )
        )

    def require_quiet(self) -> None:
        """Raises AssertionError where the page had anything to complain of."""
        violations = self.page.evaluate("seen.violations")
        said = [c for c in self.complaints if not any(word in c for word in self.allowed)]
        assert (said, violations) == ([], [])


@contextmanager
def watching(
    *, width: int = 1280, height: int = 800, allowed: tuple[str, ...] = ()
) -> Iterator[Watching]:
    """A page that is watched; console errors with one of the ``allowed`` words are no fault."""
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=_CHROMIUM, args=list(_ARGUMENTS))
        try:
            page = chromium.new_page(viewport={"width": width, "height": height})
            found = Watching(page, allowed=allowed)
            page.add_init_script(_WATCH)

            def said(message: ConsoleMessage) -> None:
                if message.type in ("error", "warning"):
                    found.complaints.append(f"console {message.type}: {message.text}")

            page.on("console", said)
            page.on("pageerror", lambda fault: found.complaints.append(f"error: {fault}"))
            page.on(
                "requestfailed",
                lambda failed: (
                    failed.failure != "net::ERR_ABORTED"
                    and found.complaints.append(f"failed: {failed.url} {failed.failure}")
                ),
            )
            yield found
        finally:
            chromium.close()


def save_screenshot(page: Page, path: Path) -> None:
    """Writes what is seen as PNG."""
    page.screenshot(path=str(path), animations="disabled")

"""An event's recording that nobody but a Kubo node has is played from the chain alone."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from support.ipfs import kubo_program
from support.kubo_daemon import KuboDaemon, kubo_daemon
from support.node import Node, until
from support.playback import Played, take
from support.publish import publishing
from support.whole import PAGE, account, frames_of, has_ended, shown, whole_chain, written

from hausd.media.demo import Shape, write

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.flv"
    write(str(path), Shape(320, 180, Fraction(30), 1.0, 0, 300_000), seconds=60)
    return path


@pytest.fixture
def kubo(tmp_path: Path) -> Iterator[KuboDaemon]:
    program = kubo_program()
    assert program.exists(), "scripts/interop-tools builds it"
    with kubo_daemon(program, tmp_path / "kubo") as running:
        yield running


def pinned(kubo: KuboDaemon, cid: str, *, at: Node) -> None:
    """Kubo fetches all of it from a node, and keeps it."""
    kubo.run("swarm", "connect", at.words["peer"])
    kubo.run("pin", "add", "--recursive", cid)
    kubo.run("routing", "provide", cid)


def test_a_manifest_that_kubo_pins_is_found_and_played(
    film: Path, tmp_path: Path, kubo: KuboDaemon
) -> None:
    with whole_chain(tmp_path) as whole:
        kubo.run("swarm", "connect", whole.haven.words["peer"])
        origin = whole.node("origin", "ingest.reconnect_s=60")
        made = whole.event(origin)
        event = made["id"]
        with publishing(film, f"{origin.rtmp}/{made['stream_key']}"):
            until(lambda: (written(origin, event) or {}).get("n", 0) >= 5)
        manifest = until(lambda: _at_rest(origin, event))
        pinned(kubo, manifest, at=origin)
        ours = take(origin, event, "archive", PAGE)
        origin.kill()
        whole.by_artist("end", event)
        late = whole.node("late")
        late.ctl("rooms", "follow", event)
        until(lambda: has_ended(late, event), 60)
        theirs = take(late, event, "archive", PAGE)
        numbers = Played.of(theirs["source"]).numbers
        assert len(numbers) >= 60
        assert numbers == list(range(numbers[0] or 0, (numbers[0] or 0) + len(numbers)))
        for name, taken in theirs.items():
            mine = {one.uri: ours[name].media[one.msn] for one in ours[name].segments}
            assert {one.uri: taken.media[one.msn] for one in taken.segments}.items() <= mine.items()


def _at_rest(one: Node, room: str) -> str | None:
    """The manifest on chain, while the encoder is gone and all but the last is told."""
    there = shown(one, room)
    event = there["event"]
    waits = there["state"] == "waiting" and event["behind"] < 2
    return str(event["checkpoint"]["manifest"]) if waits else None


def test_a_directory_that_kubo_pins_is_found_and_played(
    film: Path, tmp_path: Path, kubo: KuboDaemon
) -> None:
    with whole_chain(tmp_path) as whole:
        kubo.run("swarm", "connect", whole.haven.words["peer"])
        origin = whole.node("origin")
        made = whole.event(origin)
        event = made["id"]
        with publishing(film, f"{origin.rtmp}/{made['stream_key']}"):
            until(lambda: shown(origin, event)["recording"]["segments"] >= 3)
        whole.by_artist("end", event)
        recording = until(lambda: account(whole, event)["recording"])
        pinned(kubo, recording, at=origin)
        frames = frames_of(f"{origin.http}/archive/{event}/index.m3u8")
        origin.kill()
        late = whole.node("late")
        late.ctl("rooms", "follow", event)
        until(lambda: late.get(f"/archive/{event}/index.m3u8", headers=PAGE).is_redirect, 60)
        assert frames_of(f"{late.http}/archive/{event}/index.m3u8") == frames
        assert shown(late, event)["recording"]["sought"]

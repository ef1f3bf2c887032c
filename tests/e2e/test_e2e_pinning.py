"""A room that ends is pinned at the configured services by itself; hausctl shows and steers it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import trio
from support.node import Node, node
from support.pinsvc import TOKEN, Service, pinning_service
from support.publish import publishing

from hausd.media.demo import Shape, write

pytestmark = pytest.mark.e2e

SETS = ("media.ladder=[]", "media.segment_seconds=4", "ingest.reconnect_s=1")


def until(holds: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What ``holds`` gives, as soon as that is true."""
    end_s = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.1)
    return found


@contextmanager
def service_in_a_thread() -> Iterator[Service]:
    import threading

    ready = threading.Event()
    found: list[tuple[Service, trio.lowlevel.TrioToken, trio.Event]] = []

    async def run() -> None:
        async with pinning_service() as service:
            stop = trio.Event()
            found.append((service, trio.lowlevel.current_trio_token(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=trio.run, args=(run,))
    thread.start()
    assert ready.wait(10)
    service, token, stop = found[0]
    try:
        yield service
    finally:
        token.run_sync_soon(stop.set)
        thread.join()


def stream(one: Node, film: Path, seconds: float) -> str:
    """A new room that has ended by itself, after the time in which an encoder may return."""
    room = one.room("Saturday")
    with publishing(film, f"{one.rtmp}/{room['stream_key']}"):
        one.wait_state(room["id"], "live")
        time.sleep(seconds)
    one.wait_state(room["id"], "ended")
    return str(room["id"])


def elsewhere(one: Node, room: str) -> dict[str, Any]:
    """What is pinned elsewhere of a room, by place."""
    return {
        each["to"]: each
        for pin in one.ctl("pins", "list")
        if pin["target"] == room
        for each in pin["remote"]
    }


def test_an_ended_room_is_pinned_and_stays_removed_where_it_was_removed(tmp_path: Path) -> None:
    film = tmp_path / "film.flv"
    write(str(film), Shape(320, 180, Fraction(30), 2.0, 0, 300_000), seconds=20)
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "token").chmod(0o600)
    with service_in_a_thread() as service:
        services = [
            f'{{name="good", endpoint="{service.endpoint}", token="{tmp_path}/token"}}',
            f'{{name="away", endpoint="http://127.0.0.1:9/", token="{tmp_path}/token"}}',
        ]
        sets = (*SETS, f"ipfs.pinning=[{', '.join(services)}]")
        with node(tmp_path / "home", *sets) as one:
            unfinished = one.room("Nothing yet")["id"]
            said = one.ctl("pins", "push", unfinished, code=1)["error"]
            assert said["code"] == "not-finished"
            room = stream(one, film, 7)
            root = one.ctl("rooms", "export", room)["cid"]
            until(lambda: elsewhere(one, room).get("good", {}).get("state") == "pinned")
            assert service.held() == {root}
            (held,) = service.pins.values()
            assert held["pin"]["name"] == "Saturday"
            assert held["pin"]["origins"] == [one.words["peer"]]
            away = until(
                lambda: (
                    elsewhere(one, room)["away"].get("next_try") and elsewhere(one, room)["away"]
                )
            )
            assert (away["state"], away["because"]) == ("failed", "it can't be reached")
            assert (
                one.ctl("pins", "push", room, "--to", "nowhere", code=1)["error"]["code"]
                == "no-such-place"
            )
            checks = {each["name"]: each for each in one.ctl("doctor", code=1)}
            assert checks["pins at good"]["state"] == "ok"
            assert checks["pins at away"]["found"] == "it can't be reached"
            one.ctl("pins", "remove", room, "--from", "good")
            until(lambda: not service.pins)
            until(lambda: "good" not in elsewhere(one, room))
            one.kill()
        with node(tmp_path / "home", *sets) as one:
            assert elsewhere(one, room)["away"]["state"] == "failed"
            time.sleep(5)
            assert not service.pins, "it was removed by hand"
            one.ctl("pins", "push", room, "--to", "good")
            root = one.ctl("rooms", "export", room)["cid"]
            until(lambda: service.held() == {root})
            told = one.log.read_text() + json.dumps(one.ctl("config", "show"))
            assert TOKEN not in told + json.dumps(one.ctl("logs")) + one.get("/metrics").text
            assert TOKEN not in (tmp_path / "home" / "remote-pins.json").read_text()


def test_where_nothing_is_configured_that_is_said(tmp_path: Path) -> None:
    with node(tmp_path / "home", *SETS) as one:
        said = one.ctl("pins", "push", one.room()["id"], code=1)["error"]
        assert said["message"] == "no pinning service and no Kubo node is configured"
        assert "ipfs.pinning" in said["hint"]

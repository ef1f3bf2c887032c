"""A follower's archive fills from HTTP gateways when the origin and all relays are gone."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.node import Node, node, until
from support.publish import publishing

from hausd.media.demo import Shape, write

pytestmark = pytest.mark.e2e

SETS = ("media.ladder=[]", "media.segment_seconds=2", "ingest.reconnect_s=2")
SEGMENTS = 5


class Liar(BaseHTTPRequestHandler):
    """A gateway whose every block is wrong."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined] # ours
        self.send_response(200)
        self.send_header("content-length", "100")
        self.end_headers()
        self.wfile.write(b"!" * 100)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def lying() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    server.asked = 0  # type: ignore[attr-defined] # ours
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def archived(one: Node, room: str) -> list[str]:
    text = one.get(f"/archive/{room}/source/index.m3u8").text
    return re.findall(r"#EXTINF:[0-9.]+,\n(\S+)", text)


def recording(one: Node, room: str) -> dict[str, Any]:
    shown: dict[str, Any] = one.shown(room)
    return shown["recording"] or {}


def figure(one: Node, name: str) -> float:
    """One metric, summed over its labels but for those in the name."""
    found = re.findall(rf"^{re.escape(name)}\S* ([0-9.e+]+)$", one.get("/metrics").text, re.M)
    return sum(map(float, found))


def test_an_archive_fills_from_gateways_when_origin_and_relays_are_gone(tmp_path: Path) -> None:
    film = tmp_path / "film.flv"
    write(str(film), Shape(320, 180, Fraction(30), 2.0, 0, 600_000), seconds=20)
    with node(tmp_path / "origin", *SETS) as origin:
        made, other = origin.room(), origin.room()
        room = made["id"]
        with node(tmp_path / "mirror", *SETS) as mirror:
            for each in (made, other):
                mirror.ctl("rooms", "follow", each["id"], "--peer", origin.words["peer"])
            with (
                publishing(film, f"{origin.rtmp}/{made['stream_key']}"),
                publishing(film, f"{origin.rtmp}/{other['stream_key']}"),
            ):
                until(lambda: len(archived(origin, room)) >= SEGMENTS, 30)
            whole = {}
            for each in (made, other):
                origin.ctl("rooms", "close", each["id"])
                mirror.wait_state(each["id"], "closed")
                whole[each["id"]] = archived(origin, each["id"])
                until(lambda id_=each["id"]: archived(mirror, id_) == whole[id_], 30)
            names = whole[room]
            manifest = until(lambda: recording(mirror, room).get("manifest"))
            bodies = [origin.get(f"/archive/{room}/source/{name}").content for name in names]
            unknown = mirror.ctl("rooms", "export", other["id"])["cid"]
        # from now on the origin can't give all of it, however long it is asked
        origin.ctl("pins", "add", room, "--last", "2s")
        assert origin.ctl("store", "gc")["removed_files"] > 0
    with node(tmp_path / "origin", *SETS) as origin, node(tmp_path / "viewer", *SETS) as viewer:
        viewer.ctl("rooms", "follow", room, "--peer", origin.words["peer"])
        until(lambda: recording(viewer, room).get("missing"))
        origin.kill()
    with (
        lying() as liar,
        node(tmp_path / "mirror", *SETS, "p2p.listen=") as mirror,
        node(
            tmp_path / "viewer",
            *SETS,
            "ipfs.gateways="
            + json.dumps(
                [f"http://127.0.0.1:{liar.server_port}", mirror.http, "http://127.0.0.1:9"]
            ),
        ) as viewer,
    ):
        until(lambda: archived(viewer, room) == names, 30)
        until(lambda: recording(viewer, room).get("manifest") == manifest)
        for name, body in zip(names, bodies, strict=True):
            assert viewer.get(f"/archive/{room}/source/{name}").content == body
        assert figure(viewer, 'hausd_sources_blocks_total{source="127.0.0.1:') > 4
        assert "source-dropped" in viewer.log.read_text()
        # more than one of its blocks may have been under way
        dropped = 'hausd_sources_dropped_total{source="127.0.0.1:'
        assert figure(viewer, f"{dropped}{liar.server_port}") >= 1
        assert figure(viewer, f"{dropped}{mirror.http.rpartition(':')[2]}") == 0
        checks = {each["name"]: each for each in viewer.ctl("doctor", code=1)}
        liars = checks[f"blocks from 127.0.0.1:{liar.server_port}"]
        assert (liars["state"], "dropped" in liars["found"]) == ("fail", True)
        asked = liar.asked  # type: ignore[attr-defined] # ours
        assert 0 < asked <= 32

        # what this node never followed comes through the same sources, for this machine
        page = viewer.get(f"/ipfs/{unknown}/index.m3u8")
        assert page.status_code == 200
        assert page.text.startswith("#EXTM3U")
        assert viewer.get(f"/ipfs/{unknown}/source/index.m3u8").status_code == 200
        foreign = viewer.get(
            f"/ipfs/{unknown}/index.m3u8", headers={"sec-fetch-site": "cross-site"}
        )
        assert foreign.status_code == 404
        nowhere = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
        assert viewer.get(f"/ipfs/{nowhere}").status_code == 404
        assert liar.asked == asked, "it is asked for nothing any more"  # type: ignore[attr-defined]

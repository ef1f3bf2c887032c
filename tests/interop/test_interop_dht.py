"""Kubo and a node of ours find each other's rooms, blocks and names through the DHT."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from support.hosts import host
from support.ipfs import kubo_program
from support.kubo_daemon import KuboDaemon, kubo_daemon
from support.node import Node, node
from support.publish import make, publishing

from hausd.core.cid import CID
from hausd.core.ids import RoomId, room_cid
from hausd.core.peers import Multiaddr, PeerId
from hausd.p2p.kad import DhtMode, open_dht
from hausd.wire import ipns

pytestmark = pytest.mark.interop

SETS = ("media.ladder=[]", "media.segment_seconds=4", "ingest.reconnect_s=1")
ED25519, RSA = "ed25519", "rsa"


@pytest.fixture(scope="module")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboDaemon]:
    program = kubo_program()
    assert program.exists(), "scripts/interop-tools builds it"
    with kubo_daemon(program, tmp_path_factory.mktemp("kubo") / "repo") as running:
        yield running


def until(holds: Any, seconds: float = 40.0) -> Any:
    """What ``holds`` gives, as soon as that is true."""
    end_s = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.2)
    return found


def published(one: Node, room: str) -> Any:
    return one.shown(room)["published"]


def id_of(one: Node) -> str:
    return one.words["peer"].rpartition("/")[2]


def test_kubo_finds_who_has_a_room_and_where_its_name_points(
    kubo: KuboDaemon, tmp_path: Path
) -> None:
    film = make(tmp_path / "film.mp4", seconds=12)
    with node(tmp_path / "origin", *SETS) as origin, node(tmp_path / "viewer", *SETS) as viewer:
        room = origin.room("Found from afar")
        id_ = room["id"]
        origin.ctl("peers", "connect", kubo.address)
        until(lambda: published(origin, id_)["peers"])
        assert kubo.words("routing", "findprovs", str(room_cid(RoomId(id_)))) == [id_of(origin)]
        text = f"/haus/1/room/{id_}".encode()
        made = kubo.run("block", "put", "--cid-codec=raw", given=text).decode().strip()
        assert made == str(room_cid(RoomId(id_))), "anybody can make it"

        with publishing(film, f"{origin.rtmp}/{room['stream_key']}"):
            origin.wait_state(id_, "live")
            manifest = until(lambda: published(origin, id_)["name_path"])
            until(lambda: published(origin, id_)["name_peers"])
            assert kubo.words("name", "resolve", "--nocache", f"/ipns/{id_}") == [manifest]
        origin.wait_state(id_, "ended", 40)
        told = until(lambda: _finished(published(origin, id_)))
        path = f"/ipfs/{told['directory']}"
        assert path != manifest
        assert kubo.words("name", "resolve", "--nocache", f"/ipns/{id_}") == [path]
        until(lambda: id_of(origin) in kubo.words("routing", "findprovs", told["directory"]))

        viewer.ctl("peers", "connect", kubo.address)
        (card,) = viewer.ctl("rooms", "list", "--network", id_)
        assert card["title"] == "Found from afar"
        viewer.ctl("rooms", "follow", id_)
        until(lambda: viewer.shown(id_)["recording"]["segments"])
        until(lambda: published(viewer, id_)["peers"])
        both = {id_of(origin), id_of(viewer)}
        until(lambda: both <= set(kubo.words("routing", "findprovs", str(room_cid(RoomId(id_))))))


def _finished(told: Any) -> Any:
    done = told["directory"] and told["name_path"].endswith(told["directory"])
    return told if done and told["name_peers"] else None


@pytest.mark.parametrize("kind", [ED25519, RSA])
async def test_what_kubo_provides_and_names_is_found(kubo: KuboDaemon, kind: str) -> None:
    more = ["--size=2048"] if kind == RSA else []

    async def run(*words: str, given: bytes = b"") -> str:
        return (await trio.to_thread.run_sync(lambda: kubo.run(*words, given=given))).decode()

    async with host(kind, keep_peers=0) as ours, open_dht(ours, DhtMode.AUTO) as dht:
        await ours.connect(Multiaddr(kubo.address))
        with trio.fail_after(20):
            while not dht.peers:
                await trio.sleep(0.05)
        cid = CID.parse((await run("block", "put", given=kind.encode())).strip())
        await run("routing", "provide", str(cid))
        (found,) = await dht.find(cid, 5, deadline_s=trio.current_time() + 10)
        assert found.addresses == (kubo.address,)

        await run("key", "gen", f"--type={kind}", *more, kind)
        listed = await run("key", "list", "-l", "--ipns-base=b58mh")
        name = next(row.split()[0] for row in listed.splitlines() if row.split()[1] == kind)
        for number in (1, 2):
            path = f"/ipfs/{CID.of(b'%d' % number)}"
            await run("name", "publish", f"--key={kind}", "--resolve=false", path)
            with trio.fail_after(10):
                while True:
                    record = await dht.resolve(PeerId(name), deadline_s=trio.current_time() + 5)
                    if record is not None and record.path == path:
                        break
                    await trio.sleep(0.1)
        assert ipns.verify(record.encoded, PeerId(name)) == record

"""Kubo keeps our finished rooms and is a gateway for us; others' pinning services know us."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import trio
from support.content import ROOM, content
from support.ipfs import kubo_program
from support.kubo_daemon import KuboDaemon, kubo_daemon
from support.node import Node, node
from support.pinsvc import TOKEN, pinning_service
from support.publish import publishing
from support.recorded import Recorded, recorded_room

from hausd.core.cid import CID
from hausd.core.clock import SystemClock
from hausd.core.following import LeafMissing
from hausd.core.manifest import Manifest, SegmentRecord
from hausd.ipfs.calls import Caller, open_client
from hausd.ipfs.gateways import open_gateways
from hausd.ipfs.kubo import KuboNode
from hausd.ipfs.pinning import PinningService
from hausd.ipfs.ports import Origin, TryFailed
from hausd.ipfs.table import PinState, RemotePin
from hausd.media.demo import Shape, write
from hausd.rooms.export import export_directory

pytestmark = pytest.mark.interop
PINSVC = Path(__file__).parent / "pinsvc"
SETS = ("media.ladder=[]", "media.segment_seconds=4", "ingest.reconnect_s=1")


@pytest.fixture
def program() -> Path:
    found = kubo_program()
    if not found.exists():
        pytest.skip("needs Kubo: run scripts/interop-tools")
    return found


@pytest.fixture
def daemon(program: Path, tmp_path: Path) -> Iterator[KuboDaemon]:
    with kubo_daemon(program, tmp_path / "kubo") as running:
        yield running


async def room_of(recorded: Recorded) -> RemotePin:
    made = await export_directory(recorded.tracks, recorded.box.get, {"poster.jpg": content(5, 9)})
    recorded.box.blocks.update(made.blocks)
    manifest = Manifest(ROOM)
    for _, playlist in recorded.tracks:
        for segment in playlist.segments:
            appended = manifest.append(SegmentRecord(ROOM, playlist.rendition, segment))
            recorded.box.blocks.update(appended)
    return RemotePin(
        to="kubo",
        room=ROOM,
        title="Saturday at the Haus",
        cid=str(made.root),
        size=made.size,
        manifest=str(manifest.cid),
        since_ms=1,
    )


@asynccontextmanager
async def kubo_node(
    daemon: KuboDaemon, recorded: Recorded, secret: str = ""
) -> AsyncIterator[KuboNode]:
    async with open_client(60) as client:
        caller = Caller(client, daemon.api, SystemClock(), lambda: secret)
        yield KuboNode("kubo", caller, Origin(recorded.box.get, lambda: (), lambda *_: None))


async def test_kubo_takes_keeps_replaces_and_lets_go_of_a_room(daemon: KuboDaemon) -> None:
    first, second = recorded_room(), recorded_room(6, size=5000)
    async with kubo_node(daemon, first) as place:
        pin = await room_of(first)
        assert not await place.holds(pin)
        states: list[tuple[str, int]] = []
        await place.pin(pin, lambda: states.append((pin.state.value, pin.sent_bytes)))
        assert pin.state is PinState.PINNED
        assert states[0] == ("pinning", 0)
        assert pin.sent_bytes >= pin.size
        assert await place.holds(pin)
        listed = daemon.run("pin", "ls", "--type=recursive", "--names").decode()
        assert f"{pin.cid} recursive Saturday at the Haus" in listed
        daemon.run("repo", "verify")
        pin.sent_bytes = 0
        await place.pin(pin, lambda: None)
        assert pin.sent_bytes == 0, "what it has is not sent again"
    async with kubo_node(daemon, second) as place:
        earlier, later = {pin.cid, pin.manifest}, await room_of(second)
        pin.cid, pin.manifest = later.cid, later.manifest
        await place.pin(pin, lambda: None)
        listed = daemon.run("pin", "ls", "--type=recursive").decode()
        assert pin.cid in listed
        assert pin.manifest in listed
        assert not any(cid in listed for cid in earlier)
        await place.unpin(pin)
        await place.unpin(pin)
        left = daemon.run("pin", "ls", "--type=recursive").decode()
        assert pin.cid not in left
        assert pin.manifest not in left


async def test_a_hole_in_the_recording_is_told_and_nothing_is_pinned(daemon: KuboDaemon) -> None:
    recorded = recorded_room()
    pin = await room_of(recorded)
    gone = recorded.tracks[0][1].segments[1].cid
    del recorded.box.blocks[gone]
    async with kubo_node(daemon, recorded) as place:
        with pytest.raises(TryFailed, match="not whole in this node's store"):
            await place.pin(pin, lambda: None)
        assert not await place.holds(pin)


async def test_kubo_behind_a_secret(program: Path, tmp_path: Path) -> None:
    guarded = {
        "Authorizations": {"us": {"AuthSecret": "bearer:abc123xyz", "AllowedPaths": ["/api/v0"]}}
    }
    recorded = recorded_room()
    pin = await room_of(recorded)
    with kubo_daemon(program, tmp_path / "kubo", API=guarded) as daemon:
        async with kubo_node(daemon, recorded, "Bearer wrong-one") as place:
            with pytest.raises(TryFailed, match="does not accept the token"):
                await place.holds(pin)
        async with kubo_node(daemon, recorded, "Bearer abc123xyz") as place:
            await place.pin(pin, lambda: None)
            assert await place.holds(pin)


async def test_nothing_that_is_not_kubo_is_taken_for_it(daemon: KuboDaemon) -> None:
    recorded = recorded_room()
    gateway = replace(daemon, api=daemon.gateway)
    async with kubo_node(gateway, recorded) as place:
        with pytest.raises(TryFailed, match="no Kubo RPC API"):
            await place.holds(await room_of(recorded))


async def test_blocks_come_from_kubos_gateway(daemon: KuboDaemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(600_000))
    added = daemon.run("add", "-Q", "--raw-leaves", "--cid-version=1", str(tmp_path / "file"))
    root = CID.parse(added.decode().strip())
    async with open_gateways([daemon.gateway], SystemClock()) as (source,):
        deadline_s = trio.current_time() + 20
        assert root.matches(await source.fetch(root, 1 << 20, deadline_s=deadline_s))
        with pytest.raises(LeafMissing):
            await source.fetch(CID.of(b"nobody has it"), 100, deadline_s=trio.current_time() + 5)


def elsewhere(one: Node, room: str) -> dict[str, Any]:
    return {
        each["to"]: each
        for pin in one.ctl("pins", "list")
        if pin["target"] == room
        for each in pin["remote"]
    }


def archived(one: Node, room: str) -> list[str]:
    listing = one.get(f"/archive/{room}/source/index.m3u8").text
    return [line for line in listing.splitlines() if line and not line.startswith("#")]


def until_pinned(one: Node, room: str, place: str) -> None:
    end_s = time.monotonic() + 30
    while elsewhere(one, room).get(place, {}).get("state") != "pinned":
        assert time.monotonic() < end_s, elsewhere(one, room)
        time.sleep(0.1)


def test_a_room_that_ends_is_in_kubo_and_comes_back_through_its_gateway(
    daemon: KuboDaemon, tmp_path: Path
) -> None:
    film = tmp_path / "film.flv"
    write(str(film), Shape(320, 180, Fraction(30), 2.0, 0, 900_000), seconds=24)
    with node(tmp_path / "home", *SETS, f"ipfs.kubo={daemon.api}") as one:
        made = one.room("Saturday")
        room = made["id"]
        with publishing(film, f"{one.rtmp}/{made['stream_key']}"):
            one.wait_state(room, "live")
            time.sleep(18)
        one.wait_state(room, "ended")
        until_pinned(one, room, "kubo")
        root = elsewhere(one, room)["kubo"]["cid"]
        listing = one.get(f"/ipfs/{root}/source/index.m3u8").text
        names = [line for line in listing.splitlines() if line.endswith(".m4s")]
        assert names
        segments = {name: one.get(f"/ipfs/{root}/source/{name}").content for name in names}
        archive = archived(one, room)
        assert archive
        one.stop()
    daemon.run("get", "-o", str(tmp_path / "out"), f"/ipfs/{root}")
    for name, body in segments.items():
        assert (tmp_path / "out" / "source" / name).read_bytes() == body
    with node(tmp_path / "other", *SETS, f'ipfs.gateways=["{daemon.gateway}"]') as other:
        for name, body in segments.items():
            assert other.get(f"/ipfs/{root}/source/{name}").content == body
    # a follower that has heard the head, and of the recording nothing
    slow = "p2p.upload=1000000"
    with node(tmp_path / "home", *SETS, slow) as one, node(tmp_path / "late", *SETS) as late:
        late.ctl("rooms", "follow", room, "--peer", one.words["peer"])
        end_s = time.monotonic() + 20
        while not (late.ctl("rooms", "show", room)["recording"] or {}).get("missing"):
            assert time.monotonic() < end_s
            time.sleep(0.05)
        one.kill()
    with node(tmp_path / "late", *SETS, f'ipfs.gateways=["{daemon.gateway}"]') as late:
        assert archived(late, room) != archive
        end_s = time.monotonic() + 30
        while archived(late, room) != archive:
            assert time.monotonic() < end_s
            time.sleep(0.1)
    with node(tmp_path / "home", *SETS, f"ipfs.kubo={daemon.api}") as one:
        one.ctl("pins", "remove", room, "--from", "kubo")
        end_s = time.monotonic() + 20
        while "kubo" in elsewhere(one, room):
            assert time.monotonic() < end_s
            time.sleep(0.1)
    assert root not in daemon.run("pin", "ls", "--type=recursive").decode()


async def test_kubos_own_client_understands_the_service_of_our_tests(
    daemon: KuboDaemon,
) -> None:
    """So what our client is tried against in CI is what the world speaks."""
    cid = daemon.run("add", "-Q", "--cid-version=1", str(Path(__file__))).decode().strip()
    async with pinning_service() as service:

        async def ask(*arguments: str) -> str:
            told = await trio.to_thread.run_sync(daemon.run, "pin", "remote", *arguments)
            return told.decode()

        await ask("service", "add", "svc", service.endpoint, TOKEN)
        assert "svc" in await ask("service", "ls", "--stat")
        await ask("add", "--service=svc", "--name=x", "--background", cid)
        (held,) = service.pins.values()
        assert (held["pin"]["cid"], held["pin"]["name"]) == (cid, "x")
        service.look(held["requestid"])
        service.look(held["requestid"])
        assert f"{cid}\tpinned\tx" in await ask("ls", "--service=svc")
        await ask("rm", "--service=svc", f"--cid={cid}")
        assert service.pins == {}


@asynccontextmanager
async def foreign_service() -> AsyncIterator[str]:
    """The implementation from npm; gives its URL. A pin's state is its name's first word."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = "node_modules/mock-ipfs-pinning-service/cli.js"
    process = await trio.lowlevel.open_process(
        ["node", script, "--port", str(port), "--token", TOKEN],
        cwd=PINSVC,
        stdout=-3,
        stderr=-3,
    )
    try:
        with trio.fail_after(30):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest.mark.skipif(
    not (PINSVC / "node_modules").is_dir() or not shutil.which("node"),
    reason="needs Node.js and `npm ci` in tests/interop/pinsvc (scripts/test --interop does both)",
)
async def test_a_service_that_nobody_here_wrote_pins_replaces_and_removes() -> None:
    async with foreign_service() as endpoint, open_client(10) as client:

        async def get(cid: CID) -> bytes | None:
            return None

        def place(token: str) -> PinningService:
            caller = Caller(client, endpoint, SystemClock(), lambda: f"Bearer {token}")
            return PinningService(
                "npm",
                endpoint,
                caller,
                Origin(get, lambda: ["/ip4/192.0.2.1/tcp/4001"], lambda *_: None),
            )

        recorded = recorded_room()
        pin = await room_of(recorded)
        with pytest.raises(TryFailed, match="does not accept the token"):
            await place("wrong-token").pin(pin, lambda: None)
        ours = place(TOKEN)
        pin.title = "pinned-Saturday"
        await ours.pin(pin, lambda: None)
        assert pin.state is PinState.PINNED
        assert await ours.holds(pin)
        first = pin.request_id
        again = await room_of(recorded)
        again.title = pin.title
        await ours.pin(again, lambda: None)
        assert again.request_id == first, "found again after a crash before it was written down"
        pin.cid = str(CID.of(b"another", CID.parse(pin.cid).codec))
        await ours.pin(pin, lambda: None)
        assert await ours.holds(pin)
        await ours.unpin(pin)
        assert not await ours.holds(pin)
        failing = await room_of(recorded_room(3))
        failing.title = "failed-Saturday"
        with pytest.raises(TryFailed, match="the service failed to pin it"):
            await ours.pin(failing, lambda: None)

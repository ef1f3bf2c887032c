"""Kubo and Helia fetch our blocks, and we fetch theirs: by Bitswap, and from our gateway."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from support.content import content
from support.delegated import router_to
from support.ipfs import kubo_program
from support.jspeer import has_package, js_peer
from support.kubo_daemon import KuboDaemon, kubo_daemon
from support.node import Node, node
from support.publish import make, publishing
from support.swapping import swapping

from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.peers import parse_multiaddr

SETS = ("media.ladder=[[144,200000]]", "media.segment_seconds=4", "ingest.reconnect_s=1")
RENDITIONS = ("source", "144p", "audio")


@pytest.fixture
def kubo(tmp_path: Path) -> Iterator[KuboDaemon]:
    program = kubo_program()
    if not program.exists():
        pytest.skip("needs Kubo: run scripts/interop-tools")
    with kubo_daemon(program, tmp_path / "kubo") as running:
        yield running


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, str]]:
    """A node with a finished room, and the CID of its directory."""
    folder = tmp_path_factory.mktemp("recorded")
    film = make(folder / "film.flv", seconds=12)
    with node(folder / "home", *SETS) as one:
        room = one.room()
        with publishing(film, f"{one.rtmp}/{room['stream_key']}", loop=False) as publisher:
            publisher.wait(60)
        one.wait_state(room["id"], "ended", 60)
        exported = one.ctl("rooms", "export", room["id"], "--format", "unixfs")
        yield one, exported["cid"]


@pytest.mark.interop
def test_kubo_fetches_a_segment_and_the_whole_room(
    recorded: tuple[Node, str], kubo: KuboDaemon, tmp_path: Path
) -> None:
    one, root = recorded
    kubo.run("swarm", "connect", one.words["peer"])
    media = [path for path in listed(one, root) if path.endswith(".m4s")]
    assert len(media) >= 2 * len(RENDITIONS)
    segment = one.get(f"/ipfs/{root}/{media[0]}")
    cid = segment.headers["etag"].strip('"')
    assert kubo.run("cat", cid) == segment.content

    kubo.run("get", "-o", str(tmp_path / "out"), f"/ipfs/{root}")
    files = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert files >= set(media)
    for path in files:
        assert (tmp_path / "out" / path).read_bytes() == one.get(f"/ipfs/{root}/{path}").content
    kubo.run("repo", "verify")


def listed(one: Node, root: str) -> list[str]:
    """All that the room's playlists name, and they themselves."""
    found = []
    for rendition in RENDITIONS:
        index = f"{rendition}/index.m3u8"
        text = one.get(f"/ipfs/{root}/{index}").text
        found.append(index)
        found += [f"{rendition}/{name}" for name in re.findall(r"[\w-]+\.m(?:4s|p4)", text)]
    return sorted(set(found))


@pytest.mark.interop
@pytest.mark.parametrize("how", [["--cid-version=1"], ["--cid-version=1", "--raw-leaves=false"]])
@pytest.mark.parametrize("who_dials", ["we", "kubo"])
async def test_we_fetch_a_file_that_only_kubo_has(
    kubo: KuboDaemon, tmp_path: Path, how: list[str], who_dials: str
) -> None:
    data = content(3, 3_000_000)
    (tmp_path / "file").write_bytes(data)
    root = CID.parse(kubo.run("add", "-Q", *how, str(tmp_path / "file")).decode().strip())
    async with swapping("ours") as ours:
        if who_dials == "we":
            await ours.host.connect(parse_multiaddr(kubo.address))
        else:
            await trio.to_thread.run_sync(kubo.run, "swarm", "connect", ours.address)
        found = b"".join([piece async for piece in unixfs.read(root, ours.get)])
    assert found == data


@pytest.mark.interop
def test_a_nodes_own_user_reads_a_file_that_only_kubo_has(
    recorded: tuple[Node, str], kubo: KuboDaemon, tmp_path: Path
) -> None:
    one, _ = recorded
    data = content(7, 1_000_000)
    (tmp_path / "clip.mp4").write_bytes(data)
    root = kubo.run("add", "-Q", "--cid-version=1", str(tmp_path / "clip.mp4")).decode().strip()
    one.ctl("peers", "connect", kubo.address)
    assert one.get(f"/ipfs/{root}").content == data
    got = re.search(r"^hausd_bitswap_got_total (\S+)", one.get("/metrics").text, re.MULTILINE)
    assert got is not None
    assert float(got[1]) >= len(data) // 262_144


@pytest.mark.interop
async def test_kubo_fetches_from_us_while_we_fetch_from_it(
    kubo: KuboDaemon, tmp_path: Path
) -> None:
    theirs = content(4, 2_000_000)
    (tmp_path / "file").write_bytes(theirs)
    root = CID.parse(
        kubo.run("add", "-Q", "--cid-version=1", str(tmp_path / "file")).decode().strip()
    )
    leaves = {CID.of(data): data for data in (content(n, 100_000) for n in range(20))}
    async with swapping("ours", leaves) as ours:
        await ours.host.connect(parse_multiaddr(kubo.address))
        given: dict[CID, bytes] = {}

        async def give(cid: CID) -> None:
            given[cid] = await trio.to_thread.run_sync(kubo.run, "block", "get", str(cid))

        async with trio.open_nursery() as nursery:
            for cid in leaves:
                nursery.start_soon(give, cid)
            found = b"".join([piece async for piece in unixfs.read(root, ours.get)])
        assert found == theirs
        assert given == leaves
        assert ours.host.connected(), "nobody was banned"


@pytest.mark.interop
@pytest.mark.skipif(not has_package("helia"), reason="needs `npm ci` in tests/interop/js")
async def test_helia_fetches_from_us_and_we_from_it() -> None:
    ours_data, theirs_data = content(5, 1_500_000), content(6, 1_500_000)
    made, blocks = unixfs.file_of(ours_data)
    async with js_peer("helia.mjs") as helia, swapping("ours", dict(blocks)) as ours:
        await ours.host.connect(parse_multiaddr(await helia.says("address")))
        assert await helia.says("identified") == ours.host.peer_id
        await helia.tell(fetch=str(made.cid))
        assert await helia.says("fetched") == hashlib.sha256(ours_data).hexdigest()

        await helia.tell(add=base64.b64encode(theirs_data).decode())
        root = CID.parse(await helia.says("added"))
        found = b"".join([piece async for piece in unixfs.read(root, ours.get)])
    assert found == theirs_data


@pytest.mark.interop
@pytest.mark.skipif(not has_package("@helia/http"), reason="needs `npm ci` in tests/interop/js")
async def test_helia_fetches_the_room_from_our_gateway(recorded: tuple[Node, str]) -> None:
    one, root = recorded
    async with js_peer("helia-gateway.mjs", one.http) as helia:
        assert await helia.says("ready")
        for path in listed(one, root):
            found = one.get(f"/ipfs/{root}/{path}")
            await helia.tell(fetch=found.headers["etag"].strip('"'))
            assert await helia.says("fetched") == hashlib.sha256(found.content).hexdigest(), path


@pytest.mark.interop
def test_kubo_fetches_the_room_from_our_gateway(recorded: tuple[Node, str], tmp_path: Path) -> None:
    program = kubo_program()
    if not program.exists():
        pytest.skip("needs Kubo: run scripts/interop-tools")
    one, root = recorded
    peer_id = one.words["peer"].rpartition("/")[2]
    with (
        router_to(peer_id, one.http) as router,
        kubo_daemon(
            program,
            tmp_path / "kubo",
            **{
                "Routing.Type": "delegated",
                "Routing.DelegatedRouters": [router],
                "Provide.Enabled": False,
                "HTTPRetrieval.Enabled": True,
            },
        ) as kubo,
    ):
        kubo.run("get", root, "-o", str(tmp_path / "room"))
        assert not kubo.words("swarm", "peers"), "nothing of it came by Bitswap"
    for path in listed(one, root):
        there = (tmp_path / "room" / path).read_bytes()
        assert there == one.get(f"/ipfs/{root}/{path}").content, path

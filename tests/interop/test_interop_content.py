"""Other IPFS implementations read what hausd writes, byte for byte, and hausd what they write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.content import ROOM, BlockBox, content, record
from support.ipfs import (
    Kubo,
    Refused,
    has_javascript,
    kubo_program,
    read_blocks,
    read_with_javascript,
    written,
)
from support.recorded import Recorded, recorded_room

from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.manifest import Manifest, SegmentRecord
from hausd.core.media import LEAF_BYTES
from hausd.rooms.export import Exported, export_directory
from hausd.wire import car

javascript = pytest.mark.skipif(
    not has_javascript() or not shutil.which("node"),
    reason="needs Node.js and `npm ci` in tests/interop/js (scripts/test does both)",
)


async def exported(room: Recorded) -> Exported:
    made = await export_directory(room.tracks, room.box.get, {"poster.jpg": content(5, 3000)})
    room.box.blocks.update(made.blocks)
    return made


def check_folder(folder: Path, room: Recorded) -> int:
    """Every file of the folder against what was recorded; gives how many there are."""
    for _, playlist in room.tracks:
        at = folder / playlist.rendition.name
        inits = list(dict.fromkeys(one.init for one in playlist.segments))
        for number, init in enumerate(inits):
            assert (at / f"init-{number}.mp4").read_bytes() == room.bytes_of[init]
        for one in playlist.segments:
            assert (at / f"{one.number:06}.m4s").read_bytes() == room.bytes_of[one.cid]
            assert f"{one.number:06}.m4s" in (at / "index.m3u8").read_text()
    assert (folder / "poster.jpg").read_bytes() == content(5, 3000)
    assert "720p/index.m3u8" in (folder / "index.m3u8").read_text()
    return sum(1 for path in folder.rglob("*") if path.is_file())


async def manifest_of(room: Recorded) -> CID:
    manifest = Manifest(ROOM)
    for _, playlist in room.tracks:
        for segment in playlist.segments:
            made = SegmentRecord(ROOM, playlist.rendition, segment)
            room.box.blocks.update(manifest.append(made))
    return manifest.cid


@javascript
async def test_javascript_reads_the_finished_room(tmp_path: Path) -> None:
    room = recorded_room()
    made = await exported(room)
    file = await written(car.write(made.root, room.box.get), tmp_path / "room.car")
    found = read_with_javascript(file, tmp_path / "out")
    assert found["root"] == str(made.root)
    assert found["blocks"] == len(room.box.blocks)
    assert found["bytes"] == made.size
    assert found["files"] == check_folder(tmp_path / "out", room)


@javascript
async def test_javascript_reads_a_manifest_down_to_the_last_leaf(tmp_path: Path) -> None:
    """Its DAG-CBOR and DAG-PB encoders make the same bytes of every node."""
    room = recorded_room(40, size=300)
    root = await manifest_of(room)
    below = {cid: block async for cid, block in car.walk(root, room.box.get)}
    file = await written(car.write(root, room.box.get), tmp_path / "manifest.car")
    found = read_with_javascript(file, tmp_path / "out")
    assert found["blocks"] == len(below)
    assert found["links"] == 1 + 2 * (2 + 1), "the root, and of each tree two leaves and a node"


@javascript
async def test_javascript_would_notice_a_wrong_byte(tmp_path: Path) -> None:
    room = recorded_room(1)
    made = await exported(room)
    file = await written(car.write(made.root, room.box.get), tmp_path / "room.car")
    broken = bytearray(file.read_bytes())
    broken[-1] ^= 1
    file.write_bytes(broken)
    with pytest.raises(Refused, match="hash"):
        read_with_javascript(file, tmp_path / "out")


@pytest.fixture
def kubo(tmp_path: Path) -> Kubo:
    program = kubo_program()
    if not program.exists():
        pytest.skip("needs Kubo: run scripts/interop-tools")
    return Kubo(program, tmp_path / "kubo").start()


@pytest.mark.interop
async def test_kubo_reads_the_finished_room(kubo: Kubo, tmp_path: Path) -> None:
    room = recorded_room()
    made = await exported(room)
    file = await written(car.write(made.root, room.box.get), tmp_path / "room.car")
    kubo.run("dag", "import", "--pin-roots=true", str(file))
    kubo.run("repo", "verify")
    kubo.run("get", "-o", str(tmp_path / "out"), f"/ipfs/{made.root}")
    check_folder(tmp_path / "out", room)
    again, blocks = read_blocks(kubo.run("dag", "export", str(made.root)))
    assert again == (made.root,)
    assert blocks == room.box.blocks
    listed = json.loads(kubo.run("files", "stat", "--enc=json", f"/ipfs/{made.root}"))
    assert listed["CumulativeSize"] == made.size


@pytest.mark.interop
async def test_kubo_reads_a_manifest(kubo: Kubo, tmp_path: Path) -> None:
    room = recorded_room(40, size=300)
    root = await manifest_of(room)
    file = await written(car.write(root, room.box.get), tmp_path / "manifest.car")
    kubo.run("dag", "import", str(file))
    kubo.run("repo", "verify")
    first = room.tracks[0][1].segments[0]
    path = f"{root}/renditions/720p/1/children/0/2/runs/0/segments/0/4"
    assert kubo.run("cat", str(first.cid)) == room.bytes_of[first.cid]
    resolved = json.loads(kubo.run("dag", "resolve", "--enc=json", path))
    assert resolved["Cid"]["/"] == str(first.cid)


@pytest.mark.interop
@pytest.mark.parametrize(
    "how",
    [
        ["--raw-leaves", f"--chunker=size-{LEAF_BYTES}"],
        ["--raw-leaves", "--chunker=size-1000"],
        ["--raw-leaves=false", "--chunker=size-1000"],
        ["--raw-leaves", "--chunker=size-1000", "--trickle"],
        ["--raw-leaves=false", "--chunker=size-1000", "--trickle"],
    ],
)
async def test_hausd_reads_what_kubo_adds(kubo: Kubo, tmp_path: Path, how: list[str]) -> None:
    """Balanced and trickle trees, leaves raw and in nodes, more than one level deep."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    data = content(3, 400_000)
    (tmp_path / "in" / "sub" / "a.bin").write_bytes(data)
    (tmp_path / "in" / "empty").write_bytes(b"")
    folder = str(tmp_path / "in")
    added = kubo.run("add", "-Q", "-r", "--cid-version=1", *how, folder).decode().strip()
    _, blocks = read_blocks(kubo.run("dag", "export", added))
    box = BlockBox(blocks)
    for path, expected in (("sub/a.bin", data), ("empty", b"")):
        cid = await unixfs.resolve(CID.parse(added), path.split("/"), box.get)
        found = b"".join([piece async for piece in unixfs.read(cid, box.get)])
        assert found == expected
        middle = [piece async for piece in unixfs.read(cid, box.get, 150_001, 250_003)]
        assert b"".join(middle) == expected[150_001:250_003]


@pytest.mark.interop
def test_kubo_takes_every_record_as_it_is(kubo: Kubo, tmp_path: Path) -> None:
    """What is canonical here is canonical there: putting a node gives the CID it had."""
    manifest = Manifest(ROOM)
    for cid, block in manifest.append(*[record(n) for n in range(40)]):
        (tmp_path / "node").write_bytes(block)
        put = kubo.run(
            "dag", "put", "--input-codec=dag-cbor", "--store-codec=dag-cbor", str(tmp_path / "node")
        )
        assert put.decode().strip() == str(cid)

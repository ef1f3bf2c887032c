"""A finished room is one directory that plays from any IPFS gateway."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urljoin

import m3u8
import pytest
from support.content import BlockBox
from support.recorded import Recorded, recorded_room

from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.unixfs import BlockMissing
from hausd.rooms.export import FLAT_SEGMENTS, Exported, export_directory


async def exported(room: Recorded) -> Exported:
    made = await export_directory(room.tracks, room.box.get)
    room.box.blocks.update(made.blocks)
    return made


async def file_at(root: CID, path: str, box: BlockBox) -> tuple[CID, bytes]:
    cid = await unixfs.resolve(root, path.split("/"), box.get)
    return cid, b"".join([piece async for piece in unixfs.read(cid, box.get)])


@pytest.mark.parametrize("segments", [1, 6, 230])
async def test_every_uri_of_every_playlist_leads_to_the_recorded_bytes(
    segments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hausd.rooms.export.FLAT_SEGMENTS", 200)
    room = recorded_room(segments, size=300 if segments > 10 else 150_000, first=90)
    made = await exported(room)
    top = m3u8.loads((await file_at(made.root, "index.m3u8", room.box))[1].decode())
    uris = [one.uri for one in top.playlists] + [one.uri for one in top.media if one.uri]
    assert sorted(uris) == ["720p/index.m3u8", "audio/index.m3u8"]
    for uri, (_, playlist) in zip(sorted(uris), room.tracks, strict=True):
        found = m3u8.loads((await file_at(made.root, uri, room.box))[1].decode())
        assert found.is_endlist
        assert found.playlist_type == "vod"
        assert len(found.segments) == segments
        for listed, segment in zip(found.segments, playlist.segments, strict=True):
            for named, cid in ((listed.uri, segment.cid), (listed.init_section.uri, segment.init)):
                path = urljoin(uri, named)
                assert await file_at(made.root, path, room.box) == (cid, room.bytes_of[cid])
    if segments > 200:
        assert await unixfs.resolve(made.root, ["720p", "0003", "000319.m4s"], room.box.get)


async def test_the_same_recording_gives_the_same_cid() -> None:
    first, second = recorded_room(), recorded_room()
    made = await exported(first)
    assert made == await exported(second)
    ended = [(variant, replace(one, ended=True, version=9)) for variant, one in second.tracks]
    assert (await export_directory(ended, second.box.get)).root == made.root
    assert (await exported(recorded_room(7))).root != made.root
    assert made.blocks[-1][0] == made.root


async def test_the_size_is_that_of_all_blocks() -> None:
    room = recorded_room(4)
    made = await exported(room)
    assert made.size == sum(len(block) for block in room.box.blocks.values())


async def test_twelve_hours_fit_into_directories_below_a_block() -> None:
    room = recorded_room(4320, size=9)
    made = await exported(room)
    assert max(len(block) for _, block in made.blocks) <= 256 * 1024
    name = f"{4322:06}.m4s"
    found = await unixfs.resolve(made.root, ["720p", "0043", name], room.box.get)
    assert found == room.tracks[0][1].segments[-1].cid
    assert FLAT_SEGMENTS < 4320


async def test_further_files_stand_beside_the_playlist() -> None:
    room = recorded_room(1)
    made = await export_directory(room.tracks, room.box.get, {"poster.jpg": b"jpeg"})
    room.box.blocks.update(made.blocks)
    assert (await file_at(made.root, "poster.jpg", room.box))[1] == b"jpeg"


async def test_a_rendition_without_segments_is_left_out() -> None:
    room = recorded_room(2)
    variant, playlist = room.tracks[1]
    room.tracks[1] = (variant, replace(playlist, entries=()))
    made = await exported(room)
    with pytest.raises(unixfs.NotFound):
        await unixfs.resolve(made.root, ["audio"], room.box.get)
    assert b"audio" not in (await file_at(made.root, "index.m3u8", room.box))[1]


async def test_what_cannot_be_exported_says_why() -> None:
    room = recorded_room(2)
    with pytest.raises(ValueError, match="nothing"):
        await export_directory([], room.box.get)
    variant, playlist = room.tracks[0]
    wrong = replace(playlist.segments[0], size=1)
    bent = replace(playlist, entries=(wrong, *playlist.segments[1:]))
    with pytest.raises(ValueError, match="its playlist says 1"):
        await export_directory([(variant, bent)], room.box.get)
    del room.box.blocks[playlist.segments[1].cid]
    with pytest.raises(BlockMissing) as missing:
        await export_directory(room.tracks, room.box.get)
    assert missing.value.cid == playlist.segments[1].cid

"""A gated room's recorded segment over HTTP: opened while it is sent, from a store on disk."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from support.http import Client, Closed, Running, running

from hausd.blocks import files
from hausd.blocks.quota import StoreLimits
from hausd.blocks.store import Store, open_store
from hausd.core.gating import ObjectSeal, SegmentSeal, new_epoch
from hausd.core.ids import RoomId, SessionId, open_room_id
from hausd.core.live import ArchiveSegment
from hausd.core.manifest import SegmentRecord, encode_record
from hausd.core.media import Kind, Rendition
from hausd.core.storage import Append, Close, SegmentKey
from hausd.http.live import body_answer
from hausd.http.messages import Answer, Request
from hausd.http.sharing import OURS_ONLY
from hausd.rooms.flowing import PIECE_BYTES
from hausd.rooms.keyring import MemoryKeyring
from hausd.rooms.opened import Opened
from hausd.rooms.opening import Opener
from hausd.rooms.packing import Packer
from hausd.rooms.sealing import Sealing
from hausd.wire.leafseal import CLEAR_LEAF_BYTES

PARTS = [1, 84_000, CLEAR_LEAF_BYTES, CLEAR_LEAF_BYTES + 1, 300_000, 84_000, 17, 500_000]


class Recording:
    """One sealed segment of one room, and who shows it."""

    def __init__(self, store: Store, opener: Opener, segment: ArchiveSegment, clear: bytes) -> None:
        self.store, self.opener, self.segment, self.clear = store, opener, segment, clear

    def respond(self, request: Request) -> Answer:
        place = self.store.locate(self.segment.cid)
        assert place is not None
        media = self.opener.segment("video/mp4", "source", self.segment, place)
        view: Any = SimpleNamespace(id=self.opener.room)  # all that is asked of it
        return body_answer(view, media, OURS_ONLY.media(), OURS_ONLY)

    def spoil(self, at: int) -> None:
        """Changes a byte of the ciphertext, as a bad disk does."""
        place = self.store.locate(self.segment.cid)
        assert place is not None
        with open(place.path, "r+b") as file:
            file.seek(place.offset + at)
            byte = file.read(1)[0]
            file.seek(place.offset + at)
            file.write(bytes([byte ^ 1]))


@asynccontextmanager
async def shown(folder: Path, opened: Opened) -> AsyncIterator[tuple[Recording, Running]]:
    room, session = open_room_id(bytes(32)), SessionId(1, 2)
    async with open_store(folder, StoreLimits(10**9, 1000, 0, 5.0)) as store:
        keyring, (epoch, key) = MemoryKeyring(), new_epoch(room, os.urandom)
        await keyring.keep(room, epoch, key)
        sealing, where = Sealing(room, session, epoch, key), SegmentKey(room, session, "source", 3)
        clear, packer = [os.urandom(size) for size in PARTS], Packer()
        for at, part in enumerate(clear):
            sealed = sealing.part("source", 3, part).data
            await store.write([Append(where, packer.add(sealed)[0])])
            if at % 3 == 2:
                packer.end_gop()
        packed = packer.end_segment()
        assert packed is not None
        seal = SegmentSeal(epoch, ObjectSeal(epoch, 0))
        size, cid = packed.size, packed.cid
        segment = ArchiveSegment(3, session, 0, 0, 10_000, cid, size, cid, seal)
        rendition = Rendition("source", Kind.VIDEO, "avc1.64001f", 90_000)
        record = encode_record(SegmentRecord.of(where, segment, rendition))
        await store.write([Close(where, packed.nodes, record)])
        opener = Opener(RoomId(room), store, keyring, opened)
        recording = Recording(store, opener, segment, b"".join(clear))
        async with running(responder=recording) as node:
            yield recording, node


@pytest.mark.parametrize("cold", [False, True])
async def test_it_is_what_was_streamed_whoever_asks_and_however_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cold: bool
) -> None:
    if cold:  # nothing of a file is in memory: the disk has to be waited for
        monkeypatch.setattr(files, "read_cached", lambda descriptor, offset, into: 0)
    async with shown(tmp_path, Opened()) as (recording, node):
        answers = []

        async def ask() -> None:
            answers.append(await node.get("/a"))

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
        for answer in [*answers, await node.get("/a")]:
            assert answer.status == 200
            assert answer.fields["content-length"] == str(len(recording.clear))
            assert answer.body == recording.clear
        held = recording.opener.opened.get(recording.opener.room, recording.segment.cid)
        assert held is not None
        assert b"".join(held) == recording.clear


async def test_any_range_of_it_can_be_had_on_one_connection(tmp_path: Path) -> None:
    async with shown(tmp_path, Opened(0)) as (recording, node):
        whole, client = recording.clear, await node.connect()
        head = await client.get("/a", method="HEAD")
        assert head.fields["content-length"] == str(len(whole))
        assert head.fields["accept-ranges"] == "bytes"
        edges = [0, 1, PARTS[1], CLEAR_LEAF_BYTES, PIECE_BYTES, 700_001, len(whole) - 1]
        for first in edges:
            for last in edges:
                if first > last:
                    continue
                part = await client.get("/a", f"Range: bytes={first}-{last}")
                assert part.status == 206
                assert part.fields["content-range"] == f"bytes {first}-{last}/{len(whole)}"
                assert part.body == whole[first : last + 1]
        etag = (await client.get("/a")).fields["etag"]
        assert (await client.get("/a", f"If-None-Match: {etag}")).status == 304
        assert (await client.get("/a", f"Range: bytes={len(whole)}-")).status == 416


async def test_who_goes_through_a_recording_alone_takes_nothing_from_what_many_ask_for(
    tmp_path: Path,
) -> None:
    async with shown(tmp_path, Opened()) as (recording, node):
        opened, at = recording.opener.opened, (recording.opener.room, recording.segment.cid)
        assert (await node.get("/a")).body == recording.clear
        assert opened.get(*at) is None
        assert (await node.get("/a")).body == recording.clear
        assert opened.get(*at) is not None


@pytest.mark.parametrize("at", [5, PIECE_BYTES + 5, 1_000_000])
async def test_what_a_disk_spoiled_is_never_shown_and_the_answer_ends_before_it(
    tmp_path: Path, at: int
) -> None:
    async with shown(tmp_path, Opened()) as (recording, node):
        recording.spoil(at)
        first = at < PARTS[1]
        if first:
            assert (await node.get("/a")).status == 502
            return
        with pytest.raises(Closed) as sent:
            await node.get("/a")
        assert recording.clear.startswith(sent.value.args[0])
        assert len(sent.value.args[0]) <= at
        # whoever asks again is told why
        again = await node.get("/a")
        assert (again.status, b"broken" in again.body) == (502, True)


async def test_a_reader_who_goes_away_and_one_who_is_slow_leave_nothing_behind(
    tmp_path: Path,
) -> None:
    async with shown(tmp_path, Opened(0)) as (recording, node):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            client = await node.connect()
            await client.send_request("/a")
            await client.stream.receive_some(1000)
            await client.stream.aclose()
        slow = await Client.connect(node.port, receive_buffer=4096)
        await slow.send_request("/a")
        assert (await slow.read()).body == recording.clear
        await slow.stream.aclose()
        with trio.fail_after(5):
            while len(os.listdir("/proc/self/fd")) > before:
                await trio.sleep(0.01)

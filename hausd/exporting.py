"""Gives a finished room out in one piece: a UnixFS directory, a CAR file, or one MP4."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from hausd.admin.ports import ExportFormat
from hausd.blocks.store import Store
from hausd.core.cid import CID
from hausd.core.errors import Problem
from hausd.core.live import ArchivePlaylist, RoomState
from hausd.core.manifest import ManifestError, SegmentRecord
from hausd.core.shapes import ExportShape
from hausd.core.storage import RecordingStopped
from hausd.core.unixfs import BlockMissing
from hausd.filming import film
from hausd.rooms import finished
from hausd.rooms.export import Exported
from hausd.rooms.finished import Finished
from hausd.rooms.ports import BlockStore
from hausd.rooms.room import Room
from hausd.telemetry.progress import Progress
from hausd.wire.car import CarError
from hausd.wire.car import write as write_car

_PUT_BLOCKS = 256


async def export_room(
    room: Room, store: Store, form: ExportFormat, path: Path | None, progress: Progress
) -> ExportShape:
    """Raises Problem where the room is not finished, or the file can't be written."""
    _check_finished(room)
    if form == "mp4":
        path = _needed(path)
        written = await film(room, _recorded(room), store, path, progress)
        return ExportShape(room=room.id, format=form, cid="", path=str(path), bytes=written)
    made = await finished_directory(room, store)
    shape = ExportShape(
        room=room.id,
        format=form,
        cid=str(made.exported.root),
        path="",
        bytes=made.exported.size,
        whole=made.whole,
        sealed=_sealed(room),
        free=room.free.all,
    )
    if form == "unixfs":
        return shape
    written = await _car(made.exported, store, _needed(path), progress)
    return shape.model_copy(update={"path": str(path), "bytes": written})


async def finished_directory(room: Room, store: BlockStore) -> Finished:
    """The directory of a finished room, its blocks in the store. Raises Problem."""
    _check_finished(room)
    return await _directory(room, store)


def _check_finished(room: Room) -> None:
    if room.state not in (RoomState.ENDED, RoomState.CLOSED):
        raise Problem(
            "not-finished",
            f"the room is {room.state.value}: only a finished recording can be given out",
            hint="stop the encoder and wait until the room has ended, or `hausctl rooms close`",
            status=409,
        )


def _sealed(room: Room) -> bool:
    return any(one.seal is not None for playlist in _recorded(room) for one in playlist.segments)


def _needed(path: Path | None) -> Path:
    if path is None:
        raise Problem("no-path", "say where the file goes", hint="--output FILE", status=422)
    return path


def _recorded(room: Room) -> list[ArchivePlaylist]:
    names = [variant.rendition.name for variant in room.archive_variants()]
    found = [playlist for name in names if (playlist := room.archive(name)) is not None]
    if not any(playlist.segments for playlist in found):
        raise _nothing()
    return found


async def _directory(room: Room, store: BlockStore) -> Finished:
    await room.recorder.drained()
    head = finished.newest_head(room.record)
    if head is None or not room.archive_of.segments:
        raise _nothing()

    async def get(cid: CID) -> bytes | None:
        found = await room.leaves.get(cid, may_wait=False)
        return bytes(found) if found is not None else None

    def here(record: SegmentRecord) -> bool:
        return room.archive_of.holds(record.rendition.name, record.segment.cid) is not None

    try:
        made = await finished.finished_directory(head, get, here)
        blocks = made.exported.blocks
        for at in range(0, len(blocks), _PUT_BLOCKS):
            await store.put(blocks[at : at + _PUT_BLOCKS], room.id)
    except BlockMissing as fault:
        raise Problem(
            "incomplete",
            f"a block of the recording is missing or corrupt ({fault.cid})",
            hint="`hausctl store verify` tells what is wrong",
            status=409,
        ) from fault
    except ManifestError as fault:
        raise Problem(
            "bad-manifest", f"the origin's manifest is none: {fault}", status=409
        ) from fault
    except ValueError as fault:  # also UnixFsError
        raise Problem(
            "bad-recording", f"no directory can be made of the recording: {fault}", status=409
        ) from fault
    except RecordingStopped as fault:
        raise Problem(
            "store-full", f"the directory can't be stored: {fault}", status=507
        ) from fault
    return made


def _nothing() -> Problem:
    return Problem("nothing-recorded", "nothing of this room is recorded", status=409)


async def _car(exported: Exported, store: Store, path: Path, progress: Progress) -> int:
    """Writes beside the file, then puts it in place: never half a CAR under the name."""
    draft = path.with_name(f".{path.name}.part")
    written = 0
    try:
        async with await trio.open_file(draft, "wb") as out:
            async for piece in write_car(exported.root, store.block):
                await out.write(piece)
                written += len(piece)
                progress(written, exported.size, "writing the CAR file")
            await out.flush()
            await trio.to_thread.run_sync(os.fsync, out.fileno())
        await trio.to_thread.run_sync(draft.replace, path)
    except OSError as fault:
        raise _unwritable(path, fault.strerror or str(fault)) from fault
    except (BlockMissing, CarError) as fault:
        raise Problem("incomplete", f"the recording is not whole: {fault}", status=409) from fault
    finally:
        draft.unlink(missing_ok=True)
    return written


def _unwritable(path: Path, why: str) -> Problem:
    return Problem("not-written", f"{path} can't be written: {why}", status=422)

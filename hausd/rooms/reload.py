"""Tells a room again from what the store holds of it, when the node starts.

Segments that a crash cut short are closed with the parts that were written: their times are in
the fragments themselves, what else must be known is in the room's record (``begun``).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import structlog

from hausd.core.cid import CID, CIDError
from hausd.core.freeing import FreeingError, decode_freed
from hausd.core.gating import Epoch, EpochId, Withheld
from hausd.core.live import ArchiveSegment, FileRange
from hausd.core.manifest import ManifestError, SegmentRecord, decode_record, encode_record
from hausd.core.pictures import PicturesError, decode_pictures, decode_sheets
from hausd.core.storage import Close, RecordingStopped, SegmentKey, UnclosedSegment
from hausd.rooms.packing import Leaf, Packer
from hausd.rooms.ports import BlockStore
from hausd.rooms.records import Role
from hausd.rooms.room import Room
from hausd.wire.fmp4 import BadFragment, boxes, parse_fragment

log = structlog.get_logger("hausd.rooms")


async def reload_archive(room: Room, store: BlockStore) -> list[str]:
    """Fills the room's archive and manifest; gives in plain words what was found and done."""
    found: list[str] = []
    if room.record.role is Role.ORIGIN:  # a follower fetches the rest of what was cut short
        for unclosed in store.unclosed(room.id):
            found.append(await _finish(room, store, unclosed))
    records = []
    for stored in await store.segments(room.id):
        try:
            records.append(decode_record(stored.record))
        except ManifestError as fault:
            found.append(f"a segment of room {room.id} is left out of its archive: {fault}")
    records.sort(key=lambda record: (record.segment.number, record.rendition.name))
    room.restore(records)
    return found


async def reload_freed(room: Room, store: BlockStore) -> None:
    """Tells the room again which of its keys are for everybody."""
    if not room.record.freed:
        return
    try:
        root = CID.parse(room.record.freed)
        block = await store.block(root)
        if block is not None:
            room.take_freed(root, decode_freed(block))
    except (CIDError, FreeingError) as fault:
        log.warning("free-keys-not-reloaded", room=room.id, because=str(fault))


async def reload_pictures(room: Room, store: BlockStore) -> None:
    """Shows the poster and storyboard that the room had when the node stopped."""
    if not room.record.pictures:
        return

    async def get(cid: CID) -> bytes:
        block = await store.block(cid)
        if block is None:
            raise PicturesError(f"block {cid} is missing")
        return block

    try:
        found = decode_pictures(await get(CID.parse(room.record.pictures)))
        full = [decode_sheets(await get(cid)) for cid in found.older]
        poster = await get(found.poster.cid) if found.poster is not None else None
    except (PicturesError, CIDError) as fault:
        log.info("pictures-not-reloaded", room=room.id, because=str(fault))
        return
    room.images.take([*chain.from_iterable(full), *found.sheets])
    if poster is not None and found.poster is not None:
        room.images.show(poster, found.poster.seal)


async def _finish(room: Room, store: BlockStore, unclosed: UnclosedSegment) -> str:
    """Closes a segment with what was written of it, or removes it where that can't be told."""
    key = unclosed.key
    name = f"segment {key.number} of {key.rendition} in room {key.room}"
    try:
        record, nodes = await _tell(room, store, unclosed)
        await store.write([Close(key, nodes, encode_record(record))])
    except OSError as fault:
        return f"{name} was cut short, and can't be read now: {fault.strerror}"
    except (ManifestError, BadFragment, RecordingStopped) as fault:
        try:
            await store.discard([key])
        except OSError as refused:
            why = refused.strerror
            return f"{name} was cut short, is no good ({fault}), and can't be removed: {why}"
        return f"{name} was cut short and had to be dropped: {fault}"
    seconds = record.segment.duration_ms / 1000
    return f"{name} was cut short by a crash; the {seconds:.1f} s that were written are kept"


async def _tell(
    room: Room, store: BlockStore, unclosed: UnclosedSegment
) -> tuple[SegmentRecord, tuple[tuple[CID, bytes], ...]]:
    began = room.record.begun.get(unclosed.key.rendition)
    if began is None:
        raise ManifestError("the room does not know this rendition")
    template = decode_record(began)
    key, segment = unclosed.key, template.segment
    if segment.session != key.session or key.number < segment.number or not unclosed.leaves:
        raise ManifestError("it is of an earlier run, or empty")
    leaves = await _leaves(store, unclosed)
    content, seal = b"".join(leaf for _, leaf in leaves), segment.seal
    if seal is not None:
        seal = replace(seal, epoch=_epoch(room, key))
        content = await _opened(room, replace(segment, number=key.number, seal=seal), key, leaves)
    timescale = template.rendition.timescale
    start, ticks, size = -1, 0, 0
    for part, first_dts, duration in _parts(content):
        start = first_dts if start < 0 else start
        size += len(part)
        ticks += duration
    if not size:
        raise ManifestError("it holds no whole part")
    if size != len(content):
        raise ManifestError("its last part is not whole")
    packer = Packer()
    packer.place(leaves)
    packed = packer.end_segment()
    assert packed is not None  # there are leaves
    segment = replace(
        segment,
        number=key.number,
        program_time_ms=segment.program_time_ms + round(start * 1000 / timescale),
        duration_ms=round(ticks * 1000 / timescale),
        cid=packed.cid,
        size=packed.size,
        seal=seal,
    )
    return SegmentRecord.of(key, segment, template.rendition), packed.nodes


async def _leaves(store: BlockStore, unclosed: UnclosedSegment) -> tuple[Leaf, ...]:
    """What was written of a segment, each leaf what its CID says."""
    first = store.locate(unclosed.leaves[0][0])
    size = sum(length for _, length in unclosed.leaves)
    place = FileRange(first.path, 0, size) if first is not None else None
    content = await store.read_range(place) if place is not None else None
    if content is None:
        raise ManifestError("its file can't be read")
    view, at, found = memoryview(content), 0, []
    for cid, length in unclosed.leaves:
        found.append((cid, view[at : at + length]))
        at += length
    if any(CID.of(leaf) != cid for cid, leaf in found):
        raise ManifestError("a block of it is damaged")
    return tuple(found)


def _epoch(room: Room, key: SegmentKey) -> Epoch:
    """The epoch of a segment of the session that the crash ended."""
    begun = [Epoch(EpochId(id_), said) for at, id_, said in room.record.epochs if at <= key.number]
    if not begun:
        raise ManifestError("the room does not know the epoch that it is sealed in")
    return begun[-1]


async def _opened(
    room: Room, segment: ArchiveSegment, key: SegmentKey, leaves: tuple[Leaf, ...]
) -> bytes:
    """What was written of a sealed segment, in clear: its times are in there."""
    found = await room.opener.leaves(key.rendition, segment, leaves)
    if isinstance(found, Withheld):
        raise ManifestError(found.message)
    return found


def _parts(content: bytes) -> list[tuple[bytes, int, int]]:
    """Each fragment with its first decode time and its duration, in ticks."""
    view, at, found = memoryview(content), 0, []
    opened = 0
    for kind, body in boxes(view):
        at += len(body) + 8
        if kind == b"mdat":
            part = bytes(view[opened:at])
            _, samples = parse_fragment(part)
            found.append((part, samples[0].dts, sum(sample.duration for sample in samples)))
            opened = at
    return found

"""Tells a room again from what the store holds of it, when the node starts."""

from __future__ import annotations

from hausd.core.manifest import ManifestError, decode_record
from hausd.rooms.ports import BlockStore
from hausd.rooms.room import Room


async def reload_archive(room: Room, store: BlockStore) -> list[str]:
    """Fills the room's archive and manifest; gives in plain words what could not be read."""
    faults: list[str] = []
    records = []
    for stored in await store.segments(room.id):
        try:
            record = decode_record(stored.record)
        except ManifestError as fault:
            faults.append(f"a segment of room {room.id} is left out of its archive: {fault}")
            continue
        records.append(record)
    records.sort(key=lambda record: (record.segment.number, record.rendition.name))
    for record in records:
        room.restore(record)
    return faults

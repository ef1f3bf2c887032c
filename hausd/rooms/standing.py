"""An origin's room beside its event."""

from __future__ import annotations

from hausd.core.cid import CID
from hausd.core.events import RoomEvent
from hausd.policy.onchain import Place, Standing
from hausd.rooms.origin_room import OriginRoom


def standing_of(room: OriginRoom, event: RoomEvent) -> Standing:
    """A room here beside its event there."""
    head, written, record = room.head, event.checkpoint, room.record
    finished = record.directory and record.directory_of == record.manifest
    return Standing(
        room=room.state,
        event=event.state,
        signs=event.authority.raw == record.authority,
        newest=Place(head.session, head.n) if head is not None else None,
        written=Place(written.session, written.n) if written is not None else None,
        recording=CID.parse(record.directory) if finished else None,
        told=event.recording,
        to_free=record.free_finalized and record.sealed and not room.is_free,
        renditions=sum(live.active for live in room.tracks.values()) or 1,
    )

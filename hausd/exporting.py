"""Gives a finished room out in one piece: a UnixFS directory, a CAR file, or one MP4."""

from __future__ import annotations

from pathlib import Path

from hausd.admin.ports import ExportFormat
from hausd.blocks.store import Store
from hausd.core.errors import Problem
from hausd.core.shapes import ExportShape
from hausd.rooms.room import Room
from hausd.telemetry.progress import Progress


async def export_room(
    room: Room, store: Store, form: ExportFormat, path: Path | None, progress: Progress
) -> ExportShape:
    """Raises Problem where the room is not finished, or the file can't be written."""
    raise Problem("not-yet", "exports come with the next change", status=501)

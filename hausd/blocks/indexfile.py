"""Opening the index, and beginning it anew where it can't be read."""

from __future__ import annotations

import contextlib
import os
import sqlite3

import structlog

from hausd.blocks.errors import StoreError, unreadable
from hausd.blocks.index import BadRow, Index, IndexIsNewer, Row
from hausd.blocks.layout import FileKind, Layout

log = structlog.get_logger("hausd.blocks")


def open_index(layout: Layout) -> tuple[Index, list[Row | BadRow], list[str]]:
    """The index and what it holds; one that is missing or broken is begun anew."""
    notes = []
    if not os.path.exists(layout.index):
        _remove_side_files(layout.index)
        if next(layout.names(FileKind.SEGMENT), None) is not None:
            notes.append("the index was missing and was made again from the files")
    try:
        return *_read_index(layout.index), notes
    except IndexIsNewer:
        raise StoreError(
            f"the store {layout.root} was written by a newer hausd: use that one, or another "
            "store.path"
        ) from None
    except sqlite3.Error as fault:
        if not unreadable(fault):
            raise StoreError(f"the store's index {layout.index} can't be opened: {fault}") from None
        log.error("index-broken", reason=str(fault))
    notes.append("the index was damaged and was made again from the files")
    try:
        return replace_index(layout), [], notes
    except sqlite3.Error as fault:
        raise StoreError(f"the store's index {layout.index} can't be made: {fault}") from None


def replace_index(layout: Layout) -> Index:
    """Sets a broken index aside and begins an empty one; raises sqlite3.Error, OSError."""
    _remove_side_files(layout.index)
    with contextlib.suppress(FileNotFoundError):
        os.replace(layout.index, layout.index + ".broken")
    return Index(layout.index)


def _remove_side_files(path: str) -> None:
    """A write-ahead log without its database must not be replayed into the next one."""
    for suffix in ("-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _read_index(path: str) -> tuple[Index, list[Row | BadRow]]:
    index = Index(path)
    try:
        return index, list(index.rows())
    except BaseException:
        index.close()
        raise

"""Where things lie below the store's directory, and which names they may have.

    lock  index.sqlite  journal  pins.json
    segments/<room>/<session>/<rendition>/<number>.seg
    packs/<room>/<number>.pack
    lost+found/

A file's *name* is its path below ``segments`` or ``packs`` without the suffix.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from hausd.core.ids import RoomId, SessionId, parse_room_id
from hausd.core.storage import SegmentKey

_RENDITION = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,11}")


class FileKind(IntEnum):
    """What a file of the store holds."""

    SEGMENT = 0
    PACK = 1


_FOLDERS = {FileKind.SEGMENT: "segments", FileKind.PACK: "packs"}
_SUFFIXES = {FileKind.SEGMENT: ".seg", FileKind.PACK: ".pack"}
_DEPTHS = {FileKind.SEGMENT: 4, FileKind.PACK: 2}


def segment_name(key: SegmentKey) -> str:
    """The name of a segment's file; raises ValueError where a part of the key can't be in one."""
    name = f"{key.room}/{key.session}/{key.rendition}/{key.number}"
    if parse_segment_name(name) != key:
        raise ValueError(f"{name!r} can't name a segment")
    return name


def parse_segment_name(untrusted: str) -> SegmentKey:
    """Reads a name; raises ValueError."""
    folder, slash, number = untrusted.rpartition("/")
    if not slash:
        raise ValueError(f"{untrusted!r} is not room/session/rendition/number")
    return SegmentKey(*_parse_folder(folder), _parse_number(number))


@lru_cache(maxsize=256)
def _parse_folder(untrusted: str) -> tuple[RoomId, SessionId, str]:
    """What all segments of a rendition have in common; kept, as a start reads thousands."""
    parts = untrusted.split("/")
    if len(parts) != 3:
        raise ValueError(f"{untrusted!r} is not room/session/rendition")
    room, session, rendition = parts
    if not _RENDITION.fullmatch(rendition):
        raise ValueError(f"{rendition!r} can't name a rendition: a-z, 0-9, '_', '-', '.'")
    return parse_room_id(room), SessionId.parse(session), rendition


def pack_name(room: RoomId, number: int) -> str:
    """The name of a room's ``number``-th pack; raises ValueError where the room can't be in one."""
    return f"{parse_room_id(room)}/{number}"


def parse_pack_name(untrusted: str) -> tuple[RoomId, int]:
    """Reads a name; raises ValueError."""
    room, slash, number = untrusted.partition("/")
    if not slash:
        raise ValueError(f"{untrusted!r} is not room/number")
    return parse_room_id(room), _parse_number(number)


def _parse_number(untrusted: str) -> int:
    if not _NUMBER.fullmatch(untrusted):
        raise ValueError(f"{untrusted!r} is not a number of at most 12 digits")
    return int(untrusted)


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below the store's directory ``root`` (absolute)."""

    root: str

    @property
    def lock(self) -> str:
        return f"{self.root}/lock"

    @property
    def index(self) -> str:
        return f"{self.root}/index.sqlite"

    @property
    def journal(self) -> str:
        return f"{self.root}/journal"

    @property
    def pins(self) -> str:
        return f"{self.root}/pins.json"

    @property
    def lost(self) -> str:
        return f"{self.root}/lost+found"

    def folder(self, kind: FileKind) -> str:
        """What holds all files of a kind."""
        return f"{self.root}/{_FOLDERS[kind]}"

    def path(self, kind: FileKind, name: str) -> str:
        """The file of this name, which must be a checked one."""
        return f"{self.root}/{_FOLDERS[kind]}/{name}{_SUFFIXES[kind]}"

    def names(self, kind: FileKind) -> Iterator[str]:
        """Names of all files of a kind that are there. Foreign files are passed over."""
        yield from _walk(self.folder(kind), _DEPTHS[kind], _SUFFIXES[kind], kind)


def _walk(root: str, depth: int, suffix: str, kind: FileKind) -> Iterator[str]:
    parse = parse_segment_name if kind is FileKind.SEGMENT else parse_pack_name
    stack = [("", depth)]
    while stack:
        at, below = stack.pop()
        try:
            entries = os.listdir(f"{root}/{at}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        if below > 1:
            stack.extend((f"{at}{entry}/", below - 1) for entry in entries)
            continue
        for entry in entries:
            name = f"{at}{entry.removesuffix(suffix)}"
            if entry.endswith(suffix):
                try:
                    parse(name)
                except ValueError:
                    continue
                yield name

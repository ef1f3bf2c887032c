"""Rooms, segments and stores for tests of the block store."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from hausd.blocks.quota import StoreLimits
from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.ids import RoomId, SessionId, open_room_id
from hausd.core.storage import Append, Close, SegmentKey

LIMITS = StoreLimits(quota_bytes=10**9, quota_files=10_000, reserve_bytes=0, sync_s=3600)
"""Roomy, and synced only when asked or closed."""


def room(number: int = 1) -> RoomId:
    """An open room's id."""
    return open_room_id(number.to_bytes(32, "big"))


def key(
    number: int = 0, *, rendition: str = "source", session: int = 1, of: RoomId | None = None
) -> SegmentKey:
    return SegmentKey(of or room(), SessionId(session, 7), rendition, number)


def leaf(seed: object, size: int = 1000) -> bytes:
    """The same bytes for the same seed."""
    return random.Random(repr(seed)).randbytes(size)


@dataclass
class Segment:
    """A segment in the making: gives the changes that write it, and knows its CIDs."""

    key: SegmentKey
    gops: list[list[bytes]]
    made: list[unixfs.Made] = field(default_factory=list)

    def append(self, gop: int) -> Append:
        return Append(self.key, tuple((CID.of(data), data) for data in self.gops[gop]))

    def close(self) -> Close:
        return Close(self.key, self.nodes(), self.record)

    def changes(self) -> list[Append | Close]:
        return [*(self.append(gop) for gop in range(len(self.gops))), self.close()]

    def nodes(self) -> tuple[tuple[CID, bytes], ...]:
        self.made = []
        for gop in self.gops:
            self.made.append(
                unixfs.file_over([unixfs.raw_child(CID.of(data), len(data)) for data in gop])
            )
        whole = unixfs.file_over([made.child for made in self.made])
        nodes = [*self.made, whole] if whole.cid != self.made[-1].cid else self.made
        return tuple(block for made in nodes for block in made.blocks)

    @property
    def cid(self) -> CID:
        self.nodes()
        return unixfs.file_over([made.child for made in self.made]).cid

    def gop_cid(self, gop: int) -> CID:
        self.nodes()
        return self.made[gop].cid

    @property
    def content(self) -> bytes:
        return b"".join(data for gop in self.gops for data in gop)

    @property
    def leaves(self) -> list[bytes]:
        return [data for gop in self.gops for data in gop]

    @property
    def record(self) -> bytes:
        return f"record of {self.key.number}".encode()


def segment(
    number: int = 0,
    *,
    rendition: str = "source",
    session: int = 1,
    of: RoomId | None = None,
    gops: int = 3,
    leaves: int = 4,
    size: int = 1000,
) -> Segment:
    """A segment whose leaves are all different, and the same in every run."""
    own = key(number, rendition=rendition, session=session, of=of)
    return Segment(
        own,
        [[leaf((own, gop, at), size) for at in range(leaves)] for gop in range(gops)],
    )


def disk_bytes(path: Path) -> int:
    """What ``du`` counts of a store, folders aside."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            total += os.stat(os.path.join(folder, name)).st_blocks * 512
    return total


def flip(path: Path, bit: int) -> None:
    """Turns one bit of a file over."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


class ManualClock:
    """Wall time that moves only when told."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

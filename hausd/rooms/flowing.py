"""A recorded segment of a gated room, opened while it is sent.

A few leaves at a time go from the page cache into a buffer, opened into another, and from there
into the socket: all within the processor's cache, without a thread. A whole segment's fresh
memory, and handing it from thread to thread, cost several times what AES-GCM does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import trio

from hausd.core.live import Flow, FlowBroken
from hausd.core.media import LEAF_BYTES
from hausd.rooms.ports import RangeReader
from hausd.wire.leafseal import SEAL_BYTES, SealBroken

PIECE_BYTES = 6 * LEAF_BYTES
_SPARE = 4
_TURN_S = 0.0005
"""After so long others get their turn."""
_SHORT = "the file ends before the segment does"


class NotOpened(FlowBroken):
    """What lies there is not what was sealed."""


class Buffers:
    """Buffers of PIECE_BYTES; a few are kept for reuse."""

    def __init__(self) -> None:
        self._spare: list[memoryview] = []

    @contextmanager
    def one(self) -> Iterator[memoryview]:
        """A buffer that nobody else uses."""
        spare = self._spare
        buffer = spare.pop() if spare else memoryview(bytearray(PIECE_BYTES))
        try:
            yield buffer
        finally:
            if len(spare) < _SPARE:
                spare.append(buffer)


class Group(NamedTuple):
    """Leaves that are opened together: their number, where they begin, and what they take."""

    leaf: int
    sizes: tuple[int, ...]
    sealed_at: int
    sealed_bytes: int
    clear_at: int
    clear_bytes: int


class Layout(NamedTuple):
    """How a sealed segment is opened; ``sealed`` and ``clear`` are its sizes in bytes."""

    groups: tuple[Group, ...]
    sealed: int
    clear: int


def layout(sizes: Sequence[int]) -> Layout:
    """Of a segment with leaves of these sizes, in order, each of at most LEAF_BYTES."""
    groups: list[Group] = []
    leaf = sealed_at = clear_at = 0
    while leaf < len(sizes):
        end, sealed = leaf, 0
        while end < len(sizes) and sealed + sizes[end] <= PIECE_BYTES:
            sealed += sizes[end]
            end += 1
        clear = sealed - SEAL_BYTES * (end - leaf)
        groups.append(Group(leaf, tuple(sizes[leaf:end]), sealed_at, sealed, clear_at, clear))
        leaf, sealed_at, clear_at = end, sealed_at + sealed, clear_at + clear
    return Layout(tuple(groups), sealed_at, clear_at)


Reading = Callable[[], AbstractContextManager[RangeReader]]
"""Opens where a segment lies."""
Opening = Callable[[int, Sequence[int], memoryview, memoryview], int]
"""Opens leaves from one on, as ``LeafCipher.open_into`` does."""


def flow(
    read: Reading, open_: Opening, how: Layout, buffers: Buffers, broken: Callable[[], object]
) -> Flow:
    """What is sent; ``broken`` is told where a leaf does not open."""

    async def pieces(start: int, stop: int) -> AsyncGenerator[memoryview]:
        try:
            with read() as reader:
                began_s = time.perf_counter()
                for leaf, sizes, sealed_at, sealed_bytes, clear_at, clear_bytes in how.groups:
                    if clear_at + clear_bytes <= start or clear_at >= stop:
                        continue
                    # given back before others get their turn: all use the same, which is in cache
                    with buffers.one() as clear:
                        with buffers.one() as sealed:
                            taken = sealed[:sealed_bytes]
                            if not await reader.fill(sealed_at, taken):
                                raise FlowBroken(_SHORT)
                            open_(leaf, sizes, taken, clear)
                        yield clear[max(start - clear_at, 0) : min(stop - clear_at, clear_bytes)]
                    if time.perf_counter() - began_s > _TURN_S:
                        await trio.lowlevel.checkpoint()
                        began_s = time.perf_counter()
        except SealBroken as fault:
            broken()
            raise NotOpened(str(fault)) from None

    return Flow(how.clear, pieces)


async def look(read: Reading, open_: Opening, how: Layout, buffers: Buffers) -> None:
    """Whether the first leaf is here and opens: raises SealBroken, OSError where not."""
    size = how.groups[0].sizes[0]
    with read() as reader, buffers.one() as clear, buffers.one() as sealed:
        if not await reader.fill(0, sealed[:size]):
            raise FlowBroken(_SHORT)
        open_(0, (size,), sealed[:size], clear)

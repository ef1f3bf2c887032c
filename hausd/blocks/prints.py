"""From a block's digest to the few files that may hold it, in memory: 8 bytes a block.

A B-tree on disk would cost a page of write for every block (their digests are random), some 8 %
of what is recorded. Here each block is one 64-bit number in a sorted array: 40 bits of its digest
and the number of its file; 12 more bits choose the array. Whoever asks compares the whole digest
with the file's own table, so a coincidence costs a look, never a wrong answer.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable

_BUCKETS = 1 << 12
_HANDLE_BITS = 24
_PRINT_MASK = (1 << 40) - 1
_DROPPED_BITS = 12
_DIGEST_BYTES = 32
MAX_HANDLE = (1 << _HANDLE_BITS) - 1


class Prints:
    """A multimap of digests to file numbers (0 to MAX_HANDLE).

    One entry for each digest and file, however often the file has the block: else who repeats one
    leaf in long segments makes every look-up of it slow.
    """

    def __init__(self) -> None:
        self._buckets: list[array[int]] = [array("Q") for _ in range(_BUCKETS)]
        self.count = 0

    def add(self, digest: bytes, handle: int) -> None:
        number, value = _place(digest, handle)
        bucket = self._buckets[number]
        at = bisect_left(bucket, value)
        if at == len(bucket) or bucket[at] != value:
            bucket.insert(at, value)
            self.count += 1

    def remove(self, digest: bytes, handle: int) -> None:
        """Takes one entry away; nothing happens where it isn't."""
        number, value = _place(digest, handle)
        bucket = self._buckets[number]
        at = bisect_left(bucket, value)
        if at < len(bucket) and bucket[at] == value:
            del bucket[at]
            self.count -= 1

    def find(self, digest: bytes) -> list[int]:
        """Files that may hold the block."""
        number, lowest = _place(digest, 0)
        bucket = self._buckets[number]
        at = bisect_left(bucket, lowest)
        found = []
        past = lowest + (1 << _HANDLE_BITS)
        while at < len(bucket) and bucket[at] < past:
            found.append(bucket[at] & MAX_HANDLE)
            at += 1
        return found

    def forget(self, handle: int) -> None:
        """Takes all entries of a file away, whatever they are. Slow: looks at every entry."""
        for number, bucket in enumerate(self._buckets):
            kept = array("Q", (value for value in bucket if value & MAX_HANDLE != handle))
            self.count -= len(bucket) - len(kept)
            self._buckets[number] = kept

    def load(self, prints: bytes, handle: int) -> None:
        """Adds a whole file's, as ``pack`` gave them. Call ``settle`` before the next look-up."""
        numbers = array("Q")
        numbers.frombytes(prints)
        buckets = self._buckets
        # As ``_place`` does, with both shifts in one.
        mask, shift = _PRINT_MASK << _DROPPED_BITS, _HANDLE_BITS - _DROPPED_BITS
        for number in numbers:
            buckets[number >> 52].append((number & mask) << shift | handle)
        self.count += len(numbers)

    def settle(self) -> None:
        """Puts everything loaded in order, without doubles."""
        self._buckets = [array("Q", sorted(set(bucket))) for bucket in self._buckets]
        self.count = sum(map(len, self._buckets))


def pack(digests: bytes | bytearray, more: Iterable[bytes] = ()) -> bytes:
    """What ``load`` takes, of digests that stand one after the other, and of single ones more."""
    numbers = array("Q")
    numbers.frombytes(bytes(digests) + b"".join(more))
    heads = numbers[:: _DIGEST_BYTES // numbers.itemsize]
    if sys.byteorder == "little":
        heads.byteswap()
    return heads.tobytes()


def _place(digest: bytes, handle: int) -> tuple[int, int]:
    number = int.from_bytes(digest[:8], "big")
    return number >> 52, ((number >> _DROPPED_BITS) & _PRINT_MASK) << _HANDLE_BITS | handle

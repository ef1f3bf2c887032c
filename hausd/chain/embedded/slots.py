"""The embedded chain's time: its slots, and the blockhashes by which transactions are of now."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict, deque

from solders.hash import Hash

from hausd.core.clock import Clock

SLOT_MS = 400
BLOCKHASH_SLOTS = 150
SLOTS_PER_EPOCH = 432_000
_REMEMBERED = 512
"""Slots whose hashes programs may read. Source: solana-slot-hashes' MAX_ENTRIES."""


class Time:
    """Slots follow the wall clock, and never go back even where it does."""

    def __init__(
        self, clock: Clock, began_ms: int, secret: bytes, newest_slot: int, newest_s: int
    ) -> None:
        """``newest_slot``, ``newest_s``: the slot and time of the newest transaction."""
        self._clock = clock
        self._zero_ms = began_ms
        self._secret = secret
        self._least_slot = newest_slot
        self._least_s = newest_s
        self._hashes: OrderedDict[bytes, int] = OrderedDict()
        self._newest_hash_slot = -1
        self._recent: deque[tuple[int, Hash]] = deque(maxlen=_REMEMBERED)

    @property
    def slot(self) -> int:
        """The slot of now."""
        by_clock = (self._clock.now_ms() - self._zero_ms) // SLOT_MS
        self._least_slot = max(self._least_slot, by_clock)
        return self._least_slot

    @property
    def seconds(self) -> int:
        """The chain's time, seconds since 1970."""
        self._least_s = max(self._least_s, self._clock.now_ms() // 1000)
        return self._least_s

    def blockhash(self) -> tuple[Hash, int]:
        """The newest blockhash, and the last slot at which it is good."""
        slot = self._hashes_to_now()
        return self.hash_of(slot), slot + BLOCKHASH_SLOTS

    def knows(self, blockhash: bytes) -> bool:
        """Whether a transaction with this blockhash may be executed now."""
        self._hashes_to_now()
        return blockhash in self._hashes

    def hash_of(self, slot: int) -> Hash:
        """A slot's blockhash."""
        return Hash(self._bytes_of(slot))

    def began_s(self, slot: int) -> int:
        """When a slot began by the clock, in seconds since 1970."""
        return (self._zero_ms + slot * SLOT_MS) // 1000

    def recent(self) -> list[tuple[int, Hash]]:
        """What programs see of slots, newest first: the sysvar SlotHashes.

        A cluster's ends with the slot before; but there the newest slot that is final, from which
        clients make lookup tables, is long past, and here it is the one of now.
        """
        now = self.slot
        newest = self._recent[0][0] if self._recent else -1
        for slot in range(max(newest + 1, now + 1 - _REMEMBERED, 0), now + 1):
            self._recent.appendleft((slot, self.hash_of(slot)))
        return list(self._recent)

    def _hashes_to_now(self) -> int:
        slot = self.slot
        first = max(self._newest_hash_slot + 1, slot - BLOCKHASH_SLOTS, 0)
        for each in range(first, slot + 1):
            self._hashes[self._bytes_of(each)] = each
        self._newest_hash_slot = slot
        while len(self._hashes) > BLOCKHASH_SLOTS + 1:
            self._hashes.popitem(last=False)
        return slot

    def _bytes_of(self, slot: int) -> bytes:
        return hmac.digest(self._secret, slot.to_bytes(8, "big"), hashlib.sha256)

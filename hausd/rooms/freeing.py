"""Makes keys of a room that is made here free, and has its heads link to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hausd.core.cid import CID, Codec
from hausd.core.errors import Problem
from hausd.core.freeing import MAX_FREE_KEYS, Freed, FreeKey, encode_freed
from hausd.core.ids import RoomId
from hausd.rooms.announcer import Announcer
from hausd.rooms.free import FreeKeys
from hausd.rooms.leaftable import LeafTable
from hausd.rooms.recorder import Recorder
from hausd.rooms.records import RoomRecord, free_terms, take_free_terms


@dataclass(slots=True)
class Freeing:
    """What was made free stays so: who has the key has it."""

    record: RoomRecord
    keys: FreeKeys
    announcer: Announcer
    leaves: LeafTable
    recorder: Recorder
    save: Callable[[], None]
    notice: Callable[[str, str], None]

    def choose(self, first_s: int | None, rendition: str | None, finalized: bool | None) -> None:
        """What is to be free from now on; None: as it was chosen before. Raises Problem."""
        record = self.record
        try:
            terms = free_terms(record).changed(first_s, rendition, finalized)
        except ValueError as fault:
            raise Problem("bad-preview", str(fault), status=422) from None
        if terms and record.gated is False:
            raise Problem(
                "not-gated",
                "the room is for everybody anyway",
                "rooms create --gated and events create --ticket-price make one that is not",
                409,
            )
        take_free_terms(record, terms)

    def free(self, keys: Iterable[FreeKey], *, all_of_it: bool = False) -> bool:
        """From the next head on, these too are for everybody; False where they are too many."""
        listed = {(key.epoch, key.use): key for key in (*self.keys.listed(), *keys)}
        if len(listed) > MAX_FREE_KEYS:
            self.notice("free-full", f"More than {MAX_FREE_KEYS} of a room's keys can't be free.")
            return False
        freed = Freed(RoomId(self.record.id), tuple(listed.values()), all_of_it or self.keys.all)
        block = encode_freed(freed)
        root = CID.of(block, Codec.DAG_CBOR)
        self.keys.list(freed)
        self.leaves.add(((root, block),))
        self.announcer.free_list = root

        def kept() -> None:
            self.record.freed = str(root)
            self.save()

        self.recorder.put(((root, block),), kept)
        return True

"""An origin's poster and storyboard: for the next head, for who asks, and for after a crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hausd.core.cid import CID
from hausd.core.ids import RoomId
from hausd.rooms.announcer import Announcer
from hausd.rooms.images import Images
from hausd.rooms.leaftable import LeafTable
from hausd.rooms.ports import BlockStore
from hausd.rooms.recorder import Recorder
from hausd.rooms.records import RoomRecord
from hausd.rooms.sealing import Sealing
from hausd.wire.leafseal import MAX_OBJECT_BYTES, ObjectClass
from hausd.wire.worker import ImageMade


@dataclass(slots=True)
class Depicting:
    """What changes every few seconds others get from memory; what changes seldom is stored."""

    record: RoomRecord
    images: Images
    announcer: Announcer
    leaves: LeafTable
    recorder: Recorder
    store: BlockStore
    save: Callable[[], None]
    sealing: Callable[[], Sealing | None]
    _root: CID | None = None

    def add(self, made: ImageMade, jpeg: bytes, start_ms: int) -> None:
        """A worker made an image. Raises ValueError where no node would take it.

        A row of the storyboard (25 s) is kept with the poster of then: the list of what there was
        before is nowhere else.
        """
        sealing, seal = self.sealing(), None
        if sealing is not None:
            if len(jpeg) > MAX_OBJECT_BYTES:
                return  # a seal's few bytes too large for a leaf: the next one may be smaller
            seal, jpeg = sealing.object(ObjectClass(made.use), jpeg)
        cid = self.images.add(made, jpeg, start_ms, seal)
        if made.use == "storyboard":
            self.recorder.put(((cid, jpeg),))
        self.show()
        if made.use == "storyboard":
            self.keep()

    def show(self) -> None:
        """Has the next head link to them."""
        (root, block), full = self.images.nodes(RoomId(self.record.id))
        aside = {root: block}
        poster = self.images.poster
        if poster is not None and isinstance(poster.body, tuple):
            aside[poster.cid] = b"".join(poster.body)
        self.leaves.set_aside(aside)
        self.recorder.put(tuple(one for one in full if not self.store.has(one[0])))
        self.announcer.pictures = self._root = root

    def keep(self) -> None:
        """For after a restart or a crash, and for who comes later."""
        root = self._root

        def kept() -> None:
            self.record.pictures = str(root)
            self.save()

        if root is not None and self.record.pictures != str(root):
            self.recorder.put(self.leaves.aside, kept)

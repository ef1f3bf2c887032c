"""A session's seals: which epoch an archive segment is of, and everything sealed once in it.

Lives in memory only. A node that comes back begins another session, with another epoch.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from hausd.core.forms import MAX_SEGMENT
from hausd.core.freeing import FreeKey
from hausd.core.gating import Epoch, EpochFrom, EpochKey, ObjectSeal
from hausd.core.ids import RoomId, SessionId
from hausd.wire.leafseal import (
    LeafCipher,
    ObjectCipher,
    ObjectClass,
    ObjectSealer,
    PartSealer,
    Stream,
    object_use,
    rendition_use,
    use_key,
)
from hausd.wire.seals import MAX_EPOCHS

_LEAD_SEGMENTS = 2
"""A new epoch begins with the segment after the next: there is one whole segment to fetch its key
in."""


@dataclass(frozen=True, slots=True)
class SealedPart:
    """A part as it is stored and sent; ``leaf`` is its first in the segment."""

    data: bytes
    epoch: Epoch
    leaf: int


@dataclass(slots=True)
class _Begun:
    """An epoch of this session."""

    at: EpochFrom
    key: EpochKey
    parts: dict[str, PartSealer] = field(default_factory=dict)
    objects: dict[ObjectClass, ObjectSealer] = field(default_factory=dict)


class Sealing:
    """One session's epochs; the first holds from its first segment on."""

    def __init__(self, room: RoomId, session: SessionId, epoch: Epoch, key: EpochKey) -> None:
        self._room = room
        self._session = session
        self._newest = -1
        self._begun = [_Begun(EpochFrom(0, epoch), key)]

    @property
    def epochs(self) -> tuple[EpochFrom, ...]:
        """Those that parts may still be of, and the next."""
        return tuple(begun.at for begun in self._begun)

    @property
    def newest(self) -> EpochFrom:
        """The epoch that was added last."""
        return self._begun[-1].at

    @property
    def pending(self) -> bool:
        """Whether another epoch has to wait: nothing was sealed in the newest one yet, or no
        segment can follow that a statement could name."""
        return self._newest < self.newest.segment or self._newest + _LEAD_SEGMENTS > MAX_SEGMENT

    def add(self, epoch: Epoch, key: EpochKey) -> EpochFrom:
        """The epoch after those that there are; gives where it begins."""
        segment = max(self._newest + _LEAD_SEGMENTS, self.newest.segment + 1)
        self._begun.append(_Begun(EpochFrom(segment, epoch), key))
        del self._begun[:-MAX_EPOCHS]
        return self.newest

    def free_keys(self, renditions: Collection[str]) -> list[FreeKey]:
        """The keys that open these renditions, and their inits, in the epochs that there are."""
        uses = [*map(rendition_use, renditions), object_use(ObjectClass.INIT)]
        return [
            FreeKey(id_, use, use_key(begun.key, self._room, id_, use).raw)
            for begun in self._begun
            for id_ in [begun.at.epoch.id]
            for use in uses
        ]

    @property
    def in_force(self) -> Epoch:
        """What the newest segment is sealed in."""
        return self._of(self._newest_segment).at.epoch

    def epoch_of(self, segment: int) -> Epoch:
        """The epoch of an archive segment. Raises ValueError where that is gone."""
        return self._of(segment).at.epoch

    def part(self, rendition: str, segment: int, clear: bytes) -> SealedPart:
        """Seals the next part of a rendition. Raises ValueError where it is of a segment before
        the rendition's newest, or of an epoch long over."""
        begun = self._of(segment)
        sealer = begun.parts.get(rendition)
        if sealer is None:
            stream = Stream(self._room, self._session, rendition, begun.at.epoch.id)
            sealer = begun.parts[rendition] = PartSealer(LeafCipher(begun.key, stream))
        leaf, data = sealer.seal(segment, clear)
        self._newest = max(self._newest, segment)
        return SealedPart(data, begun.at.epoch, leaf)

    def object(self, of: ObjectClass, clear: bytes) -> tuple[ObjectSeal, bytes]:
        """Seals an init or image in the epoch of the newest segment. Raises ValueError where it
        is too large."""
        begun = self._of(self._newest_segment)
        sealer = begun.objects.get(of)
        if sealer is None:
            cipher = ObjectCipher(begun.key, self._room, begun.at.epoch.id, of)
            sealer = begun.objects[of] = ObjectSealer(cipher)
        n, data = sealer.seal(clear)
        return ObjectSeal(begun.at.epoch, n), data

    @property
    def _newest_segment(self) -> int:
        return max(self._newest, self._begun[0].at.segment)

    def _of(self, segment: int) -> _Begun:
        if segment > MAX_SEGMENT:
            raise ValueError(f"segment {segment} is beyond what a statement can name")
        for begun in reversed(self._begun):
            if begun.at.segment <= segment:
                return begun
        raise ValueError(f"segment {segment} is of an epoch that is long over")

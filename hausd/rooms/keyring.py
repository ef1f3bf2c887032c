"""Keys of gated rooms' epochs in memory only."""

from __future__ import annotations

from collections.abc import Mapping

from hausd.core.gating import Epoch, EpochId, EpochKey, Withheld
from hausd.core.ids import RoomId

_NO_HOLDER = Withheld(
    "no-key", "this node has no key of the room, and asks nobody for one", "buy or use a ticket"
)


class MemoryKeyring:
    """Implements ``ports.Keyring``: what was put in, for as long as the process lives."""

    def __init__(self) -> None:
        self._keys: dict[tuple[RoomId, EpochId], EpochKey] = {}

    def get(self, room: RoomId, epoch: EpochId) -> EpochKey | None:
        return self._keys.get((room, epoch))

    def held(self, room: RoomId, epoch: Epoch) -> EpochKey | None:
        found = self.get(room, epoch.id)
        return found if found is not None and epoch.is_opened_by(room, found) else None

    async def ask(self, room: RoomId, epoch: Epoch) -> EpochKey | Withheld:
        return self.held(room, epoch) or _NO_HOLDER

    async def all_of(self, room: RoomId) -> Mapping[EpochId, EpochKey]:
        return {id_: key for (at, id_), key in self._keys.items() if at == room}

    async def keep(self, room: RoomId, epoch: Epoch, key: EpochKey) -> None:
        if not epoch.is_opened_by(room, key):
            raise ValueError("this is not the key that the epoch's commitment is to")
        self._keys[room, epoch.id] = key

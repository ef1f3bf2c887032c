"""Has the keys of a followed room asked for as its epochs are announced, before they are needed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import structlog
import trio

from hausd.core.gating import WHOLE, Epoch, EpochId, Withheld
from hausd.core.ids import RoomId
from hausd.rooms.opening import Opener
from hausd.rooms.ports import Keyring
from hausd.wire.seals import TrackSeal

log = structlog.get_logger("hausd.rooms")

_ASK_S = 10.0
_AGAIN_S = 5.0
"""What was refused is asked for again: a ticket may be bought in the middle of a show."""
_MAX_EPOCHS = 16
_OVER, _PART = "The free preview is over", "Only the preview is free"
_NOT_YET = Withheld("try-later", "the room's key is being asked for", "try again in a moment")


class Admission:
    """``run`` owns the asking."""

    def __init__(self, room: RoomId, keyring: Keyring, opener: Opener) -> None:
        self._room = room
        self._keyring = keyring
        self._opener = opener
        self._free = opener.free
        self._epochs: OrderedDict[EpochId, Epoch] = OrderedDict()
        self._refused: dict[EpochId, Withheld] = {}
        self._in_force: EpochId | None = None
        self._news = trio.Event()

    def stated(self, seal: TrackSeal) -> None:
        """A verified statement of how a rendition is sealed."""
        self._free.tell(seal.free)
        for epoch in (seal.init.epoch, *(begun.epoch for begun in seal.epochs)):
            self._opener.learn(epoch)
            if epoch.id not in self._epochs:
                self._epochs[epoch.id] = epoch
                self._news.set()
        while len(self._epochs) > _MAX_EPOCHS:
            gone, _ = self._epochs.popitem(last=False)
            self._refused.pop(gone, None)

    def ticked(self, epoch: EpochId | None) -> None:
        """What is live now is sealed in this epoch."""
        self._in_force = epoch

    @property
    def in_force(self) -> EpochId | None:
        """The epoch of what is live."""
        return self._in_force

    @property
    def withheld(self) -> Withheld | None:
        """Why what is live can't be watched here; None where it can."""
        id_ = self._in_force
        if id_ is None or self._is_here(id_):
            return None
        why = self._refused.get(id_, _NOT_YET)
        if not self._free:
            return why
        return replace(why, message=f"{_PART if self._free.some_of(id_) else _OVER}: {why.message}")

    async def run(self) -> None:
        """Asks for what is announced and not here, until cancelled."""
        while True:
            for id_, epoch in list(self._epochs.items()):
                if not self._is_here(id_):
                    await self._ask(epoch)
            with trio.move_on_after(_AGAIN_S):
                await self._news.wait()
            self._news = trio.Event()

    def _is_here(self, id_: EpochId) -> bool:
        epoch = self._epochs.get(id_)
        if epoch is None:
            key = self._keyring.get(self._room, id_)
        else:
            key = self._keyring.held(self._room, epoch)
        return key is not None or self._free.opens(id_, WHOLE)

    async def _ask(self, epoch: Epoch) -> None:
        with trio.move_on_after(_ASK_S):
            answer = await self._keyring.ask(self._room, epoch)
            if not isinstance(answer, Withheld):
                self._refused.pop(epoch.id, None)
            elif self._refused.get(epoch.id) != answer:
                self._refused[epoch.id] = answer
                log.info("key-withheld", room=self._room, because=answer.code)

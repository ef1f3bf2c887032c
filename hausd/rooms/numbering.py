"""The numbers of a room's cards."""

from __future__ import annotations

from collections.abc import Callable

from hausd.rooms.records import RoomRecord

_SPARE = 600_000
"""Cards are numbered by the clock's milliseconds, so that this is written every 10 minutes."""


class CardNumbers:
    """They grow whatever the clock does, also across a restart: those up to ``record.cards``, which
    is ahead of what was used, are not used again."""

    def __init__(self, record: RoomRecord, save: Callable[[], None]) -> None:
        self._record = record
        self._save = save
        self._newest = record.cards

    def next(self, now_ms: int) -> int:
        """The next card's."""
        self._newest = max(self._newest + 1, now_ms)
        if self._newest >= self._record.cards:
            self._record.cards = self._newest + _SPARE
            self._save()
        return self._newest

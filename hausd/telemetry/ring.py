"""The newest log entries in memory, for ``hausctl logs``.

Bounded: at the bound the oldest entry makes way. Whoever follows and falls behind is told how
many entries went by unseen; nobody who logs ever waits for a reader.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import trio

Level = Literal["debug", "info", "warning", "error", "critical"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry, redacted. ``number`` grows by one with each entry of this process."""

    number: int
    time: datetime
    level: Level
    logger: str
    event: str
    fields: Mapping[str, object]


class LogRing:
    """Holds the newest entries. ``append`` may be called from any thread, the rest from trio."""

    def __init__(self, capacity: int) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=capacity)
        self._lock = threading.Lock()
        self._next = 0
        self._followers: dict[trio.Event, trio.lowlevel.TrioToken] = {}

    def append(
        self,
        time: datetime,
        level: Level,
        logger: str,
        event: str,
        fields: Mapping[str, object],
    ) -> None:
        """Adds an entry and wakes the followers."""
        with self._lock:
            self._entries.append(LogEntry(self._next, time, level, logger, event, fields))
            self._next += 1
            waiting, self._followers = self._followers, {}
        for wake, token in waiting.items():
            try:
                token.run_sync_soon(wake.set)
            except trio.RunFinishedError:
                continue  # the follower went with its event loop

    def recent(self, count: int, level: Level = "debug") -> list[LogEntry]:
        """The newest ``count`` entries of at least this level, oldest first."""
        return self._recent(count, level)[0]

    def _recent(self, count: int, level: Level) -> tuple[list[LogEntry], int]:
        with self._lock:
            entries, upcoming = list(self._entries), self._next
        wanted = [entry for entry in entries if at_least(entry.level, level)]
        return (wanted[-count:] if count > 0 else []), upcoming

    async def follow(
        self, count: int, level: Level = "debug"
    ) -> AsyncGenerator[LogEntry | int, None]:
        """The newest ``count`` entries, then each new one for ever.

        An ``int`` stands for that many entries lost because the reader was too slow.
        """
        recent, upcoming = self._recent(count, level)
        for entry in recent:
            yield entry
        while True:
            wake = trio.Event()
            with self._lock:
                entries = [entry for entry in self._entries if entry.number >= upcoming]
                if not entries:
                    self._followers[wake] = trio.lowlevel.current_trio_token()
            if not entries:
                try:
                    await wake.wait()
                finally:
                    with self._lock:
                        self._followers.pop(wake, None)
                continue
            if entries[0].number > upcoming:
                yield entries[0].number - upcoming
            upcoming = entries[-1].number + 1
            for entry in entries:
                if at_least(entry.level, level):
                    yield entry


def at_least(level: Level, least: Level) -> bool:
    """Whether a level is as grave as another."""
    return LEVELS.index(level) >= LEVELS.index(least)

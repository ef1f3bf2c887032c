"""Progress of work that may take a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import structlog

_QUIET_S = 2.0
"""Work that is done sooner says nothing; longer work says how far it is at most this often."""


class Progress(Protocol):
    """Is told how far a piece of work is; cheap, never blocks, may be called from any thread."""

    def __call__(self, done: int, total: int | None, what: str = "") -> None:
        """``done`` of ``total`` (None while unknown), in the work's own unit; what it is at."""


def no_progress(done: int, total: int | None, what: str = "") -> None:
    """For callers who don't want to know."""


class LoggedProgress:
    """A Progress that writes to the log, from the third second on."""

    def __init__(self, work: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        self._clock = clock
        self._next = clock() + _QUIET_S
        self._log = structlog.get_logger("hausd.progress")

    def __call__(self, done: int, total: int | None, what: str = "") -> None:
        now = self._clock()
        if now < self._next:
            return
        self._next = now + _QUIET_S
        percent = round(100 * done / total) if total else None
        self._log.info(
            "progress", work=self._work, done=done, total=total, percent=percent, at=what
        )

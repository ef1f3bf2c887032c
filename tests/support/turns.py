"""Which tests run beside each other, where several workers run them (pytest-xdist)."""

from __future__ import annotations

from fcntl import LOCK_EX, LOCK_SH, LOCK_UN, flock
from pathlib import Path


class Turns:
    """Files marked ``alone`` have the machine to themselves; all others share it.

    Two locks in a folder of the run's: who wants to be alone holds the door while it waits for
    those who are inside, so that nobody enters before it.
    """

    def __init__(self, folder: Path) -> None:
        self._door = (folder / "door").open("w")
        self._inside = (folder / "inside").open("w")
        self.alone = False

    def enter(self, *, alone: bool) -> None:
        """Waits for a turn; who is alone already stays so."""
        if self.alone and alone:
            return
        flock(self._door, LOCK_EX)
        flock(self._inside, LOCK_EX if alone else LOCK_SH)
        flock(self._door, LOCK_UN)
        self.alone = alone

    def leave(self) -> None:
        flock(self._inside, LOCK_UN)
        self.alone = False

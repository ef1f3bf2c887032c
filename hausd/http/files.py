"""Segment files kept open between requests: a bounded cache of descriptors.

A file that was evicted from the store (gone, or another one under its name) is never served from
a kept descriptor, and its descriptor is given back at the next sweep, so that the disk gets its
room.
"""

from __future__ import annotations

import os
from collections import OrderedDict


class OpenFile:
    """A descriptor and who uses it now. ``size`` is the file's when it was looked at last."""

    __slots__ = ("descriptor", "dropped", "identity", "size", "users")

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.descriptor = descriptor
        self.identity = (status.st_dev, status.st_ino)
        self.size = status.st_size
        self.users = 0
        self.dropped = False


class OpenFiles:
    """Opens files for reading; at most ``most`` that nobody uses are kept, the oldest go first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, OpenFile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def borrow(self, path: str, end: int) -> OpenFile | None:
        """The open file, to be given back; None where it is gone or has no ``end`` bytes.

        Raises OSError for other faults of the disk.
        """
        try:
            status = os.stat(path)
            file = self._kept.get(path)
            if file is not None and file.identity != (status.st_dev, status.st_ino):
                self._drop(path)
                file = None
            if file is None:
                file = OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                self._kept[path] = file
                if len(self._kept) > self._most:
                    self._drop(next(iter(self._kept)))
            else:
                file.size = status.st_size
                self._kept.move_to_end(path)
        except FileNotFoundError:
            self._drop(path)
            return None
        if file.size < end:
            return None
        file.users += 1
        return file

    def give_back(self, file: OpenFile) -> None:
        """One use of a borrowed file is over."""
        file.users -= 1
        if file.dropped and not file.users:
            os.close(file.descriptor)

    def sweep(self) -> None:
        """Drops what was unlinked since."""
        for path, file in list(self._kept.items()):
            if os.fstat(file.descriptor).st_nlink == 0:
                self._drop(path)

    def close(self) -> None:
        """Drops all; what is in use is closed when it is given back."""
        for path in list(self._kept):
            self._drop(path)

    def _drop(self, path: str) -> None:
        file = self._kept.pop(path, None)
        if file is not None:
            file.dropped = True
            if not file.users:
                os.close(file.descriptor)

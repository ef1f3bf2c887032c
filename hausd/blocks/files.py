"""Writing at the end of files: several at once, all or none.

Used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

_MAX_BUFFERS = 512
"""Fewer than IOV_MAX (1024) everywhere."""
_MAX_OPEN = 128
"""File descriptors kept; the least recently used one is closed."""

_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)

Buffer = bytes | bytearray | memoryview


@dataclass(slots=True)
class Write:
    """Bytes for the end of a file, which has ``offset`` bytes now. ``new``: it is not there yet.

    ``last``: nothing more will follow soon, so the file is closed.
    """

    path: str
    offset: int
    buffers: Sequence[Buffer]
    new: bool
    last: bool = False


class Files:
    """Files that are being written."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, int] = OrderedDict()

    def write(self, writes: Sequence[Write]) -> None:
        """Writes them all; raises OSError after ``undo``."""
        try:
            for write in writes:
                _write_all(self._descriptor(write), write.buffers, write.offset)
        except OSError:
            self.undo(writes)
            raise
        for write in writes:
            if write.last:
                self.release(write.path)

    def undo(self, writes: Sequence[Write]) -> None:
        """Takes back what was written, as far as the disk lets it.

        What stays behind a file's known end does no harm: it is overwritten, or cut off at the
        next start.
        """
        for write in writes:
            if write.new:
                self.release(write.path)
                with contextlib.suppress(OSError):
                    os.unlink(write.path)
            else:
                with contextlib.suppress(OSError):
                    os.truncate(write.path, write.offset)

    def release(self, path: str) -> None:
        """Closes a file."""
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        for path in list(self._open):
            self.release(path)

    def _descriptor(self, write: Write) -> int:
        descriptor = self._open.get(write.path)
        if descriptor is not None and not write.new:
            self._open.move_to_end(write.path)
            return descriptor
        self.release(write.path)
        flags = os.O_WRONLY | os.O_CLOEXEC
        if write.new:
            os.makedirs(os.path.dirname(write.path), mode=0o700, exist_ok=True)
            flags |= os.O_CREAT | os.O_TRUNC
        descriptor = os.open(write.path, flags, 0o600)
        self._open[write.path] = descriptor
        if len(self._open) > _MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return descriptor


def remove(path: str, root: str) -> None:
    """Removes a file, and the folders above it below ``root`` that are empty then."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    prune(os.path.dirname(path), root)


def prune(folder: str, root: str) -> None:
    """Removes a folder that is empty, and those above it below ``root`` that are empty then."""
    with contextlib.suppress(OSError):
        while folder.startswith(root + "/"):
            os.rmdir(folder)
            folder = os.path.dirname(folder)


def read_at(path: str, offset: int, length: int) -> bytes:
    """Bytes of a file, fewer where it ends before; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, length, offset)
        while len(data) < length:
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data
    finally:
        os.close(descriptor)


def read_into(descriptor: int, offset: int, into: memoryview) -> int:
    """How many bytes were read: fewer where the file ends before. Raises OSError."""
    read = 0
    while read < len(into):
        more = os.preadv(descriptor, (into[read:],), offset + read)
        if not more:
            break
        read += more
    return read


def read_cached(descriptor: int, offset: int, into: memoryview) -> int:
    """How many bytes could be read without waiting for the disk. Raises OSError."""
    if not _RWF_NOWAIT:
        return 0
    try:
        return os.preadv(descriptor, (into,), offset, _RWF_NOWAIT)
    except OSError as fault:
        if fault.errno in (errno.EAGAIN, errno.EOPNOTSUPP):  # or the file system can't say
            return 0
        raise


def sync(path: str) -> None:
    """Brings a file or folder safely to disk; one that is gone needs nothing. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def drop_cached(path: str) -> None:
    """Has the next look at a file that was synced read the disk, where the system lets us say so.

    Raises OSError.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, buffers: Sequence[Buffer], offset: int) -> None:
    rest = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
    while rest:
        written = os.pwritev(descriptor, rest[:_MAX_BUFFERS], offset)
        offset += written
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if written:
            rest[0] = rest[0][written:]

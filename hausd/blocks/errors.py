"""How the block store fails, in words for the operator."""

from __future__ import annotations

import errno
import os
import sqlite3


class StoreError(Exception):
    """The store can't be opened or used; ``args[0]`` says why and what would help."""


class StoreInUse(StoreError):
    """Another process holds this store."""


class Damaged(ValueError):
    """Bytes on disk are not what they should be; ``args[0]`` says where it shows."""


_HELP = {
    errno.ENOSPC: "the disk is full: free some space on it, or lower store.quota",
    errno.EDQUOT: "this user's disk quota is used up: free some space, or have it raised",
    errno.EIO: "the disk gives input/output errors: see the kernel log (dmesg) and replace it",
    errno.EROFS: "the file system is mounted read-only: see the kernel log (dmesg) for the reason",
    errno.EACCES: "permission is denied: the store and all in it must belong to hausd's user",
    errno.EPERM: "the operation is not permitted: the store must belong to hausd's user",
    errno.EFBIG: "a file may not grow further: raise the file size limit (ulimit -f)",
    errno.EMFILE: "hausd has too many files open: raise its limit (ulimit -n, LimitNOFILE)",
    errno.ENFILE: "the machine has too many files open",
    errno.ENAMETOOLONG: "the path is too long: choose a shorter store.path",
    errno.ENOTDIR: "a part of the path is no directory: see store.path",
}


def explain(fault: OSError, path: str) -> str:
    """Why the disk refused, where, and what would help. ``path`` is the store's."""
    reason = _HELP.get(fault.errno or 0)
    if reason is None:
        reason = os.strerror(fault.errno) if fault.errno else str(fault)
    where = fault.filename if isinstance(fault.filename, str) else ""
    if not where.startswith(f"{path}/"):
        where = f"store {path}"
    return f"{reason} ({where})"


def unreadable(fault: sqlite3.Error) -> bool:
    """Whether the index file itself is broken, rather than the disk full or in the way."""
    code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code & 0xFF not in (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_NOMEM,
    )


def disk_failed(fault: sqlite3.Error) -> bool:
    """Whether the disk under the index gave an error. At a start that may also be the index."""
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR

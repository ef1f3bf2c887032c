"""Looks up host names that strangers told, in threads of their own.

Whoever keeps a name's server can have a lookup wait for half a minute, and a thread that waits
can't be called back. In the threads that all of a node shares, some dozens of such names would keep
it from its disk.
"""

from __future__ import annotations

import socket

import trio

MAX_AT_ONCE = 8
"""A name beyond them waits, while addresses that are no names are dialled."""

_limit: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("p2p-lookups")


async def looked_up(host: str, port: int) -> list[tuple[object, ...]]:
    """The names of sockets, address and port first, that a host name leads to. Raises OSError.

    The caller sets the deadline; a lookup that has begun keeps its thread until it is over.
    """
    try:
        limit = _limit.get()
    except LookupError:
        limit = trio.CapacityLimiter(MAX_AT_ONCE)
        _limit.set(limit)
    return await trio.to_thread.run_sync(_ask, host, port, abandon_on_cancel=True, limiter=limit)


def _ask(host: str, port: int) -> list[tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # a name that DNS can't be asked for
        raise socket.gaierror(socket.EAI_NONAME, "that is no name to look up") from None
    return [name for *_, name in found]

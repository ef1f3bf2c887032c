"""The Unix socket: only its owner may open it (mode 0600), and hypercorn speaks HTTP on it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from hypercorn.config import Config
from starlette.types import ASGIApp

from hausd.serving import Connections, serving

MAX_SOCKET_PATH_BYTES = 107
"""Linux's sun_path without its final NUL; see unix(7)."""
_BACKLOG = 64
_MAX_CONNECTIONS = 256
_MAX_BODY_BYTES = 64 * 1024
_GRACE_S = 0.5
"""A stop waits this long for answers; whoever follows the log is then cut off."""


@asynccontextmanager
async def serve_admin(app: ASGIApp, path: Path) -> AsyncIterator[None]:
    """Serves the app on a socket at this path, from entry to exit.

    The caller holds the home's lock: a socket that lies there is a dead node's, and is replaced.
    Raises OSError.
    """
    config = Config()
    config.graceful_timeout = _GRACE_S
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.h11_max_incomplete_size = _MAX_BODY_BYTES
    connections = Connections(_MAX_CONNECTIONS, _MAX_CONNECTIONS)
    with _listening(path) as listener:
        async with serving(app, config, "admin", [listener], connections=connections):
            yield


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    with short_path(path) as bound, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)  # so that the socket is private from its first moment
        try:
            listener.bind(bound)
        finally:
            os.umask(before)
        try:
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path to the same place that fits into a socket's address, however deep the home lies."""
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)

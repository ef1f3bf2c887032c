"""Fewer wake-ups: a publisher's socket wakes us when there is something worth it.

An encoder sends some 77 messages a second, and a wake-up costs more than all that is done with a
frame of sound. With SO_RCVLOWAT the kernel wakes us when a message that was begun is whole, and
else for a picture's worth: sound waits for the picture after it, at 30 fps at most 33 ms.

ffmpeg sends each message's header and body apart, and, without TCP_NODELAY, the body only when the
header was acknowledged, which our reading brings about: from such senders (told by a header that
came alone) every byte wakes us, and since the body often comes with the acknowledgement, it is
looked for at once (``more``) before we go to sleep again.

What is smaller and last (a farewell, a still scene) is let through by a glance every GLANCE_S.
"""

from __future__ import annotations

import contextlib
import socket

import trio

from hausd.wire.rtmp_chunks import Begun

LOW_WATER_BYTES = 1024
"""Three frames of AAC at 128 kbit/s; less than any picture but those of a still scene."""
MOST_BYTES = 16 * 1024
"""Never more: the kernel's receive buffer has to hold it, and reading on frees it."""
GLANCE_S = 0.1


class Gathering:
    """Over a plain TCP stream; does nothing for others (TLS must see every record)."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None
        self._running = False
        self._came = False
        self._sends_apart = False
        self._low = 1
        self._direct: socket.socket | None = None

    def came(self, begun: Begun | None) -> None:
        """Something was read; ``begun`` is the message that it left unfinished."""
        self._came = True
        if not self._running:
            return
        if begun is not None:
            self._sends_apart = self._sends_apart or begun.missing == begun.length
            self._set(min(begun.missing, MOST_BYTES))
        else:
            self._set(1 if self._sends_apart else LOW_WATER_BYTES)

    def more(self, most_bytes: int) -> bytes:
        """What has come meanwhile of a message that was begun; empty where nothing did."""
        if self._direct is None:
            return b""
        try:
            return self._direct.recv(most_bytes)
        except OSError:
            return b""  # nothing yet, or broken: the next proper read will tell

    async def run(self) -> None:
        """Gathers until cancelled; from then on every byte wakes again."""
        if self._socket is None:
            await trio.sleep_forever()
            return
        self._running = True
        # a second descriptor of the same socket, since trio's own can only be read by waiting
        self._direct = socket.fromfd(
            self._socket.fileno(), self._socket.family, self._socket.type, self._socket.proto
        )
        self._direct.setblocking(False)
        try:
            while True:
                await trio.sleep(GLANCE_S)
                if not self._came:
                    self._set(1)
                self._came = False
        finally:
            self._running = False
            self._set(1)
            self._direct.close()
            self._direct = None

    def _set(self, low: int) -> None:
        if low == self._low or self._socket is None:
            return
        self._low = low
        # a socket that is closed already needs no mark
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low)

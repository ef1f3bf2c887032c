"""Reads a publisher's socket in a thread of its own: what a stream costs is mostly waking up.

An encoder sends some 77 messages a second, ffmpeg each in two pieces. A turn of the event loop for
each costs more than all that is done with it; a thread that polls costs a fifth of it (measured:
docs/decisions/0013-publishers-thread.md).

SO_RCVLOWAT makes the kernel wake us when a message that was begun is whole, and else for a
picture's worth, so that sound waits for the picture after it, at 30 fps at most 33 ms. ffmpeg sends
header and body of a message apart, and, without TCP_NODELAY, the body only when the header was
acknowledged, which our reading brings about: from such senders (told by a header that came alone)
every byte wakes us. What is smaller and last (a farewell, a still scene) is let through by a glance
every GLANCE_S.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from types import TracebackType

from hausd.wire.rtmp_chunks import Begun

LOW_WATER_BYTES = 1024
"""Three frames of AAC at 128 kbit/s; less than any picture but those of a still scene."""
MOST_BYTES = 16 * 1024
"""Never more: the kernel's receive buffer has to hold it, and reading on frees it."""
GLANCE_S = 0.1
LEARNING_READS = 16
"""So long every byte wakes us, to see how the encoder sends."""
_READ_BYTES = 65_536
_MOST_UNSENT_BYTES = 65_536
"""Acknowledgements that an encoder does not read: years of them."""


class SocketReader:
    """A TCP socket that nobody else reads or writes meanwhile. Made and left in one thread."""

    def __init__(self, descriptor: int) -> None:
        # one of its own: that of the event loop may be closed under our feet
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._socket.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._low = 1
        self._learning = LEARNING_READS
        self.sends_apart = False
        """Whether it holds back what follows until it sees that we read (for a round trip)."""
        self._unsent = bytearray()

    def __enter__(self) -> SocketReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._set_low(1)
        self._socket.close()

    def came(self, begun: Begun | None) -> None:
        """What was read has left this message unfinished (None: none)."""
        if begun is not None:
            self.sends_apart = self.sends_apart or begun.missing >= begun.length > 0
            self._set_low(min(begun.missing, MOST_BYTES))
        else:
            self._set_low(1 if self.sends_apart or self._learning else LOW_WATER_BYTES)
        self._learning = max(0, self._learning - 1)

    def read(self) -> bytes | None:
        """Waits at most GLANCE_S; None where nothing came. Raises EOFError, OSError."""
        self._poll.poll(GLANCE_S * 1000)
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        if not data:
            raise EOFError
        return data

    def send(self, data: bytes) -> bool:
        """Sends without waiting; False where the encoder has not read for very long."""
        self._unsent += data
        # an encoder that is gone may have left its last tags: reading tells when it is over
        with contextlib.suppress(OSError):
            del self._unsent[: self._socket.send(self._unsent)]
        return len(self._unsent) <= _MOST_UNSENT_BYTES

    def _set_low(self, low: int) -> None:
        if low == self._low:
            return
        self._low = low
        # a socket that is closed already needs no mark
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low)

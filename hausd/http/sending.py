"""An answer on its way into a socket: what is still to be sent, and sending it.

``push`` sends what the socket takes at once, without a task switch; ``drain`` goes on, and drops
clients that take nothing. File bytes go from the page cache to the socket by sendfile; pages that
are not in the cache are read in a thread first, so that a slow disk stops one answer, not all.
"""

from __future__ import annotations

import os
import socket
from contextlib import aclosing, suppress
from enum import Enum, auto

import trio

from hausd.http.files import OpenFile, OpenFiles
from hausd.http.limits import Limits
from hausd.http.messages import Chunks

_SENDFILE_BYTES = 512 * 1024  # of a file at a time: some 0.1 ms of copying
_PUSH_BYTES = 2 * 1024 * 1024  # before others get their turn
_LINGER_BYTES, _LINGER_READ_BYTES = 256 * 1024, 16 * 1024
_MOST_PIECES = 64  # well below IOV_MAX
_MSG_MORE = getattr(socket, "MSG_MORE", 0)
_RWF_NOWAIT = getattr(os, "RWF_NOWAIT", 0)


class Pushed(Enum):
    """How far a push came."""

    DONE = auto()
    FULL = auto()
    """The socket takes no more for now (or others are to have their turn)."""
    COLD = auto()
    """The next bytes of the file are not in memory."""


class SlowClient(OSError):
    """A client took too little for too long."""


class Truncated(OSError):
    """A file lost bytes while it was sent; the connection is of no more use."""


class Outgoing:
    """Pieces in memory, then ``left`` bytes of a file from ``offset`` on."""

    __slots__ = ("file", "left", "more", "offset", "pieces", "sent")

    def __init__(
        self,
        pieces: list[bytes | memoryview],
        file: OpenFile | None = None,
        offset: int = 0,
        left: int = 0,
    ) -> None:
        self.pieces = pieces
        self.file = file
        self.offset = offset
        self.left = left
        self.sent = 0
        self.more = False
        """Whether what follows will be put into ``pieces`` at once."""

    def push(self, sock: socket.socket, warm: bool = False) -> Pushed:
        """Sends what can be sent at once; raises OSError where the client is gone.

        ``warm``: the next _SENDFILE_BYTES of the file were just read.
        """
        try:
            if self.pieces and not self._push_pieces(sock):
                return Pushed.FULL
            file = self.file
            if file is None:
                return Pushed.DONE
            fd, budget = sock.fileno(), _PUSH_BYTES
            while self.left:
                if budget <= 0:
                    return Pushed.FULL
                size = min(self.left, _SENDFILE_BYTES)
                if not warm and not in_memory(file.descriptor, self.offset + size - 1):
                    return Pushed.COLD
                warm = False
                sent = os.sendfile(fd, file.descriptor, self.offset, size)
                if not sent:
                    raise Truncated
                self.offset += sent
                self.left -= sent
                self.sent += sent
                budget -= sent
        except BlockingIOError:
            return Pushed.FULL
        return Pushed.DONE

    def _push_pieces(self, sock: socket.socket) -> bool:
        flags = _MSG_MORE if self.left or self.more else 0
        while self.pieces:
            sent = sock.sendmsg(self.pieces[:_MOST_PIECES], (), flags)
            self.sent += sent
            while sent:
                size = len(self.pieces[0])
                if sent < size:
                    self.pieces[0] = memoryview(self.pieces[0])[sent:]
                    break
                del self.pieces[0]
                sent -= size
            while self.pieces and not len(self.pieces[0]):
                del self.pieces[0]
        return True

    async def drain(self, sock: socket.socket, limits: Limits, pushed: Pushed) -> None:
        """Sends the rest; raises SlowClient, Truncated or OSError."""
        mark, deadline = self.sent, trio.current_time() + limits.send_timeout_s
        while pushed is not Pushed.DONE:
            warm = False
            if pushed is Pushed.COLD and self.file is not None:
                size = min(self.left, _SENDFILE_BYTES)
                await trio.to_thread.run_sync(_read_in, self.file.descriptor, self.offset, size)
                deadline = trio.current_time() + limits.send_timeout_s  # the disk's time, not his
                warm = True
            else:
                if self.sent - mark >= limits.send_progress_bytes:
                    mark, deadline = self.sent, trio.current_time() + limits.send_timeout_s
                with trio.CancelScope(deadline=deadline) as scope:
                    await trio.lowlevel.wait_writable(sock)
                if scope.cancelled_caught:
                    raise SlowClient
            pushed = self.push(sock, warm)

    async def drain_chunks(
        self, sock: socket.socket, limits: Limits, chunks: Chunks, *, framed: bool
    ) -> None:
        """Sends a body as it is made; ``framed``: in HTTP/1.1's chunks. Raises as ``drain``.

        Raises ValueError where the body is not as long as was said.
        """
        size = 0
        async with aclosing(chunks.begin()) as pieces:
            async for piece in pieces:
                if not piece:
                    continue
                size += len(piece)
                self.more = False
                self.pieces = [b"%x\r\n" % len(piece), piece, b"\r\n"] if framed else [piece]
                await self.drain(sock, limits, self.push(sock))
        if chunks.length is not None and size != chunks.length:
            raise ValueError(f"a body of {chunks.length} bytes had {size}")
        if framed:
            self.pieces = [b"0\r\n\r\n"]
            await self.drain(sock, limits, self.push(sock))

    def release(self, files: OpenFiles) -> None:
        """Gives the file back."""
        if self.file is not None:
            files.give_back(self.file)
            self.file = None


async def linger(sock: socket.socket) -> None:
    """Ends an answer so that the client gets to read it: what still comes is read, up to a bound.

    Closing with bytes unread would reset the connection, and the answer with it.
    """
    sock.shutdown(socket.SHUT_WR)
    left = _LINGER_BYTES
    while left > 0:
        await trio.lowlevel.wait_readable(sock)
        with suppress(BlockingIOError):
            data = sock.recv(_LINGER_READ_BYTES)
            left = left - len(data) if data else 0


_PROBE = bytearray(1)


def in_memory(descriptor: int, offset: int) -> bool:
    """Whether the byte at ``offset`` can be read without waiting for the disk."""
    if not _RWF_NOWAIT:
        return True
    try:
        os.preadv(descriptor, (_PROBE,), offset, _RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:  # the file system can't say: send, as other servers do
        return True
    return True


def _read_in(descriptor: int, offset: int, size: int) -> None:
    os.pread(descriptor, size, offset)

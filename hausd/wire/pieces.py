"""Bytes that come in pieces, put together once they are all there."""

from __future__ import annotations

_SMALL_BYTES = 4096
"""Pieces below this are copied together: each costs some 200 bytes besides its own."""


class Pieces:
    """Large pieces are not copied until ``take``: with each piece all that came before would be.

    What is added must not change afterwards.
    """

    def __init__(self) -> None:
        self._pieces: list[memoryview | bytearray] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, piece: memoryview) -> None:
        """The next bytes; memory is held for no more than a few times as many."""
        self._size += len(piece)
        if len(piece) >= _SMALL_BYTES:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))

    def take(self) -> bytes:
        """All of them in one; takes them away."""
        whole = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return whole

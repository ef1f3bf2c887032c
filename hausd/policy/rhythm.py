"""When an encoder's next frames are worth waking up for.

A part leaves with its last frame; the frames before it are in no hurry. Where the media worker
knows with which frame its next part closes, all that comes before may gather in the kernel: of a
stream of 30 fps in parts of six frames, that is five of six wake-ups of reader and worker.
"""

from __future__ import annotations

_WRAP_MS = 1 << 32
_MOST_AHEAD_MS = 1000
"""A part further ahead than this is none: the encoder's times jumped."""
_SURE = 0.4
"""Of a part as long as the one before: so much of it passes before it can close, if it is one that
ends with its GOP."""
_BELIEVED = 0.1
_MOST_LATE_S = 1.0
"""Who is later has paused."""
LATE_S = 0.05
"""So long after its time a picture that does not come holds up those before it."""
EARLY_S = 0.003
"""Frames do not come like clockwork; who wakes up too late has lost time for good."""


class PartRhythm:
    """One encoder's. Times of tags are RTMP's, in ms modulo 2**32; the clock is the caller's."""

    def __init__(self) -> None:
        self._tag_ms: int | None = None
        self._came_s = 0.0
        self._frame_ms = 0
        self._due_ms: int | None = None
        self._length_ms = 0

    def came(self, tag_ms: int, now_s: float, *, just_now: bool = True) -> None:
        """The newest picture has come; not ``just_now``: it may have lain there for a while.

        It is taken to have come as long after the one before it as its tag says, or earlier: one
        that is late is believed a little each time, or all after it would be waited for too long.
        """
        came_s, self._frame_ms = now_s, 0
        if self._tag_ms is not None:
            after_ms = (tag_ms - self._tag_ms) % _WRAP_MS
            if after_ms <= _MOST_AHEAD_MS:
                self._frame_ms = after_ms
                late_s = now_s - self._came_s - after_ms / 1000
                if 0 < late_s < _MOST_LATE_S:
                    came_s = now_s - late_s * (1 - _BELIEVED if just_now else 1)
        self._tag_ms, self._came_s = tag_ms, came_s

    def idle_s(self, due_ms: int | None, now_s: float) -> float:
        """How long nothing is urgent, where the next part closes with the picture of ``due_ms``.

        0 where that picture has come, may come now, or is not known (None).
        """
        if due_ms is None or self._tag_ms is None:
            return 0.0
        ahead_ms = (due_ms - self._tag_ms) % _WRAP_MS
        if not 0 < ahead_ms <= _MOST_AHEAD_MS:
            return 0.0
        return max(0.0, self._came_s + ahead_ms / 1000 - EARLY_S - now_s)

    def waits(self, due_ms: int | None, now_s: float) -> bool:
        """Whether what came is handed on with the picture of ``due_ms``, which has not come yet."""
        if due_ms is None or self._tag_ms is None:
            return False
        ahead_ms = (due_ms - self._tag_ms) % _WRAP_MS
        if not self._frame_ms < 2 * ahead_ms <= 2 * _MOST_AHEAD_MS:  # whole ms: it may be this one
            return False
        return now_s < self._came_s + ahead_ms / 1000 + LATE_S

    def rest_s(self, due_ms: int | None, now_s: float) -> float:
        """How long nothing is urgent after all that came was handed on: 0 but where that ended with
        the picture of ``due_ms``, so that the worker is about to say when the next part closes.

        To be asked once for each part, whose length it notes.
        """
        if due_ms != self._due_ms:
            self._length_ms = 0
            if due_ms is not None and self._due_ms is not None:
                length_ms = (due_ms - self._due_ms) % _WRAP_MS
                self._length_ms = length_ms if length_ms <= _MOST_AHEAD_MS else 0
            self._due_ms = due_ms
        if due_ms is None or due_ms != self._tag_ms:
            return 0.0
        return max(0.0, self._came_s + _SURE * self._length_ms / 1000 - now_s)

"""The wrapping timestamps of RTMP (32 bit) and of encoders that count as FLV does (31 bit)."""

from __future__ import annotations

import msgspec

_RTMP_WRAP = 1 << 32
_FLV_WRAP = 1 << 31


class Unwrapped(msgspec.Struct, frozen=True, gc=False):
    """A time on the stream's own line: ``ms`` never wraps.

    ``jump_ms`` is 0, or how far this timestamp is from where the stream was: too far to be the
    same stretch of media.
    """

    ms: int
    jump_ms: int


class Unwrapper:
    """Turns the wrapping 32-bit timestamps of one publisher's tags into a line from 0 on.

    Give it the frames only: the tag with which ffmpeg ends a sequence has a time of its own.
    Use one for audio and video together: their order on the wire need not be that of their
    times, so a time may lie up to ``back_ms`` before the latest one. A step beyond ``back_ms`` or
    ``ahead_ms`` is a jump: it is reported, and the line goes on from its latest time as if there
    had been no hole, so the line never runs backwards over a jump.
    """

    def __init__(self, back_ms: int = 3_000, ahead_ms: int = 10_000) -> None:
        self._back_ms = back_ms
        self._ahead_ms = ahead_ms
        self._latest_raw: int | None = None
        self._latest_ms = 0

    def unwrap(self, timestamp_ms: int) -> Unwrapped:
        """Places a raw timestamp (0 to 2**32 - 1, milliseconds)."""
        if self._latest_raw is None:
            self._latest_raw = timestamp_ms
        step = timestamp_ms - self._latest_raw
        if not -self._back_ms <= step <= self._ahead_ms:
            step = _signed(step, _FLV_WRAP)
        if not -self._back_ms <= step <= self._ahead_ms:
            jump_ms = _signed(timestamp_ms - self._latest_raw, _RTMP_WRAP)
            self._latest_raw = timestamp_ms
            return Unwrapped(self._latest_ms, jump_ms)
        ms = self._latest_ms + step
        if step > 0:
            self._latest_raw, self._latest_ms = timestamp_ms, ms
        return Unwrapped(ms, 0)


def _signed(number: int, wrap: int) -> int:
    return (number + wrap // 2) % wrap - wrap // 2

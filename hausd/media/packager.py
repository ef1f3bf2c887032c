"""Frames of one rendition in, parts out: where parts end, and how long each frame lasts.

A part leaves with its last frame where the time of the next one is known beforehand, else as soon
as that comes. What has left can't be changed, so the line of decode times goes on exactly where
the last part ended, whatever the next stamp says; presentation times stay true.
"""

from __future__ import annotations

from collections.abc import Callable

from hausd.policy.cut import Cut
from hausd.wire.fmp4 import Sample, fragment
from hausd.wire.worker import PartMade

MAX_PART_BYTES = 24 * 1024 * 1024
"""A part that grows over this is closed early: no picture of a stream needs it."""
_LEAST_PERCENT = 85
"""Of the part target: what a part within a GOP has at least (RFC 8216bis, section 4.4.4.9)."""


class Packager:
    """Makes the parts of one rendition in one run. All times are in the track's timescale.

    ``reorders``: whether a frame may be shown later than it is decoded (video). ``base`` is where
    the run begins on the session's time line: the times in what is sent are that much later.
    ``headers`` (parameter sets) go before the first picture of each GOP: players built on FFmpeg
    do not take them from a new init in mid-stream. ``next_tag_ms`` tells what parts say of the
    one after them.
    """

    def __init__(
        self,
        rendition: str,
        run: int,
        target: int,
        emit: Callable[[PartMade, bytes], object],
        *,
        reorders: bool = True,
        base: int = 0,
        headers: bytes = b"",
        next_tag_ms: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._reorders = reorders
        self._base = base
        self._headers = headers
        self._next_tag_ms = next_tag_ms
        self._opens_gop = True
        self._rendition = rendition
        self._run = run
        self._target = target
        self._emit = emit
        self._samples: list[Sample] = []
        self._known = True
        """Whether the last sample's duration is more than a guess."""
        self._length = 0
        self._bytes = 0
        self._end: int | None = None
        self._cut = Cut(0, 0, 0)
        self._usual = 0
        self._sequence = 0

    @property
    def parts(self) -> int:
        """How many parts were sent."""
        return self._sequence

    @property
    def end(self) -> int | None:
        """Where the newest sample ends as far as is known; None before the first."""
        return self._end

    def begin(self, cut: Cut, at: int | None) -> None:
        """What comes next belongs to this GOP, and is decoded at ``at``, if that is known."""
        if at is not None:
            self._settle(at)
        self.flush(ends_gop=True)
        self._cut = cut
        self._opens_gop = True

    def add(
        self,
        at: int,
        pts: int,
        due: int | None,
        sync: bool,
        data: bytes,
        gop_ends_at: int | None = None,
    ) -> None:
        """Takes the next frame in decoding order.

        ``at`` is its decode time, ``due`` that of the frame after it, None if unknown. A GOP that
        is known to end at ``gop_ends_at`` is closed with the last frame before that.
        """
        self._settle(at)
        end = self._end
        dts = at
        if end is not None and not self._samples:
            # Early frames wait for the end of what has left; small holes are closed by letting a
            # frame be decoded sooner than it is shown. A hole of a part or more stays.
            frame = self._usual if due is None else max(due - at, 1)
            if at < end or (self._reorders and at - end + frame <= self._target):
                dts = end
        elif end is not None:
            dts = end
        self._known = due is not None
        duration = max(self._usual if due is None else due - dts, 1)
        if self._length + duration > self._target:
            self.flush()
        if self._opens_gop:
            self._opens_gop = False
            data = self._headers + data if sync and self._headers else data
        self._samples.append(Sample(dts, max(pts, dts), duration, sync, data))
        self._length += duration
        self._bytes += len(data)
        self._end = dts + duration
        if due is not None:
            self._usual = max(due - at, 1)
            if gop_ends_at is not None and self._end >= gop_ends_at:
                self.flush(ends_gop=True)
            elif self._length + self._usual > self._target:
                self.flush()
        if self._bytes > MAX_PART_BYTES:
            self.flush()

    def flush_full(self) -> None:
        """Sends what is there as a part if that is as long as any part has to be."""
        if self._known and 100 * self._length >= _LEAST_PERCENT * self._target:
            self.flush()

    def close_before(self, cut_at: int) -> None:
        """The GOP is known to end at ``cut_at``: sends the part if nothing is left to come."""
        if self._samples and self._known and self._end is not None and self._end >= cut_at:
            self.flush(ends_gop=True)

    def flush(self, *, ends_gop: bool = False) -> None:
        """Sends what is there as a part, however short."""
        samples = self._samples
        if not samples:
            return
        self._sequence += 1
        if self._base:
            for sample in samples:
                sample.dts += self._base
                sample.pts += self._base
        part = PartMade(
            rendition=self._rendition,
            run=self._run,
            gop=self._cut.gop,
            segment=self._cut.segment,
            start=samples[0].dts,
            duration=self._length,
            independent=samples[0].sync,
            ends_gop=ends_gop,
            next_tag_ms=self._next_tag_ms(),
        )
        self._samples = []
        self._length = self._bytes = 0
        self._known = True
        self._emit(part, fragment(self._sequence, samples))

    def _settle(self, at: int) -> None:
        """The next frame is decoded at ``at``: the last sample lasts until then."""
        if not self._samples or at == self._end:
            return
        last = self._samples[-1]
        before = self._length - last.duration
        natural = max(at - last.dts, 1)
        if not self._known:
            self._usual = min(natural, self._target)
        if before and before + natural > self._target:
            self._part_with_last()
            before = 0
        natural = min(natural, self._target)
        last.duration = natural
        self._length = before + natural
        self._end = last.dts + natural
        if self._length + self._usual > self._target:
            self.flush()

    def _part_with_last(self) -> None:
        """Closes the part without its last sample, which begins the next one."""
        last = self._samples.pop()
        self._length -= last.duration
        self._bytes -= len(last.data)
        self.flush()
        self._samples = [last]
        self._length, self._bytes = last.duration, len(last.data)

"""What the ladder encodes, cut into parts at the very times at which the source is cut.

The ladder reports from its own threads and lags behind the source, by more or less; a frame finds
its GOP by its presentation time.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable

from hausd.core.media import Kind
from hausd.media.packager import Packager
from hausd.media.units import (
    VIDEO_TIMESCALE,
    Encoded,
    EncodedFrame,
    EncodedStopped,
    EncodedTrack,
)
from hausd.policy.cut import Cut
from hausd.wire.fmp4_init import video_init
from hausd.wire.nal import avcc_parameter_sets, read_avcc
from hausd.wire.worker import FromWorker, Notice, TrackStarted, TrackStopped

MOST_CUTS = 256
"""Cuts that are kept for encoders that lag; the ladder holds a few seconds, so these are plenty."""


class EncodedTracks:
    """The encoded renditions of one run. Every method may be called from any thread."""

    def __init__(
        self,
        run: int,
        part_target: int,
        emit: Callable[[FromWorker, bytes], None],
        base: int = 0,
        *,
        captions: bool = False,
    ) -> None:
        self._base = base
        self._captions = captions
        self._end = 0
        self._run = run
        self._part_target = part_target
        self._emit = emit
        self._lock = threading.Lock()
        self._cuts: list[Cut] = []
        self._packagers: dict[str, Packager] = {}
        self._gops: dict[str, int] = {}
        self._shed: set[str] = set()
        self._records: dict[str, bytes] = {}

    @property
    def end(self) -> int:
        """Where the newest frame ends, in ticks since the run began."""
        return self._end

    def cut(self, cut: Cut) -> None:
        """The source is cut here; comes before its frames are handed to the ladder."""
        with self._lock:
            self._cuts.append(cut)
            del self._cuts[:-MOST_CUTS]
            for packager in self._packagers.values():
                packager.close_before(cut.pts)

    def take(self, event: Encoded) -> None:
        """What the ladder reports."""
        with self._lock:
            match event:
                case EncodedFrame():
                    self._frame(event)
                case EncodedTrack():
                    self._start(event)
                case EncodedStopped():
                    self._stop(event.rendition, event.reason)
                    self._tell(event)

    def flush(self) -> None:
        """Sends every part that has begun."""
        with self._lock:
            for packager in self._packagers.values():
                packager.flush(ends_gop=True)

    def stop(self, reason: str) -> None:
        """No rendition makes any more parts."""
        with self._lock:
            for rendition in list(self._packagers):
                self._stop(rendition, reason)

    def _tell(self, stopped: EncodedStopped) -> None:
        name, reason = stopped.rendition, stopped.reason
        if stopped.shed:
            self._shed.add(name)
            notice = Notice("shed", f"{name} is given up for now: {reason}.")
        else:
            notice = Notice("encoder-failed", f"{name} is made no more: {reason}.")
        self._emit(notice, b"")

    def _start(self, track: EncodedTrack) -> None:
        if self._records.setdefault(track.rendition, track.record) != track.record:
            # players keep the run's first init segment, which would not fit
            reason = "its encoder changed its parameters"
            self._stop(track.rendition, "parameters")
            self._tell(EncodedStopped(track.rendition, False, reason))
            return
        if track.rendition in self._packagers:
            return
        if track.rendition in self._shed:
            self._shed.remove(track.rendition)
            self._emit(Notice("restored", f"{track.rendition} is made again."), b"")
        picture = read_avcc(track.record)
        rate = track.frame_rate
        self._emit(
            TrackStarted(
                rendition=track.rendition,
                run=self._run,
                kind=Kind.VIDEO,
                codecs=picture.codecs,
                timescale=VIDEO_TIMESCALE,
                bandwidth_bps=track.bandwidth_bps,
                width=picture.width,
                height=picture.height,
                frame_rate=None if rate is None else (rate.numerator, rate.denominator),
                # They ride on the decoded pictures into whatever is made of them.
                closed_captions=self._captions,
            ),
            video_init(picture, track.record, VIDEO_TIMESCALE),
        )
        self._packagers[track.rendition] = Packager(
            track.rendition,
            self._run,
            self._part_target,
            self._emit,
            base=self._base,
            headers=avcc_parameter_sets(track.record),
        )

    def _frame(self, frame: EncodedFrame) -> None:
        packager = self._packagers.get(frame.rendition)
        if packager is None or not self._cuts:
            return
        place = max(bisect_right(self._cuts, frame.pts, key=lambda cut: cut.pts) - 1, 0)
        cut = self._cuts[place]
        if self._gops.get(frame.rendition) != cut.gop:
            self._gops[frame.rendition] = cut.gop
            packager.begin(cut, frame.dts)
        due = frame.dts + frame.duration
        later = self._cuts[place + 1].pts if place + 1 < len(self._cuts) else None
        packager.add(frame.dts, frame.pts, due, frame.keyframe, frame.data, later)
        self._end = max(self._end, packager.end or 0)

    def _stop(self, rendition: str, reason: str) -> None:
        packager = self._packagers.pop(rendition, None)
        self._gops.pop(rendition, None)
        if packager is not None:
            packager.flush()
            self._emit(TrackStopped(rendition, self._run, reason), b"")

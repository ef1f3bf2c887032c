"""Joins the fragments of recorded runs into one progressive MP4, without encoding anything.

Blocks; ``media.export`` runs it in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import msgspec
from av.audio.codeccontext import AudioCodecContext
from av.container import OutputContainer
from av.packet import Packet, PacketSideData, packet_sidedata_type_from_literal
from av.stream import Stream

from hausd.core.live import FileRange

Progress = Callable[[int, int], None]
"""Called with bytes read so far and bytes to be read."""


class ExportError(Exception):
    """The recording can't become one MP4; ``args[0]`` says which run and why."""


class RunMedia(msgspec.Struct, frozen=True):
    """One rendition's recording of one run: its init segment and where its segments lie.

    ``run`` orders the runs of all sessions, and joins the picture of a run with its sound;
    ``name`` is what an error calls it.
    """

    run: int
    init: bytes
    segments: tuple[FileRange, ...]
    name: str = ""


def export_mp4(
    video: Sequence[RunMedia],
    audio: Sequence[RunMedia],
    out_path: str | Path,
    on_progress: Progress = lambda done, total: None,
) -> int:
    """Writes one progressive MP4, its index in front, and gives its size in bytes.

    ``video`` and ``audio`` hold at most one entry a run; either may be empty. Where the codec
    stays but its parameters change between runs, a second sample description begins. The file
    appears under its name only when it is whole. Raises ExportError, or OSError where
    ``out_path`` can't be written.
    """
    runs = _runs(video, audio)
    if not runs:
        raise ExportError("nothing was recorded")
    target = Path(out_path)
    draft = draft_of(target)
    ranges = [place for run in runs for media in run.values() for place in media.segments]
    meter = _Meter(sum(place.length for place in ranges), on_progress)
    try:
        options = {"movflags": "+faststart"}
        with av.open(str(draft), "w", format="mp4", container_options=options) as container:
            joiner = _Joiner(container)
            for kind in _KINDS:
                first = next((run[kind] for run in runs if kind in run), None)
                if first is not None:
                    joiner.promise(kind, first)
            for run in runs:
                joiner.add(run, meter)
        with draft.open("rb+") as whole:
            os.fsync(whole.fileno())
        size = draft.stat().st_size
        draft.replace(target)
    except av.FFmpegError as failure:
        raise OSError(failure.errno, failure.strerror, str(target)) from None
    finally:
        draft.unlink(missing_ok=True)
    return size


def draft_of(target: Path) -> Path:
    """Where the file is while it is being written."""
    return target.with_name(f".{target.name}.part")


_READ_BYTES = 256 * 1024
_PROGRESS_BYTES = 4 * 1024 * 1024
_Kind = Literal["video", "audio"]
_KINDS: tuple[_Kind, ...] = ("video", "audio")


class _Meter:
    """Counts bytes that were read."""

    def __init__(self, total: int, on_progress: Progress) -> None:
        self._total, self._on_progress = total, on_progress
        self._done = self._told = 0

    def add(self, count: int) -> None:
        self._done += count
        if self._done - self._told >= _PROGRESS_BYTES or self._done >= self._total:
            self._told = self._done
            self._on_progress(self._done, self._total)


class _Bytes:
    """A run's init and segments as one file to be read from front to back."""

    def __init__(self, media: RunMedia, meter: _Meter | None) -> None:
        self._media, self._meter = media, meter
        self._pieces = self._walk()
        self._rest = memoryview(b"")
        self.failure: str | None = None

    def read(self, most: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._rest = memoryview(piece)
        data, self._rest = bytes(self._rest[:most]), self._rest[most:]
        return data

    def _walk(self) -> Iterator[bytes]:
        yield self._media.init
        for place in self._media.segments:
            try:
                with open(place.path, "rb") as file:
                    file.seek(place.offset)
                    left = place.length
                    while left:
                        data = file.read(min(left, _READ_BYTES))
                        if not data:
                            self.failure = f"{place.path} is shorter than it should be"
                            return
                        left -= len(data)
                        if self._meter is not None:
                            self._meter.add(len(data))
                        yield data
            except OSError as failure:
                self.failure = f"{place.path}: {failure.strerror}"
                return


class _Track:
    """One rendition's run while it is being read."""

    def __init__(self, media: RunMedia, kind: _Kind, meter: _Meter | None) -> None:
        self.media, self.kind = media, kind
        self._bytes = _Bytes(media, meter)
        try:
            self._container = av.open(self._bytes, "r", format="mp4", metadata_errors="replace")
        except av.FFmpegError as failure:
            raise self.error(failure) from None
        streams = [s for s in self._container.streams if s.type == kind]
        if len(streams) != 1 or streams[0].codec_context is None:
            self._container.close()
            raise ExportError(f"{self.name}: its init segment describes no {kind} that is known")
        self.stream: Stream = streams[0]
        self._packets = self._container.demux(self.stream)
        self.next: Packet[Stream] | None = None

    @property
    def name(self) -> str:
        return f"{self.media.name or f'run {self.media.run}'}, {self.kind}"

    def advance(self) -> Packet[Stream] | None:
        """Goes to the next packet that has times."""
        try:
            for packet in self._packets:
                if packet.dts is not None and packet.pts is not None and packet.size:
                    self.next = packet
                    return packet
        except av.FFmpegError as failure:
            raise self.error(failure) from None
        if self._bytes.failure is not None:
            raise self.error()
        self.next = None
        return None

    def error(self, failure: Exception | None = None) -> ExportError:
        why = self._bytes.failure or f"its segments can't be read ({failure})"
        return ExportError(f"{self.name}: {why}")

    def close(self) -> None:
        self._container.close()


@dataclass
class _Out:
    """A track of the MP4."""

    stream: Stream
    codec: str
    shape: tuple[object, ...]
    record: bytes
    last_dts_s: Fraction | None = None


class _Joiner:
    """Puts runs one behind the other."""

    def __init__(self, container: OutputContainer) -> None:
        self._container = container
        self._outs: dict[_Kind, _Out] = {}
        self._end_s = Fraction(0)

    def promise(self, kind: _Kind, media: RunMedia) -> None:
        """Adds a track like this one; all of them are needed before the first packet."""
        track = _Track(media, kind, None)
        try:
            stream = self._container.add_stream_from_template(track.stream, opaque=True)
            stream.time_base = track.stream.time_base
            self._outs[kind] = _Out(stream, *_nature(track.stream))
        finally:
            track.close()

    def add(self, run: dict[_Kind, RunMedia], meter: _Meter) -> None:
        """Appends a run."""
        tracks: list[_Track] = []
        try:
            for kind, media in run.items():
                tracks.append(_Track(media, kind, meter))
            self._append([track for track in tracks if track.advance() is not None])
        finally:
            for track in tracks:
                track.close()

    def _append(self, tracks: list[_Track]) -> None:
        if not tracks:
            return
        renew = {track.kind: self._changed(track) for track in tracks}
        shift_s = self._end_s - min(_seconds(track, "pts") for track in tracks)
        for track in tracks:
            # A run that reorders its frames more than the one before begins a little later.
            last_s = self._outs[track.kind].last_dts_s
            if last_s is not None:
                first_s = _seconds(track, "dts") + shift_s
                shift_s += max(last_s + _base(track) - first_s, Fraction(0))
        while tracks:
            track = min(tracks, key=lambda each: _seconds(each, "dts"))
            packet = track.next
            assert packet is not None
            self._write(track, packet, shift_s, renew.pop(track.kind, None))
            if track.advance() is None:
                tracks.remove(track)

    def _write(
        self, track: _Track, packet: Packet[Stream], shift_s: Fraction, record: bytes | None
    ) -> None:
        out, base = self._outs[track.kind], _base(track)
        assert packet.dts is not None
        assert packet.pts is not None
        shift = round(shift_s / base)
        dts, pts = packet.dts + shift, packet.pts + shift
        if out.last_dts_s is not None and dts * base <= out.last_dts_s:
            dts = int(out.last_dts_s / base) + 1
            pts = max(pts, dts)
        out.last_dts_s = dts * base
        self._end_s = max(self._end_s, (pts + (packet.duration or 0)) * base)
        if record is not None:
            # The stub leaves out the constructor's arguments: kind and size.
            kind = packet_sidedata_type_from_literal("new_extradata")
            described = PacketSideData(kind, len(record))  # type: ignore[call-arg]
            described.update(record)
            packet.set_sidedata(described)
        packet.dts, packet.pts, packet.stream = dts, pts, out.stream
        self._container.mux_one(packet)

    def _changed(self, track: _Track) -> bytes | None:
        """The record of a run whose parameters are other ones than before; raises ExportError
        where one track can't hold both."""
        out = self._outs[track.kind]
        codec, shape, record = _nature(track.stream)
        if codec != out.codec or (track.kind == "audio" and shape != out.shape):
            raise ExportError(
                f"{track.name}: {_words(codec, shape)} can't follow {_words(out.codec, out.shape)} "
                "in one MP4; export the runs one by one, or as CAR"
            )
        if record == out.record:
            return None
        out.record = record
        return record


def _nature(stream: Stream) -> tuple[str, tuple[object, ...], bytes]:
    """Codec, what else a track can't change, and the codec's record."""
    context = stream.codec_context
    shape: tuple[object, ...] = ()
    if isinstance(context, AudioCodecContext):
        shape = (context.sample_rate, context.layout.nb_channels)
    return context.name, shape, context.extradata or b""


def _words(codec: str, shape: tuple[object, ...]) -> str:
    return codec if not shape else f"{codec} of {shape[0]} Hz and {shape[1]} channels"


def _base(track: _Track) -> Fraction:
    base = track.stream.time_base
    assert base is not None
    return base


def _seconds(track: _Track, which: Literal["dts", "pts"]) -> Fraction:
    packet = track.next
    assert packet is not None
    ticks = packet.dts if which == "dts" else packet.pts
    assert ticks is not None
    return ticks * _base(track)


def _runs(video: Sequence[RunMedia], audio: Sequence[RunMedia]) -> list[dict[_Kind, RunMedia]]:
    runs: dict[int, dict[_Kind, RunMedia]] = {}
    for kind, several in zip(_KINDS, (video, audio), strict=True):
        for media in several:
            if media.segments:
                runs.setdefault(media.run, {})[kind] = media
    return [runs[number] for number in sorted(runs)]

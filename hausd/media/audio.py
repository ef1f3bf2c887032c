"""Makes AAC of audio that browsers don't play by themselves in CMAF (MP3)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.fifo import AudioFifo
from av.audio.resampler import AudioResampler

from hausd.wire.audio import AudioFormat, read_aac

_AAC_RATES_HZ = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000)
_FRAME_SAMPLES = 1024
_HOLE_MS = 100
"""Input that strays further than this from what was encoded moves what comes after it."""


class AudioTranscoder:
    """MP3 frames in, AAC-LC frames out; about 1 % of a core. Not for several threads."""

    def __init__(self, sample_rate_hz: int, channels: int, bandwidth_bps: int) -> None:
        rate = sample_rate_hz if sample_rate_hz in _AAC_RATES_HZ else 48_000
        layout = "mono" if channels == 1 else "stereo"
        self._rate = rate
        # PyAV's types know this codec only as one of any kind.
        self._decoder = cast(AudioCodecContext, av.CodecContext.create("mp3float", "r"))
        self._encoder = av.CodecContext.create("aac", "w")
        self._encoder.sample_rate = rate
        self._encoder.layout = layout
        self._encoder.format = "fltp"
        self._encoder.bit_rate = bandwidth_bps
        self._encoder.time_base = Fraction(1, rate)
        self._encoder.open()
        self._resampler = AudioResampler("fltp", layout, rate)
        self._fifo = AudioFifo()
        self._start_ms: float | None = None
        self._taken = 0
        self._fed = 0
        record = bytes(self._encoder.extradata or b"")
        self.sound: AudioFormat = read_aac(record)
        self.decode_errors = 0

    def push(self, at_ms: int, untrusted_frame: bytes) -> Iterator[tuple[int, bytes]]:
        """Takes an MP3 frame; gives AAC frames with their times in milliseconds."""
        expected_ms = None if self._start_ms is None else self._start_ms + self._ms(self._taken)
        if expected_ms is None or abs(at_ms - expected_ms) > _HOLE_MS:
            self._start_ms = at_ms - self._ms(self._taken)
        try:
            pictures = self._decoder.decode(av.Packet(untrusted_frame))
        except av.FFmpegError:
            self.decode_errors += 1
            return
        for frame in pictures:
            frame.pts = None
            for piece in self._resampler.resample(frame):
                piece.pts = None
                self._taken += piece.samples
                self._fifo.write(piece)
        yield from self._encode(partial=False)

    def flush(self) -> Iterator[tuple[int, bytes]]:
        """No more comes: gives what is left."""
        yield from self._encode(partial=True)
        for packet in self._encoder.encode(None):
            yield from self._out(packet)

    def _encode(self, *, partial: bool) -> Iterator[tuple[int, bytes]]:
        while (frame := self._fifo.read(_FRAME_SAMPLES, partial)) is not None:
            frame.pts = self._fed
            frame.time_base = Fraction(1, self._rate)
            self._fed += frame.samples
            for packet in self._encoder.encode(frame):
                yield from self._out(packet)

    def _out(self, packet: av.Packet[av.AudioStream]) -> Iterator[tuple[int, bytes]]:
        # The encoder's first packet is its priming, before the first sample: its time says so.
        if packet.pts is not None and self._start_ms is not None:
            yield round(self._start_ms + self._ms(packet.pts)), bytes(packet)

    def _ms(self, samples: int) -> float:
        return samples * 1000 / self._rate

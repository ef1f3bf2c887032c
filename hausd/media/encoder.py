"""One H.264 encoder, and the decoder that feeds it: libav contexts with the right options.

Times are ticks of VIDEO_TIMESCALE; coded data is length-prefixed, records are avcC bodies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

import av
from av.codec.context import Flags, ThreadType
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from hausd.media.units import VIDEO_TIMESCALE, EncodedFrame, EncodedTrack, SourceVideo
from hausd.policy.ladder import Rung

TIME_BASE: Final = Fraction(1, VIDEO_TIMESCALE)
_ASSUMED_RATE = Fraction(30)
_DECODERS: Final[dict[str, Literal["h264", "hevc", "libdav1d"]]] = {
    "h264": "h264",
    "hevc": "hevc",
    "av1": "libdav1d",
}
# Above this many pixels a second one core gets busy by decoding alone (measured: 7 ms for a
# 1080p frame), and the few frames of delay that more threads cost are the lesser evil.
_ONE_THREAD_PIXELS_PER_S = 1920 * 1080 * 65
_DECODER_THREADS = 4
_PIXELS_PER_S_AND_THREAD = 1280 * 720 * 60
# Everything that decides the parameter sets is as in veryfast, so that an encoder can be swapped
# for a cheaper one in the middle of a track: same avcC, same init segment.
_SAME_TOOLS: Final = "cabac=1:8x8dct=1:weightp=1:ref=1:no-deblock=0"
_ALIKE: Final = ("veryfast", "superfast", "ultrafast")
_PRESETS: Final = ("slower", "slow", "medium", "fast", "faster", *_ALIKE)
_VBV_S = 1.5


@dataclass(frozen=True, slots=True)
class Look:
    """How the pictures are to be shown: colour tags and pixel shape, as the decoder found them."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    pixel_shape: Fraction | None = None


def open_decoder(source: SourceVideo, *, one_thread: bool = False) -> VideoCodecContext:
    """A decoder for ``source``; raises av.error.FFmpegError where its record is unusable."""
    decoder = av.CodecContext.create(_DECODERS[source.codec], "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = source.record
    rate = source.frame_rate or _ASSUMED_RATE
    demanding = source.width * source.height * rate > _ONE_THREAD_PIXELS_PER_S
    if one_thread or not demanding:
        decoder.thread_type = ThreadType.NONE
        decoder.thread_count = 1
    else:
        decoder.thread_type = ThreadType.AUTO
        decoder.thread_count = _DECODER_THREADS
    decoder.open()
    return decoder


def encoder_threads(rung: Rung, frame_rate: Fraction | None, cores: int, rungs: int) -> int:
    """How many threads (slices) one of ``rungs`` encoders gets: its share of the cores, but not
    more than it has work for, since slices cost quality."""
    work = rung.pixels * (frame_rate or _ASSUMED_RATE) / _PIXELS_PER_S_AND_THREAD
    return max(min(cores // max(rungs, 1), math.ceil(work)), 1)


def cheaper_presets(preset: str) -> tuple[str, ...]:
    """Presets that are faster than ``preset`` and make the same parameter sets, the next best
    first."""
    if preset not in _ALIKE:
        return ()
    return _ALIKE[_ALIKE.index(preset) + 1 :]


class Encoder:
    """libx264 for one rendition: no B-frames, no delay, keyframes where they are asked for.

    With ``frame_rate`` None frames last as long as their times say, at the price of one frame of
    delay. A53 captions that ride on the pictures are written as SEI.
    """

    def __init__(
        self,
        rung: Rung,
        *,
        preset: str,
        frame_rate: Fraction | None,
        look: Look,
        threads: int = 1,
    ) -> None:
        if preset not in _PRESETS:
            raise ValueError(f"media.preset is one of {', '.join(_PRESETS)}, not {preset!r}")
        self._name = rung.name
        self._durations: dict[int, int] = {}
        params = [
            "annexb=0",
            "scenecut=0",
            # Keyframes come by time, not by count: frame rates vary, and so would their places.
            "keyint=infinite",
        ]
        if preset in _ALIKE:
            params.append(_SAME_TOOLS)
        if frame_rate is None:
            params.append("force-cfr=0")
        rate_bps = rung.bandwidth_bps
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = rung.width, rung.height, "yuv420p"
        encoder.time_base = TIME_BASE
        encoder.framerate = frame_rate or _ASSUMED_RATE
        encoder.bit_rate = rate_bps
        encoder.max_b_frames = 0
        encoder.thread_count = threads
        encoder.color_range = 1
        encoder.color_primaries = look.primaries
        encoder.color_trc = look.transfer
        encoder.colorspace = look.matrix
        if look.pixel_shape:
            encoder.sample_aspect_ratio = look.pixel_shape
        encoder.flags |= Flags.global_header
        encoder.options = {
            "preset": preset,
            "tune": "zerolatency",
            "forced-idr": "1",
            "maxrate": str(rate_bps),
            "bufsize": str(int(rate_bps * _VBV_S)),
            "x264-params": ":".join(params),
        }
        encoder.open()
        self._encoder = encoder
        self.track = EncodedTrack(
            rendition=rung.name,
            record=encoder.extradata or b"",
            width=rung.width,
            height=rung.height,
            bandwidth_bps=rate_bps,
            frame_rate=frame_rate,
        )

    def encode(self, picture: VideoFrame, pts: int, duration: int, key: bool) -> list[EncodedFrame]:
        """Encodes a yuv420p picture of the rung's size. Raises av.error.FFmpegError."""
        picture.pts = pts
        picture.time_base = TIME_BASE
        # The decoder's own picture type would be taken as an order.
        picture.pict_type = PictureType.I if key else PictureType.NONE
        self._durations[pts] = duration
        return self._taken(self._encoder.encode(picture))

    def flush(self) -> list[EncodedFrame]:
        """Gives what is still inside; nothing may be encoded after it."""
        return self._taken(self._encoder.encode(None))

    def _taken(self, packets: list[Packet[Stream]]) -> list[EncodedFrame]:
        frames = []
        for packet in packets:
            pts = packet.pts
            assert pts is not None
            frames.append(
                EncodedFrame(
                    rendition=self._name,
                    dts=pts if packet.dts is None else packet.dts,
                    pts=pts,
                    duration=self._durations.pop(pts, 0),
                    keyframe=packet.is_keyframe,
                    data=bytes(packet),
                )
            )
        return frames

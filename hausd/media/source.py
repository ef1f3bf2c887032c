"""What a publisher sends, as told by its sequence headers, metadata and first frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hausd.media.audio import AudioTranscoder
from hausd.media.run import VideoTrack
from hausd.media.sound import AudioTrack
from hausd.media.units import SourceVideo
from hausd.policy.timeline import observed_rate, standard_rate
from hausd.wire import av1, flv, nal
from hausd.wire.audio import AudioFormat, Mp3Format, read_aac, read_mp3, read_opus
from hausd.wire.bits import BadRecord


class Source:
    """The tracks of one publisher as far as they are known.

    ``tell`` gets a notice's code and text. ``audio_bps`` is for audio that is transcoded.
    """

    def __init__(self, audio_bps: int, tell: Callable[[str, str], None]) -> None:
        self._audio_bps = audio_bps
        self._tell = tell
        self._metadata: dict[str, float | bool | str] = {}
        self._video_config: flv.VideoConfig | None = None
        self._audio_config: flv.AudioConfig | None = None
        self._mp3: Mp3Format | None = None
        self.video: VideoTrack | None = None
        """None while its parameters are not known, or can't be read."""
        self.sound: AudioFormat | None = None

    def describe(self, metadata: flv.Metadata) -> None:
        """Takes ``onMetaData``."""
        self._metadata = metadata.values

    def is_new(self, config: flv.VideoConfig | flv.AudioConfig) -> bool:
        """Whether this sequence header is another one than the last."""
        return config not in (self._video_config, self._audio_config)

    def lacks_header(self, frame: flv.VideoFrame | flv.AudioFrame) -> bool:
        """Whether frames of this kind come without the sequence header that tells how to read them.

        Once, for each kind, says so to the artist.
        """
        video = isinstance(frame, flv.VideoFrame)
        if (self._video_config if video else self._audio_config) is not None:
            return False
        kind = "video" if video else "audio"
        self._tell(
            "no-header",
            f"The encoder sends {kind} without its sequence header, so it can't be shown. "
            "Stop and start the encoder; if it says so again, set another codec or encoder.",
        )
        return True

    def set_video(self, config: flv.VideoConfig) -> None:
        """Takes a new video sequence header."""
        self._video_config = config
        self.video = None
        if config.codec != "av1" or len(config.record) > 4:
            self._read_video(config)

    def set_audio(self, config: flv.AudioConfig) -> None:
        """Takes a new audio sequence header."""
        self._audio_config = config
        self.sound = None
        self._mp3 = None
        try:
            if config.codec == "aac":
                self.sound = read_aac(config.record)
            elif config.codec == "opus":
                self.sound = read_opus(config.record)
        except BadRecord as error:
            self._tell("unsupported", f"The encoder's audio can't be read: {error}.")

    def look_at_keyframe(self, data: bytes) -> None:
        """AV1's record need not have the sequence header; a keyframe has."""
        config = self._video_config
        if self.video is not None or config is None or config.codec != "av1":
            return
        header = av1.av1_sequence_obu(data)
        if header is not None:
            self._read_video(replace(config, record=config.record[:4] + header))

    def look_at_sound(self, data: bytes) -> None:
        """MP3 has no sequence header: each frame says what it is."""
        config = self._audio_config
        if self.sound is not None or config is None or config.codec != "mp3":
            return
        try:
            self._mp3 = read_mp3(data)
        except BadRecord:
            return
        self.sound = self._transcoder(self._mp3).sound

    def observe_rate(self, stamps_ms: Sequence[int]) -> None:
        """Where the frame rate was not told, takes it from the first frames."""
        video = self.video
        if video is not None and video.source.frame_rate is None:
            source = replace(video.source, frame_rate=observed_rate(stamps_ms))
            self.video = replace(video, source=source)

    def audio_track(self) -> AudioTrack | None:
        """The audio for a new run, with a transcoder of its own where it needs one."""
        if self.sound is None:
            return None
        if self._mp3 is not None:
            transcoder = self._transcoder(self._mp3)
            return AudioTrack(transcoder.sound, self._audio_bps, transcoder)
        return AudioTrack(self.sound, self.stated_bps("audiodatarate"))

    def promises(self, kind: str) -> bool | None:
        """Whether the metadata promises ``Video`` or ``Audio``; None where it does not say."""
        stated = self._metadata.get(f"has{kind}")
        if stated is not None:
            return bool(stated)
        if self._metadata.get(f"{kind.lower()}codecid"):
            return True
        other = "audiocodecid" if kind == "Video" else "videocodecid"
        return False if self._metadata.get(other) else None

    def stated_bps(self, name: str) -> int:
        """A data rate of the metadata (told in kbit/s) as bits a second; 0 where unknown."""
        stated = self._metadata.get(name)
        if not isinstance(stated, float) or not 1 <= stated <= 1_000_000:
            return 0
        return int(stated * 1000)

    def _read_video(self, config: flv.VideoConfig) -> None:
        try:
            match config.codec:
                case "h264":
                    picture = nal.read_avcc(config.record)
                case "hevc":
                    picture = nal.read_hvcc(config.record)
                case "av1":
                    picture = av1.read_av1c(config.record)
        except BadRecord as error:
            self._tell("unsupported", f"The encoder's video can't be read: {error}.")
            return
        stated = self._metadata.get("framerate")
        rate = standard_rate(stated) if isinstance(stated, float) else None
        rate = rate or standard_rate(picture.frame_rate)
        source = SourceVideo(config.codec, config.record, picture.width, picture.height, rate)
        plays = picture.codec == "av1" or (
            picture.codec == "h264" and (picture.chroma, picture.bit_depth) == (1, 8)
        )
        if not plays:
            name = "HEVC" if config.codec == "hevc" else "this kind of H.264"
            self._tell(
                "transcoding",
                f"Browsers don't play {name}, so this node encodes the video again. "
                "Set the encoder to H.264 (8 bit, 4:2:0) to save the work.",
            )
        self.video = VideoTrack(source, picture, encode=not plays)

    def _transcoder(self, found: Mp3Format) -> AudioTranscoder:
        return AudioTranscoder(found.sample_rate_hz, found.channels, self._audio_bps)

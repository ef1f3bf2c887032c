"""The multivariant playlist: which qualities a room has, for players to choose from.

Source: RFC 8216bis (draft-pantos-hls-rfc8216bis), 4.4.6. Media playlists are in ``hls_live`` and
``hls_archive``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hausd.core.live import Variant
from hausd.core.media import Kind
from hausd.wire.hls_names import playlist_uri
from hausd.wire.hls_text import quoted

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"

_FIRST_MAX_BPS = 4_000_000
"""Most that nearly every line holds: see ``_in_order``."""
_GUESSED_BITS_PER_PIXEL = 0.1
_GUESSED_AUDIO_BPS = 160_000


def multivariant_playlist(
    variants: Sequence[Variant],
    *,
    independent_segments: bool = False,
    uri: Callable[[str], str] = playlist_uri,
) -> str:
    """The playlist of playlists; ``variants`` are videos from best to least, then audio.

    ``independent_segments``: every segment of every rendition begins with a keyframe. ``uri``
    gives a rendition's playlist by its name. At least one variant is needed.
    """
    videos = [variant for variant in variants if variant.rendition.kind is Kind.VIDEO]
    sounds = [variant for variant in variants if variant.rendition.kind is Kind.AUDIO]
    lines = ["#EXTM3U", "#EXT-X-VERSION:6"]
    if independent_segments:
        lines.append("#EXT-X-INDEPENDENT-SEGMENTS")
    if not videos:
        for sound in sounds:
            lines += [_stream_inf(sound, [], ""), uri(sound.rendition.name)]
        return "\n".join(lines) + "\n"
    for place, sound in enumerate(sounds):
        lines.append(_audio_media(sound, default=place == 0, uri=uri(sound.rendition.name)))
    captions = any(map(_has_captions, videos))
    if captions:
        lines.append(
            '#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="CC1",'
            'AUTOSELECT=YES,DEFAULT=NO,INSTREAM-ID="CC1"'
        )
    for video in _in_order(videos):
        rendition = video.rendition
        attributes = ""
        if rendition.width and rendition.height:
            attributes += f",RESOLUTION={rendition.width}x{rendition.height}"
        rates = [form.frame_rate for form in video.forms if form.frame_rate is not None]
        if rates:
            attributes += f",FRAME-RATE={float(max(rates)):.3f}"
        if sounds:
            attributes += ',AUDIO="audio"'
        if not captions:
            attributes += ",CLOSED-CAPTIONS=NONE"
        elif _has_captions(video):
            attributes += ',CLOSED-CAPTIONS="cc"'
        # NONE may stand at all variants or at none, so one without captions beside others with
        # them says nothing.
        lines += [_stream_inf(video, sounds, attributes), uri(rendition.name)]
    return "\n".join(lines) + "\n"


def _in_order(videos: Sequence[Variant]) -> list[Variant]:
    """The best quality that an ordinary line holds, then the others from best to least.

    Safari begins with the first entry, and hls.js takes its bit rate for the line's until it has
    measured: the source first would stall phones, the least first would look bad for seconds.
    """
    fitting = (video for video in videos if _peak_bps(video) <= _FIRST_MAX_BPS)
    first = next(fitting, videos[-1])
    return [first, *(video for video in videos if video is not first)]


def _has_captions(video: Variant) -> bool:
    return any(form.closed_captions for form in video.forms)


def _codecs(variant: Variant, sounds: Sequence[Variant]) -> str:
    """Every format that a segment in the playlists has, also of earlier runs (4.4.6.2)."""
    own = [form.codecs for form in variant.forms]
    theirs = sorted({form.codecs for sound in sounds for form in sound.forms})
    return ",".join(dict.fromkeys([*own, *theirs]))


def _stream_inf(variant: Variant, sounds: Sequence[Variant], attributes: str) -> str:
    peak = _peak_bps(variant) + max(map(_peak_bps, sounds), default=0)
    average = _average_bps(variant) + max(map(_average_bps, sounds), default=0)
    return (
        f"#EXT-X-STREAM-INF:BANDWIDTH={max(peak, average)},AVERAGE-BANDWIDTH={average},"
        f"CODECS={quoted(_codecs(variant, sounds))}{attributes}"
    )


def _audio_media(sound: Variant, *, default: bool, uri: str) -> str:
    rendition = sound.rendition
    text = (
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME={quoted(rendition.name)},'
        f"DEFAULT={'YES' if default else 'NO'},AUTOSELECT=YES"
    )
    channels = max(form.channels for form in sound.forms)
    if channels:
        text += f',CHANNELS="{channels}"'
    return text + f",URI={quoted(uri)}"


def _peak_bps(variant: Variant) -> int:
    """Measured peak, never less than what the encoder was told to make: it may still come."""
    return max(variant.peak_bps, variant.rendition.bandwidth_bps) or _guess_bps(variant)


def _average_bps(variant: Variant) -> int:
    return variant.average_bps or _peak_bps(variant)


def _guess_bps(variant: Variant) -> int:
    rendition = variant.rendition
    if rendition.kind is Kind.AUDIO:
        return _GUESSED_AUDIO_BPS
    rate = float(rendition.frame_rate or 30)
    return max(1, round(rendition.width * rendition.height * rate * _GUESSED_BITS_PER_PIXEL))

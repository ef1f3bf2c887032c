"""The rules of RFC 8216bis, and of this project's design, for one playlist by itself.

Section numbers are those of draft-pantos-hls-rfc8216bis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction

import m3u8
from support.hls_grammar import (
    Finding,
    MediaPlaylist,
    Multivariant,
    read_media,
    read_multivariant,
)

_DATE_SLACK_S = Fraction(3, 1000)
"""Dates are rounded to milliseconds, at both ends."""
_SUM_SLACK_S = Fraction(1, 1000)


def check_media(text: str) -> tuple[MediaPlaylist, list[Finding]]:
    """One media playlist by itself."""
    playlist, findings = read_media(text)
    findings += _check_head(playlist)
    findings += _check_segments(playlist)
    findings += _check_parts(playlist)
    findings += _check_dates(playlist)
    findings += _check_tail(playlist)
    findings += _check_with_m3u8(text, playlist)
    return playlist, findings


def check_archive(text: str) -> tuple[MediaPlaylist, list[Finding]]:
    """One archive playlist: EVENT or VOD, from the first segment on."""
    playlist, findings = check_media(text)
    if playlist.type != ("VOD" if playlist.ended else "EVENT"):
        findings.append(Finding("archive-type", f"{playlist.type}, ended: {playlist.ended}"))
    if playlist.media_sequence or playlist.discontinuity_sequence:
        findings.append(Finding("archive-start", "it does not begin at the beginning"))
    if playlist.low_latency:
        findings.append(Finding("archive-parts", "an archive has no parts"))
    if any(segment.date is None for segment in playlist.segments):
        findings.append(Finding("date-missing", "a segment has no date"))
    return playlist, findings


def check_live(text: str) -> tuple[MediaPlaylist, list[Finding]]:
    """One low-latency playlist, with what design section 4 asks beyond the RFC."""
    playlist, findings = check_media(text)
    if not playlist.low_latency:
        findings.append(Finding("part-inf", "there is no EXT-X-PART-INF"))
    for attribute in ("CAN-BLOCK-RELOAD", "PART-HOLD-BACK", "CAN-SKIP-UNTIL"):
        if attribute not in playlist.control:
            findings.append(Finding("server-control", f"{attribute} is missing"))
    if any(segment.date is None for segment in playlist.segments):
        findings.append(Finding("date-missing", "a segment has no date"))
    waiting = playlist.trailing_discontinuity or playlist.ended
    gap_at_edge = bool(playlist.segments) and playlist.segments[-1].gap
    if playlist.segments and not waiting and not gap_at_edge and not playlist.hints:
        findings.append(Finding("hint", "the playlist goes on, but hints nothing"))
    if playlist.trailing_discontinuity and playlist.hints:
        findings.append(Finding("hint", "a part is hinted though the run is over"))
    return playlist, findings


def check_multivariant(text: str) -> tuple[Multivariant, list[Finding]]:
    """A multivariant playlist."""
    found, findings = read_multivariant(text)

    def fault(rule: str, what: str) -> None:
        findings.append(Finding(rule, what))

    if not found.streams:
        fault("stream-inf", "no variant at all")
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for media in found.media:
        for attribute in ("TYPE", "GROUP-ID", "NAME"):
            if attribute not in media:
                fault("media", f"{media} lacks {attribute}")
        kind = media.get("TYPE", "")
        groups.setdefault((kind, media.get("GROUP-ID", "")), []).append(media)
        if kind == "CLOSED-CAPTIONS":
            if "URI" in media or "INSTREAM-ID" not in media:
                fault("media", "captions have an INSTREAM-ID and no URI")
        elif kind == "AUDIO" and "INSTREAM-ID" in media:
            fault("media", "only captions have an INSTREAM-ID")
        if media.get("DEFAULT") == "YES" and media.get("AUTOSELECT", "YES") != "YES":
            fault("media", "DEFAULT without AUTOSELECT")
    for members in groups.values():
        names = [member.get("NAME") for member in members]
        if len(set(names)) != len(names):
            fault("media", f"two of one group have one name: {names}")
        if sum(member.get("DEFAULT") == "YES" for member in members) > 1:
            fault("media", "a group has two defaults")
    uris = [stream.uri for stream in found.streams]
    if len(set(uris)) != len(uris):
        fault("stream-inf", "two variants have one URI")
    none = [stream.attributes.get("CLOSED-CAPTIONS") == "NONE" for stream in found.streams]
    if any(none) and not all(none):
        fault("captions", "CLOSED-CAPTIONS=NONE stands at some variants only")
    for stream in found.streams:
        _check_stream(stream.uri, stream.attributes, groups, fault)
    try:
        parsed = m3u8.loads(text)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as refused:
        fault("m3u8", f"the m3u8 package can't read it: {refused!r}")
        return found, findings
    if len(parsed.playlists) != len(found.streams) or len(parsed.media) != len(found.media):
        fault("m3u8", "the m3u8 package reads another number of variants or media")
    for theirs, ours in zip(parsed.playlists, found.streams, strict=False):
        if theirs.stream_info.bandwidth != int(ours.attributes.get("BANDWIDTH", "0")):
            fault("m3u8", f"BANDWIDTH of {ours.uri} is read otherwise")
    return found, findings


def _check_stream(
    uri: str,
    attributes: dict[str, str],
    groups: dict[tuple[str, str], list[dict[str, str]]],
    fault: Callable[[str, str], None],
) -> None:
    peak = attributes.get("BANDWIDTH", "")
    average = attributes.get("AVERAGE-BANDWIDTH", "")
    if not peak.isdigit() or int(peak) <= 0:
        fault("bandwidth", f"{uri}: BANDWIDTH={peak}")
    elif not average.isdigit() or not 0 < int(average) <= int(peak):
        fault("bandwidth", f"{uri}: AVERAGE-BANDWIDTH={average}, BANDWIDTH={peak}")
    codecs = attributes.get("CODECS", "").split(",")
    if not all(codecs):
        fault("codecs", f"{uri}: CODECS={attributes.get('CODECS')}")
    video = any(codec.split(".")[0] in VIDEO_CODECS for codec in codecs)
    audio = any(codec.split(".")[0].lower() in AUDIO_CODECS for codec in codecs)
    if video:
        if "RESOLUTION" not in attributes:
            fault("resolution", f"{uri} has none")
        rate = attributes.get("FRAME-RATE")
        if rate is not None and (rate.count(".") != 1 or len(rate.partition(".")[2]) > 3):
            fault("frame-rate", f"{uri}: {rate} (three decimals)")
    elif "RESOLUTION" in attributes or "FRAME-RATE" in attributes:
        fault("resolution", f"{uri} has no video")
    for kind in ("AUDIO", "CLOSED-CAPTIONS"):
        group = attributes.get(kind)
        if group is not None and group != "NONE" and (kind, group) not in groups:
            fault("group", f"{uri}: there is no {kind} group {group}")
    if "AUDIO" in attributes and not audio:
        fault("codecs", f"{uri}: the codecs of its sound are missing")


VIDEO_CODECS = ("avc1", "avc3", "hvc1", "hev1", "av01", "vp09")
AUDIO_CODECS = ("mp4a", "opus", "ac-3", "ec-3", "flac")


def _check_head(playlist: MediaPlaylist) -> Iterable[Finding]:
    if playlist.target <= 0:
        yield Finding("targetduration", f"{playlist.target}")
    if playlist.skipped and playlist.version < 9:
        yield Finding("version", "EXT-X-SKIP needs version 9")
    if playlist.has_map and playlist.version < 6:
        yield Finding("version", "EXT-X-MAP needs version 6")
    control = playlist.control
    numbers = {}
    for name in ("PART-HOLD-BACK", "HOLD-BACK", "CAN-SKIP-UNTIL"):
        if name in control:
            try:
                numbers[name] = Fraction(control[name])
            except ValueError:
                yield Finding("server-control", f"{name}={control[name]}")
    if "CAN-BLOCK-RELOAD" in control and control["CAN-BLOCK-RELOAD"] != "YES":
        yield Finding("server-control", "CAN-BLOCK-RELOAD can only be YES")
    if numbers.get("HOLD-BACK", math.inf) < 3 * playlist.target:
        yield Finding("hold-back", f"{control['HOLD-BACK']} is less than 3 target durations")
    if numbers.get("CAN-SKIP-UNTIL", math.inf) < 6 * playlist.target:
        yield Finding("skip-until", f"{control['CAN-SKIP-UNTIL']} is less than 6 target durations")
    if playlist.part_target is not None:
        if "PART-HOLD-BACK" not in control:
            yield Finding("part-hold-back", "missing")
        elif numbers.get("PART-HOLD-BACK", 0) < 3 * playlist.part_target:
            yield Finding("part-hold-back", "less than 3 part targets")
        if not 0 < playlist.part_target <= playlist.target:
            yield Finding("part-inf", f"PART-TARGET={playlist.part_target}")


def _check_segments(playlist: MediaPlaylist) -> Iterable[Finding]:
    uris: set[str] = set()
    for segment in playlist.complete:
        where = f"segment {segment.msn}"
        # Rounded to the nearest integer, and a half upwards.
        if math.floor(segment.duration + Fraction(1, 2)) > playlist.target:
            yield Finding("extinf", f"{where}: {float(segment.duration)} s, {playlist.target}")
        if segment.duration <= 0:
            yield Finding("extinf", f"{where} has no duration")
        if not segment.init and not segment.gap and not playlist.skipped:
            yield Finding("map", f"{where} has no EXT-X-MAP before it")
        if segment.uri in uris:
            yield Finding("name-reused", segment.uri)
        uris.add(segment.uri)
        if segment.parts and not segment.gap:
            total = sum((part.duration for part in segment.parts), Fraction(0))
            if abs(total - segment.duration) > _SUM_SLACK_S:
                yield Finding(
                    "part-sum", f"{where}: {float(total)} in parts, {float(segment.duration)}"
                )
    for segment in playlist.segments:
        if playlist.independent and segment.parts and not segment.parts[0].independent:
            yield Finding("independent-segments", f"segment {segment.msn} does not begin so")
        if segment.gap and segment.parts:
            yield Finding("gap", f"segment {segment.msn} has parts")
        for part in segment.parts:
            if part.uri in uris:
                yield Finding("name-reused", part.uri)
            uris.add(part.uri)


def _check_parts(playlist: MediaPlaylist) -> Iterable[Finding]:
    target = playlist.part_target
    if target is None:
        if any(segment.parts for segment in playlist.segments):
            yield Finding("part-inf", "parts without EXT-X-PART-INF")
        return
    behind = Fraction(0)
    for segment in reversed(playlist.segments):
        # decimals are rounded to 10 µs, so as many segments may seem that much longer
        if segment.parts and behind > 3 * playlist.target + Fraction(1, 1000):
            yield Finding("old-parts", f"segment {segment.msn} is {float(behind)} s from the end")
        near = behind + segment.duration <= 3 * playlist.target
        if near and segment.uri and not segment.parts and not segment.gap:
            yield Finding("parts-missing", f"segment {segment.msn} lists none")
        behind += segment.duration or sum((p.duration for p in segment.parts), Fraction(0))
        for index, part in enumerate(segment.parts):
            where = f"part {segment.msn}.{index}"
            if part.duration > target:
                yield Finding("part-long", f"{where}: {float(part.duration)} > {float(target)}")
            last = index == len(segment.parts) - 1
            excused = part.independent or part.gap or last or segment.parts[index + 1].gap
            if part.duration < target * 85 / 100 and not excused:
                yield Finding("part-short", f"{where}: {float(part.duration)} of {float(target)}")


def _check_dates(playlist: MediaPlaylist) -> Iterable[Finding]:
    for before, after in zip(playlist.segments, playlist.segments[1:], strict=False):
        if before.date is None or after.date is None:
            continue
        step = Fraction((after.date - before.date).total_seconds()).limit_denominator(10**6)
        off = step - before.duration
        if after.dseq == before.dseq and not (before.gap or after.gap):
            if abs(off) > _DATE_SLACK_S:
                yield Finding("date", f"segment {after.msn} is {float(off):+.3f} s off")
        elif off < -_DATE_SLACK_S and not before.gap:
            yield Finding("date-back", f"segment {after.msn} is {float(-off):.3f} s early")


def _check_tail(playlist: MediaPlaylist) -> Iterable[Finding]:
    if playlist.ended:
        if playlist.hints:
            yield Finding("hint", "a playlist that has ended hints something")
        if playlist.trailing_discontinuity:
            yield Finding("discontinuity", "a discontinuity before nothing")
        if playlist.segments and not playlist.segments[-1].uri:
            yield Finding("end", "the last segment is not complete")
        if playlist.skipped:
            yield Finding("skip", "a playlist that has ended skips segments")
    if len({hint.get("TYPE") for hint in playlist.hints}) != len(playlist.hints):
        yield Finding("hint", "two hints of one type")
    listed = {part.uri for segment in playlist.segments for part in segment.parts}
    for hint in playlist.hints:
        if hint.get("URI") in listed:
            yield Finding("hint", f"{hint.get('URI')} is there already")
    seen = set()
    for report in playlist.reports:
        uri = report.get("URI", "")
        if "://" in uri or uri.startswith("/"):
            yield Finding("report", f"{uri} is not relative")
        if not report.get("LAST-MSN", "").isdigit() or not report.get("LAST-PART", "0").isdigit():
            yield Finding("report", f"{report}")
        if uri in seen:
            yield Finding("report", f"two on {uri}")
        seen.add(uri)
    if playlist.skipped:
        limit = Fraction(playlist.control.get("CAN-SKIP-UNTIL", "0"))
        if not limit:
            yield Finding("skip", "EXT-X-SKIP without CAN-SKIP-UNTIL")
        left = sum((segment.duration for segment in playlist.complete), Fraction(0))
        if left < limit:
            yield Finding("skip", f"only {float(left)} s are left of {float(limit)}")


def _check_with_m3u8(text: str, playlist: MediaPlaylist) -> Iterable[Finding]:
    """Whether an independent parser reads the same."""
    try:
        parsed = m3u8.loads(text)
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as refused:
        yield Finding("m3u8", f"the m3u8 package can't read it: {refused!r}")
        return
    theirs = [segment for segment in parsed.segments if segment.uri]
    ours = playlist.complete
    if len(theirs) != len(ours):
        yield Finding("m3u8", f"the m3u8 package reads {len(theirs)} segments, not {len(ours)}")
        return
    if (parsed.media_sequence or 0) != playlist.media_sequence:
        yield Finding("m3u8", f"media sequence {parsed.media_sequence}")
    if bool(parsed.is_endlist) != playlist.ended:
        yield Finding("m3u8", "it reads another end")
    for left, right in zip(theirs, ours, strict=True):
        if left.uri != right.uri or abs(left.duration - float(right.duration)) > 1e-6:
            yield Finding("m3u8", f"segment {right.msn} is read as {left.uri} {left.duration}")
        if len(left.parts) != len(right.parts):
            yield Finding("m3u8", f"segment {right.msn} has {len(left.parts)} parts")
        init = left.init_section.uri if left.init_section else ""
        if right.init and init != right.init:
            yield Finding("m3u8", f"segment {right.msn} has the init {init}")

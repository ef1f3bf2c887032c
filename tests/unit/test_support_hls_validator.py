"""The validator that all HLS tests lean on sees each kind of fault."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from support.hls_room import Script, StudioRoom
from support.hls_validator import (
    BadBytes,
    Finding,
    Series,
    Track,
    check_alignment,
    check_archive,
    check_live,
    check_media_bytes,
    check_multivariant,
    merge_delta,
    peak_bps,
    read_fragments,
    read_init,
)

from hausd.wire.hls import multivariant_playlist
from hausd.wire.hls_archive import archive_media_playlist
from hausd.wire.hls_live import live_media_playlist, report_of


def on_air(gops: int = 14, parts: int = 3) -> StudioRoom:
    room = StudioRoom(Script(window_s=60, frame_bytes=8))
    room.begin_run()
    room.run_gops(4)
    room.end_run()
    room.begin_run()
    room.run_gops(gops)
    if parts:
        room.run_gops(parts=parts)
    return room


def live_text(room: StudioRoom, name: str = "source", *, delta: bool = False) -> str:
    view, audio = room.live(name), room.live("audio")
    assert view is not None
    assert audio is not None
    report = report_of(audio.playlist())
    assert report is not None
    return live_media_playlist(view.playlist(), [report], delta=delta)


def rules(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


LIVE = live_text(on_air())
PART = '#EXT-X-PART:DURATION=0.43333,URI="1.18.1.m4s"'


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return change


def test_a_right_playlist_has_no_findings() -> None:
    assert PART in LIVE
    assert check_live(LIVE)[1] == []
    assert check_live(live_text(on_air(), delta=True))[1] == []


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("extm3u", swap("#EXTM3U\n", "")),
        ("bom", lambda text: "\ufeff" + text),
        ("line-end", lambda text: text.rstrip("\n")),
        ("blank-line", swap("#EXTINF", "\n#EXTINF")),
        ("unknown-tag", swap("#EXTINF", "#EXT-X-FOO:1\n#EXTINF")),
        ("repeated-tag", swap("#EXT-X-VERSION:9", "#EXT-X-VERSION:9\n#EXT-X-VERSION:9")),
        ("attribute-list", swap("PART-HOLD-BACK=1.302,", "PART-HOLD-BACK=1.302,,")),
        ("attribute-list", swap(PART, PART.replace('"', ""))),
        ("number", swap("#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:2.0")),
        ("number", swap("DURATION=0.43333", "DURATION=4e-1")),
        ("targetduration", swap("#EXT-X-TARGETDURATION:2\n", "")),
        ("extinf", swap("#EXTINF:2,", "#EXTINF:2.5,")),
        ("extinf", swap("#EXTINF:2,", "#EXTINF:2")),
        ("extinf", swap("#EXTINF:2,\n", "")),
        ("part-sum", swap("#EXTINF:2,\n1.17.m4s", "#EXTINF:1.9,\n1.17.m4s")),
        ("date", swap("#EXTINF:2,\n1.17.m4s", "#EXTINF:1.99,\n1.17.m4s")),
        ("date", swap("58.080Z", "58.330Z")),
        ("date", swap("2025-06", "2025/06")),
        ("part-long", swap("0.43333", "0.44")),
        ("part-short", swap(PART, PART.replace("0.43333", "0.3"))),
        ("part-inf", swap("#EXT-X-PART-INF:PART-TARGET=0.434\n", "")),
        ("part-hold-back", swap("PART-HOLD-BACK=1.302", "PART-HOLD-BACK=1.3")),
        ("hold-back", swap(",HOLD-BACK=6", ",HOLD-BACK=5")),
        ("skip-until", swap("CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=11.9")),
        ("server-control", swap("CAN-BLOCK-RELOAD=YES,", "")),
        ("map", swap('#EXT-X-MAP:URI="init.1.0.mp4"\n', "")),
        ("version", swap("#EXT-X-VERSION:9", "#EXT-X-VERSION:5")),
        ("name-reused", swap("1.17.m4s", "1.16.m4s")),
        ("name-reused", swap(PART, PART.replace("1.18.1", "1.18.0"))),
        ("hint", lambda text: re.sub("#EXT-X-PRELOAD-HINT.*\n", "", text)),
        ("hint", swap('PART,URI="1.18.3.m4s"', 'PART,URI="1.18.2.m4s"')),
        ("hint", lambda text: text + "#EXT-X-ENDLIST\n"),
        ("end", lambda text: re.sub("#EXT-X-PRELOAD-HINT.*\n", "", text) + "#EXT-X-ENDLIST\n"),
        ("hint", lambda text: text + "#EXT-X-DISCONTINUITY\n"),
        ("independent-segments", swap(",INDEPENDENT=YES", "")),
        ("order", swap(PART, PART + "\n#EXT-X-PROGRAM-DATE-TIME:2025-06-15T15:07:12.000Z")),
        ("order", lambda text: text + "#EXT-X-MEDIA-SEQUENCE:0\n"),
        ("old-parts", swap("#EXTINF:2,\n1.3.m4s",
                           '#EXT-X-PART:DURATION=0.4,URI="old.m4s"\n#EXTINF:2,\n1.3.m4s')),
        ("parts-missing", lambda text: re.sub('#EXT-X-PART:.*"1.17.*\n', "", text)),
        ("report", swap("../audio/index.m3u8", "/live/audio/index.m3u8")),
        ("report", swap("LAST-MSN=18", "LAST-MSN=x")),
        ("date-missing", lambda text: re.sub("#EXT-X-PROGRAM-DATE-TIME.*\n", "", text, count=1)),
        ("date-back", swap("#EXTINF:2,\n1.3.m4s", "#EXTINF:2.4,\n1.3.m4s")),
    ],
)  # fmt: skip
def test_each_fault_of_a_live_playlist_is_found(rule: str, change: Callable[[str], str]) -> None:
    assert rule in rules(check_live(change(LIVE))[1])


def test_a_delta_update_that_skips_too_much_is_found() -> None:
    text = live_text(on_air(), delta=True)
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("#EXT-X-SKIP"))
    cut = re.sub("SEGMENTS=[0-9]+", "SEGMENTS=17", lines[at])
    first_kept = lines.index("1.16.m4s") + 1
    shorter = "\n".join([*lines[:at], cut, *lines[first_kept:]]) + "\n"
    assert "skip" in rules(check_live(shorter)[1])
    with pytest.raises(ValueError, match="does not hold"):
        merge_delta(check_live(live_text(on_air(2)))[0], check_live(text)[0])


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("changed-target", swap("#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:3")),
        ("changed-part-target", swap("PART-TARGET=0.434", "PART-TARGET=0.44")),
        ("changed-control", swap("PART-HOLD-BACK=1.302", "PART-HOLD-BACK=1.4")),
        ("msn-back", swap("#EXT-X-MEDIA-SEQUENCE:0", "#EXT-X-MEDIA-SEQUENCE:00")),
        ("changed-segment", swap("1.7.m4s", "1.7x.m4s")),
        ("changed-segment", swap("#EXTINF:2,\n1.7.m4s", "#EXTINF:2.1,\n1.7.m4s")),
        ("changed-date", swap("15:06:42.", "15:06:43.")),
        ("changed-map", swap("init.1.1.mp4", "init.1.2.mp4")),
        ("changed-dseq", swap("#EXT-X-DISCONTINUITY\n", "")),
        ("changed-part", swap(PART, PART + ",INDEPENDENT=YES")),
        ("dseq", swap("#EXT-X-DISCONTINUITY-SEQUENCE:0", "#EXT-X-DISCONTINUITY-SEQUENCE:1")),
        ("edge-back", lambda text: text[: text.index("#EXTINF:2,\n1.17.m4s")]),
        ("hint-broken", lambda text: re.sub(
            "#EXT-X-PRELOAD.*\n.*\n",
            "#EXTINF:1.3,\n1.18.m4s\n#EXT-X-PROGRAM-DATE-TIME:2025-06-15T15:07:17.380Z\n"
            '#EXT-X-PART:DURATION=0.4,URI="1.19.0.m4s"\n', text)),
    ],
)  # fmt: skip
def test_each_fault_between_reloads_is_found(rule: str, change: Callable[[str], str]) -> None:
    series = Series()
    before = LIVE
    if rule == "msn-back":
        before = live_text(on_air(30))
        change = swap("\n#EXT-X", "\n#EXT-X")
    assert series.feed(check_live(before)[0]) == []
    assert rule in rules(series.feed(check_live(change(LIVE))[0]))


def test_a_playlist_that_goes_on_after_its_end_is_found() -> None:
    room = on_air(4, 0)
    room.end()
    ended = live_text(room)
    series = Series()
    series.feed(check_live(ended)[0])
    assert series.feed(check_live(ended)[0]) == []
    again = ended.replace("#EXT-X-ENDLIST\n", "")
    assert "after-end" in rules(series.feed(check_live(again)[0]))


def test_renditions_that_do_not_fit_each_other_are_found() -> None:
    room = on_air()
    source, other = check_live(live_text(room))[0], check_live(live_text(room, "720p"))[0]
    assert check_alignment([source, other]) == []
    late = check_live(live_text(room, "720p").replace("15:06:42.", "15:06:43."))[0]
    assert rules(check_alignment([source, late])) == {"aligned-date"}
    moved = live_text(room, "720p").replace("SEQUENCE:0\n#EXT-X-MAP", "SEQUENCE:1\n#EXT-X-MAP")
    assert "aligned-discontinuity" in rules(check_alignment([source, check_live(moved)[0]]))


MULTI = multivariant_playlist(on_air().variants())


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("stream-inf", lambda text: text.rpartition("\n720p")[0] + "\n"),
        ("stream-inf", swap("720p/index.m3u8", "source/index.m3u8")),
        ("bandwidth", lambda text: re.sub(":BANDWIDTH=[0-9]+,", ":", text)),
        ("bandwidth", lambda text: re.sub(",AVERAGE-BANDWIDTH=", ",AVERAGE-BANDWIDTH=9999", text)),
        ("codecs", lambda text: re.sub('CODECS="[^"]*",', "", text)),
        ("codecs", swap(",mp4a.40.2", "")),
        ("resolution", lambda text: re.sub("RESOLUTION=[^,]*,", "", text)),
        ("frame-rate", swap("FRAME-RATE=30.000", "FRAME-RATE=29.97003")),
        ("group", swap('GROUP-ID="audio"', 'GROUP-ID="sound"')),
        ("captions", swap(",CLOSED-CAPTIONS=NONE", "")),
        ("media", swap('NAME="audio",', "")),
        ("media", swap("AUTOSELECT=YES", "AUTOSELECT=NO")),
    ],
)
def test_each_fault_of_a_multivariant_playlist_is_found(
    rule: str, change: Callable[[str], str]
) -> None:
    assert check_multivariant(MULTI)[1] == []
    assert rule in rules(check_multivariant(change(MULTI))[1])


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("archive-type", swap("#EXT-X-PLAYLIST-TYPE:EVENT\n", "")),
        ("archive-start", swap("#EXT-X-MEDIA-SEQUENCE:0", "#EXT-X-MEDIA-SEQUENCE:3")),
        ("map", swap("#EXT-X-MAP", "#EXT-X-XMAP")),
        ("extinf", swap("#EXTINF:10,", "#EXTINF:10.6,")),
        ("date", swap("#EXTINF:10,", "#EXTINF:9.9,")),
    ],
)
def test_each_fault_of_an_archive_is_found(rule: str, change: Callable[[str], str]) -> None:
    recorded = on_air(11).archive("source")
    assert recorded is not None
    right = archive_media_playlist(recorded)
    assert check_archive(right)[1] == []
    assert rule in rules(check_archive(change(right))[1])


def test_removing_from_an_event_playlist_is_found() -> None:
    recorded = on_air(11).archive("source")
    assert recorded is not None
    playlist = check_archive(archive_media_playlist(recorded))[0]
    series = Series()
    series.feed(playlist)
    cut = replace(playlist, media_sequence=1, segments=playlist.segments[1:])
    assert "event-removed" in rules(series.feed(cut))


# -- bytes


def watched(name: str = "source") -> Track:
    """What ``watch`` would have fetched of a rendition."""
    room = on_air(4, 0)
    view = room.live(name)
    assert view is not None
    playlist, faults = check_live(live_text(room, name))
    assert not faults
    stream = check_multivariant(multivariant_playlist(room.variants()))[0].streams[0]
    track = Track("", dict(stream.attributes) if name != "audio" else {}, playlist)
    for segment in playlist.complete:
        _, run, _ = segment.init.removeprefix("init.").split(".")
        init = view.init(1, int(run))
        media = view.segment(1, segment.msn)
        assert init is not None
        assert media is not None
        assert isinstance(init.body, tuple)
        assert isinstance(media.body, tuple)
        data = b"".join(media.body)
        track.inits.setdefault(segment.init, read_init(b"".join(init.body)))
        track.segments[segment.msn] = segment
        track.fragments[segment.msn] = read_fragments(data)
        track.sizes[segment.msn] = len(data)
        for index, part in enumerate(segment.parts):
            found = view.part(1, segment.msn, index)
            assert found is not None
            assert isinstance(found.body, tuple)
            track.parts[part.uri] = b"".join(found.body)
    return track


def faults_of(track: Track) -> set[str]:
    found: set[str] = set()
    check_media_bytes(track, lambda rule, _: found.add(rule))
    return found


def test_right_bytes_have_no_findings() -> None:
    for name in ("source", "audio"):
        assert faults_of(watched(name)) == set()


def test_inits_say_their_codecs_size_and_scale() -> None:
    for name, codec, size in (
        ("source", "avc1.42C00D", (320, 180)),
        ("audio", "mp4a.40.2", (0, 0)),
    ):
        init = watched(name).inits["init.1.0.mp4"]
        assert (init.codec.lower(), (init.width, init.height)) == (codec.lower(), size)
        assert init.timescale == (90_000 if name == "source" else 48_000)


@pytest.mark.parametrize(
    ("rule", "attribute", "value"),
    [
        ("codecs", "CODECS", "avc1.640028,mp4a.40.2"),
        ("resolution", "RESOLUTION", "1280x720"),
        ("frame-rate", "FRAME-RATE", "25.000"),
    ],
)
def test_attributes_that_are_not_those_of_the_bytes_are_found(
    rule: str, attribute: str, value: str
) -> None:
    track = watched()
    track.attributes[attribute] = value
    assert faults_of(track) == {rule}


def test_bytes_that_are_not_as_long_as_the_playlist_says_are_found() -> None:
    track = watched()
    track.fragments[1] = track.fragments[1][:-1]
    assert {"extinf", "tfdt"} <= faults_of(track)


def test_segments_that_do_not_follow_each_other_are_found() -> None:
    track = watched()
    track.fragments[2] = [replace(f, start=f.start + 3000) for f in track.fragments[2]]
    assert faults_of(track) == {"tfdt"}


def test_a_part_that_only_claims_to_be_independent_is_found() -> None:
    track = watched()
    last = track.segments[max(track.segments)]
    last.parts[1].independent = True
    assert faults_of(track) == {"independent"}


def test_a_part_of_another_length_is_found() -> None:
    track = watched()
    last = track.segments[max(track.segments)]
    last.parts[1].duration += Fraction(1, 100)
    assert faults_of(track) == {"part-duration"}


def test_peaks_are_measured_over_half_a_target_at_least() -> None:
    track = watched()
    for msn in track.sizes:
        track.sizes[msn] = 250_000 if msn == 2 else 25_000
    assert peak_bps(track) == 1_000_000


@pytest.mark.parametrize("cut", [0, 4, 40, 100])
def test_damaged_bytes_are_refused(cut: int) -> None:
    part = next(iter(watched().parts.values()))
    with pytest.raises(BadBytes):
        read_fragments(part[:cut])

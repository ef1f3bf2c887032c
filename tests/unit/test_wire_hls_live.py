"""Live playlists are right to the letter of RFC 8216bis, whatever is streamed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from support.hls_room import Script, StudioRoom
from support.hls_validator import (
    Series,
    check_alignment,
    check_live,
    difference,
    merge_delta,
    read_media,
)

from hausd.core.live import LivePlaylist
from hausd.wire.hls_live import LiveRenderer, live_media_playlist, report_of
from hausd.wire.hls_names import InitName, PartName, SegmentName, parse_media_name
from hausd.wire.hls_text import date_text, seconds_text

QUICK = [Phase.explicit, Phase.generate]
RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, 60, 12]

scripts = st.builds(
    lambda rate, hz, gop_frames, part, window: Script(
        frame_rate=Fraction(rate),
        sample_rate_hz=hz,
        gop_s=gop_frames / Fraction(rate),
        part_s=part,
        target_s=max(1, -(-gop_frames * Fraction(rate).denominator // Fraction(rate).numerator)),
        window_s=window,
        frame_bytes=8,
    ),
    st.sampled_from(RATES),
    st.sampled_from([44_100, 48_000]),
    st.integers(12, 150),
    st.sampled_from([Fraction(1, 5), Fraction(2, 5), Fraction(1, 2)]),
    st.sampled_from([6.0, 20.0, 60.0]),
)
happenings = st.lists(
    st.sampled_from(["gop", "gop", "gop", "part", "part", "drop", "shed", "back"]), max_size=14
)


def texts(room: StudioRoom, renderers: dict[str, LiveRenderer], delta: bool) -> dict[str, str]:
    names = [variant.rendition.name for variant in room.variants()]
    found = {}
    for name in names:
        view = room.live(name)
        assert view is not None
        reports = [report_of(other(room, n)) for n in names if n != name]
        renderer = renderers.setdefault(name, LiveRenderer())
        found[name] = renderer.render(
            view.playlist(), [report for report in reports if report], delta=delta
        )
    return found


def other(room: StudioRoom, name: str) -> LivePlaylist:
    view = room.live(name)
    assert view is not None
    return view.playlist()


@given(scripts, happenings, st.booleans())
@example(
    Script(gop_s=Fraction(1), part_s=Fraction(1, 2), window_s=6),
    ["gop"] * 12 + ["drop", "gop"],
    False,
)
@example(Script(gop_s=Fraction(10), target_s=10, window_s=30), ["gop", "part", "gop"], True)
@settings(max_examples=20, phases=QUICK)
def test_every_playlist_over_time_keeps_the_rules_and_delta_updates_lead_to_it(
    script: Script, happened: list[str], end: bool
) -> None:
    room = StudioRoom(script)
    room.begin_run()
    room.run_gops()
    renderers: dict[str, LiveRenderer] = {}
    series: dict[str, Series] = {}
    merged: dict[str, object] = {}
    part = 0
    for what in [*happened, *(["end"] if end else [])]:
        if what == "gop":
            room.run_gops()
            part = 0
        elif what == "part":
            part += 1
            room.run_gops(parts=part)
        elif what == "drop":
            room.end_run()
            check(room, renderers, series, merged)
            room.begin_run()
            room.run_gops()
            part = 0
        elif what == "shed" and not part:
            room.silent = {"720p"}
        elif what == "back" and not part:
            room.silent = set()
        elif what == "end":
            room.end()
        check(room, renderers, series, merged)
    for one in series.values():
        assert one.hints_broken == 0


def check(
    room: StudioRoom,
    renderers: dict[str, LiveRenderer],
    series: dict[str, Series],
    merged: dict[str, object],
) -> None:
    read = []
    full_texts = texts(room, renderers, delta=False)
    deltas = texts(room, renderers, delta=True)
    for name, text in full_texts.items():
        full, faults = check_live(text)
        assert not faults, (faults, text)
        view = room.live(name)
        assert view is not None
        reports = [report_of(other(room, n)) for n in full_texts if n != name]
        again = live_media_playlist(view.playlist(), [report for report in reports if report])
        assert again == text, "what a renderer keeps must not show"
        update, faults = check_live(deltas[name])
        assert not faults, (faults, deltas[name])
        known = merged.get(name)
        if known is not None:
            try:
                update = merge_delta(known, update)  # type: ignore[arg-type]
            except ValueError:
                update = full  # a client that slept too long asks for all of it
        elif update.skipped:
            update = full
        assert difference(update, full) == ""
        merged[name] = update
        faults = series.setdefault(name, Series()).feed(full)
        assert not faults, (faults, text)
        read.append(full)
    assert not check_alignment(read)


def test_the_playlist_says_what_a_player_needs_at_the_edge() -> None:
    room = StudioRoom(Script(window_s=60))
    room.begin_run()
    room.run_gops(13)
    room.run_gops(parts=2)
    text = texts(room, {}, delta=False)["source"]
    lines = text.splitlines()
    assert lines[:8] == [
        "#EXTM3U",
        "#EXT-X-VERSION:9",
        "#EXT-X-TARGETDURATION:2",
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.302,CAN-SKIP-UNTIL=12,"
        "HOLD-BACK=6",
        "#EXT-X-PART-INF:PART-TARGET=0.434",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-DISCONTINUITY-SEQUENCE:0",
    ]
    assert lines[8:12] == [
        '#EXT-X-MAP:URI="init.1.0.mp4"',
        "#EXT-X-PROGRAM-DATE-TIME:2025-06-15T15:06:40.040Z",
        "#EXTINF:2,",
        "1.0.m4s",
    ]
    assert '#EXT-X-PART:DURATION=0.43333,URI="1.13.0.m4s",INDEPENDENT=YES' in lines
    assert '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="1.13.2.m4s"' in lines
    assert '#EXT-X-RENDITION-REPORT:URI="../audio/index.m3u8",LAST-MSN=13,LAST-PART=1' in lines
    update = texts(room, {}, delta=True)["source"].splitlines()
    assert "#EXT-X-SKIP:SKIPPED-SEGMENTS=6" in update
    assert "1.5.m4s" not in update
    assert "1.6.m4s" in update


def test_a_run_that_is_over_is_told_at_once_and_hints_nothing() -> None:
    room = StudioRoom()
    room.begin_run()
    room.run_gops(2)
    room.end_run()
    lines = texts(room, {}, delta=False)["source"].splitlines()
    last_segment = lines.index("1.1.m4s")
    assert lines[last_segment + 1] == "#EXT-X-DISCONTINUITY"
    assert not any("PRELOAD-HINT" in line for line in lines)
    room.begin_run()
    room.run_gops(1, parts=1)
    lines = texts(room, {}, delta=False)["source"].splitlines()
    assert lines.count("#EXT-X-DISCONTINUITY") == 1
    assert lines[lines.index("#EXT-X-DISCONTINUITY") + 1] == '#EXT-X-MAP:URI="init.1.1.mp4"'


def test_a_rendition_that_is_shed_shows_gaps_and_needs_no_init_for_them() -> None:
    room = StudioRoom()
    room.begin_run()
    room.run_gops(2)
    room.end_run()
    room.silent = {"720p"}
    room.begin_run()
    room.run_gops(2)
    text = texts(room, {}, delta=False)["720p"]
    assert "init.1.1.mp4" not in text, "there is no such init to be fetched"
    read, _ = read_media(text)
    assert [segment.gap for segment in read.segments] == [False, False, True, True]
    assert [segment.dseq for segment in read.segments] == [0, 0, 1, 1]
    assert not read.hints


def test_a_run_that_a_rendition_took_no_part_in_still_counts() -> None:
    room = StudioRoom()
    room.begin_run()
    room.run_gops()
    view = room.live("source")
    assert view is not None
    playlist = view.playlist()
    later = replace(playlist.segments[0], msn=1, run=3, program_time_ms=playlist.version)
    text = live_media_playlist(replace(playlist, segments=(playlist.segments[0], later)))
    read, _ = read_media(text)
    assert [segment.dseq for segment in read.segments] == [0, 3]


def test_what_a_renderer_keeps_is_of_the_segments_that_it_is_given() -> None:
    renderer = LiveRenderer()
    for script in (Script(), Script(frame_rate=Fraction(25))):
        room = StudioRoom(script)
        room.begin_run()
        room.run_gops(3)
        playlist = other(room, "source")
        assert renderer.render(playlist) == live_media_playlist(playlist)


def test_nothing_is_shown_before_a_missing_number_since_players_count_segments() -> None:
    room = StudioRoom()
    room.begin_run()
    room.run_gops(4)
    view = room.live("source")
    assert view is not None
    playlist = view.playlist()
    holed = replace(playlist, segments=(playlist.segments[0], *playlist.segments[2:]))
    read, faults = check_live(live_media_playlist(holed))
    assert not faults
    assert [(segment.msn, segment.uri) for segment in read.segments] == [
        (2, "1.2.m4s"),
        (3, "1.3.m4s"),
    ]


def test_ended_playlists_hint_nothing_and_are_whole_even_when_a_delta_is_asked_for() -> None:
    room = StudioRoom(Script(window_s=60))
    room.begin_run()
    room.run_gops(14)
    room.end()
    full = texts(room, {}, delta=False)
    assert full["source"].splitlines()[-3] == "#EXT-X-ENDLIST"
    assert texts(room, {}, delta=True) == full


@given(st.integers(1, 10**10), st.integers(1, 1_000_000))
def test_durations_are_exact_to_the_tick(ticks: int, timescale: int) -> None:
    text = seconds_text(ticks, timescale)
    value = Fraction(text)
    assert round(value * timescale) == ticks
    assert "e" not in text


@given(st.integers(1, 10**6), st.integers(1, 1_000_000), st.integers(1, 5000))
def test_rounding_never_takes_a_duration_over_a_limit(ticks: int, scale: int, limit: int) -> None:
    value = Fraction(seconds_text(ticks, scale))
    if Fraction(ticks, scale) <= Fraction(limit, 1000):
        assert value <= Fraction(limit, 1000), "PART-TARGET"
    half = limit + Fraction(1, 2)
    if Fraction(ticks, scale) < half:
        assert value < half, "EXTINF would be rounded over TARGETDURATION"


def test_dates_are_utc_to_the_millisecond() -> None:
    assert date_text(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**6))
def test_names_mean_one_thing(session: int, msn: int, part: int) -> None:
    for name in (PartName(session, msn, part), SegmentName(session, msn), InitName(session, msn)):
        assert parse_media_name(str(name)) == name


@pytest.mark.parametrize(
    "text",
    ["", "1.m4s", "01.2.m4s", "1.2.3.4.m4s", "-1.2.m4s", "1.2.3.mp4", "init.1.mp4", "1.2.m4s\n",
     "１.2.m4s", "../1.2.m4s", "1.99999999999999999.m4s", "init.1.2.m4s"],
)  # fmt: skip
def test_what_is_no_name_of_ours_is_none(text: str) -> None:
    assert parse_media_name(text) is None

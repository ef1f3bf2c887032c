"""The live edge tells the truth of what can be fetched, and keeps bounded memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.live import FileRange, LivePart, Media
from hausd.core.media import Kind, Rendition
from hausd.http.directives import is_reached
from hausd.rooms.live import LiveTrack, Span, StoredPart
from hausd.wire.hls_live import live_media_playlist

SESSION = SessionId(4, 1)
VIDEO = Rendition("source", Kind.VIDEO, "avc1.64001f", 1000, bandwidth_bps=1_000_000)


def track(window_s: float = 10.0) -> LiveTrack:
    made = LiveTrack(VIDEO, target_s=2, part_target_ms=500, window_s=window_s)
    made.start_run(VIDEO, SESSION, 0, Media(CID.of(b"init"), "video/mp4", 4, (b"init",)))
    return made


def span(msn: int, run: int = 0) -> Span:
    return Span(msn, SESSION, run, 1_000_000 + 2000 * msn)


def add(live: LiveTrack, msn: int, *, ends: bool = False, stored: bool = False) -> StoredPart:
    data = f"{msn}-{live.playlist().edge()}".encode()
    part = StoredPart(CID.of(data), len(data), data)
    if stored:
        part.stored = FileRange("/store/x", 0, len(data))
    live.add_part(span(msn), LivePart(500, True, len(data)), part, ends_segment=ends)
    return part


def test_a_part_can_be_fetched_from_the_moment_it_is_listed_and_not_before() -> None:
    live = track()
    assert live.part(4, 0, 0) is None
    part = add(live, 0)
    assert live.playlist().edge() == (0, 1)
    found = live.part(4, 0, 0)
    assert found is not None
    assert (found.cid, found.body) == (part.cid, (part.data,))
    assert live.part(4, 0, 1) is None
    assert live.part(3, 0, 0) is None, "another session's name must not give this one's bytes"
    assert live.segment(4, 0) is None, "a segment is not there before it is complete"


def test_an_ended_run_shows_at_once_and_the_next_one_goes_on() -> None:
    live = track()
    add(live, 0)
    live.end_run()
    assert live.playlist().between_runs
    assert live.playlist().segments[-1].complete
    live.start_run(VIDEO, SESSION, 1, Media(CID.of(b"2"), "video/mp4", 1, (b"2",)))
    live.add_part(
        span(1, 1), LivePart(500, True, 1), StoredPart(CID.of(b"x"), 1, b"x"), ends_segment=False
    )
    assert not live.playlist().between_runs
    assert [segment.run for segment in live.playlist().segments] == [0, 1]
    assert live.init(4, 0) is not None
    assert live.init(4, 1) is not None


def test_the_window_is_bounded_and_bytes_on_disk_leave_memory() -> None:
    live = track(window_s=4.0)
    parts = [add(live, msn, ends=part == 3, stored=True) for msn in range(20) for part in range(4)]
    playlist = live.playlist()
    assert sum(segment.duration for segment in playlist.segments) <= 6_000
    assert playlist.segments[-1].msn == 19
    in_memory = [part for part in parts if part.data is not None]
    assert len(in_memory) <= 16


def test_what_left_the_playlist_can_be_had_from_disk_for_a_playlist_more() -> None:
    live = track(window_s=4.0)
    for msn in range(12):
        for part in range(4):
            add(live, msn, ends=part == 3, stored=True)
    first = live.playlist().segments[0].msn
    left = live.part(4, first - 1, 0)
    assert left is not None
    assert isinstance(left.body, FileRange)
    assert live.part(4, 0, 0) is None, "not for ever"


def test_a_part_that_never_reached_the_disk_stays_in_memory_while_it_is_listed() -> None:
    live = track(window_s=10.0)
    for msn in range(5):
        add(live, msn, ends=True)
    assert all(live.part(4, msn, 0) is not None for msn in range(5))


def test_a_return_with_another_sample_rate_keeps_the_durations_in_seconds() -> None:
    live = track()
    add(live, 0, ends=True)
    other = Rendition("source", Kind.VIDEO, "avc1.64001f", 90_000)
    live.start_run(other, SESSION, 1, Media(CID.of(b"2"), "video/mp4", 1, (b"2",)))
    assert live.playlist().segments[0].duration == 45_000
    assert live.playlist().segments[0].parts[0].duration == 45_000


async def test_who_waits_for_a_change_wakes_at_the_next_part(
    autojump_clock: trio.testing.MockClock,
) -> None:
    live = track()
    version = live.playlist().version

    async def later() -> None:
        await trio.sleep(3)
        add(live, 0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        await live.changed(version)
        assert trio.current_time() >= 3
    await live.changed(version)


def test_measured_bandwidth_is_that_of_the_segments() -> None:
    live = track()
    assert live.peak_bps() == 1_000_000, "what was declared, while nothing was measured"
    data = bytes(1000)
    live.add_part(
        span(0), LivePart(500, True, 1000), StoredPart(CID.of(data), 1000, data), ends_segment=True
    )
    live.add_part(
        span(1), LivePart(1000, True, 1000), StoredPart(CID.of(data), 1000, data), ends_segment=True
    )
    assert live.peak_bps() == 16_000
    assert live.average_bps() == 10_667


def test_a_part_that_never_came_keeps_the_numbers_of_what_follows_and_is_not_served() -> None:
    live = track()
    add(live, 0)
    live.add_missing(span(0), 500, ends_segment=False)
    third = add(live, 0, ends=True)
    add(live, 1)
    text = live_media_playlist(live.playlist())
    assert '.1.m4s",GAP=YES' in text
    assert text.count("#EXT-X-GAP") == 1
    assert live.playlist().edge() == (1, 1)
    assert live.part(4, 0, 1) is None
    assert live.segment(4, 0) is None
    found = live.part(4, 0, 2)
    assert found is not None
    assert found.cid == third.cid


def test_every_format_in_the_window_is_said_and_none_that_left_it() -> None:
    live = track(window_s=4.0)
    for msn in range(3):
        add(live, msn, ends=True)
    assert live.variant().forms == (VIDEO,)
    live.end_run()
    other = Rendition("source", Kind.VIDEO, "av01.0.05M.08", 1000)
    live.start_run(other, SESSION, 1, Media(CID.of(b"2"), "video/mp4", 1, (b"2",)))
    for msn in range(3, 24):
        data = b"%d" % msn
        live.add_part(
            span(msn, 1),
            LivePart(1000, True, 1),
            StoredPart(CID.of(data), 1, None, FileRange("/store/x", 0, 1)),
            ends_segment=True,
        )
        runs = {segment.run for segment in live.playlist().segments}
        assert live.variant().rendition == other
        assert live.variant().earlier == ((VIDEO,) if 0 in runs else ())
    assert live.variant().earlier == ()


def test_a_playlist_begins_behind_what_it_misses_and_every_name_gives_its_own_bytes() -> None:
    live = track(window_s=60.0)
    for msn in (0, 1, 2, 80, 81):
        add(live, msn, ends=True, stored=True)
    playlist = live.playlist()
    assert [segment.msn for segment in playlist.segments] == [80, 81]
    assert live.part(4, 2, 0) is not None, "still to be had by who was told of it"
    for msn in (80, 81):
        found = live.part(4, msn, 0)
        assert found is not None
        assert found.body == (f"{msn}-{(msn if msn > 80 else 3, 0)}".encode(),)
    assert all(is_reached(playlist, msn, part) for msn in (2, 79, 80) for part in (None, 0, 7))


def test_the_question_whether_a_part_is_there_has_an_answer_whatever_the_playlist_is_like() -> None:
    live = track(window_s=60.0)
    for msn in range(3):
        add(live, msn, ends=True)
    whole = live.playlist()
    broken = replace(whole, segments=(*whole.segments[:1], *whole.segments[2:]))
    for msn in range(4):
        for part in range(3):
            assert is_reached(broken, msn, part) is is_reached(whole, msn, part)


def test_gaps_leave_the_window_as_segments_do() -> None:
    live = track(window_s=10.0)
    for msn in range(3):
        add(live, msn, ends=True, stored=True)
    for msn in range(3, 300):
        live.add_gap(span(msn), 2.0)
    segments = live.playlist().segments
    assert segments[-1].msn == 299
    assert sum(segment.duration for segment in segments) <= 12_000


def test_what_an_origin_says_of_lengths_bounds_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hausd.rooms.live.MAX_SEGMENTS", 50)
    live = track(window_s=600.0)
    live.rendition = replace(VIDEO, timescale=2**32)
    for msn in range(100):
        add(live, msn, ends=True, stored=True)
    for msn in range(100, 300):
        live.add_gap(span(msn), 0.0)
    assert [segment.msn for segment in live.playlist().segments] == list(range(250, 300))
    assert live.segment(4, 199) is None


def test_what_no_disk_takes_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hausd.rooms.live.MAX_UNSTORED_BYTES", 1000)
    live = track(window_s=600.0)
    for msn in range(40):
        data = bytes(100)
        part = StoredPart(CID.of(data), len(data), data)
        live.add_part(span(msn), LivePart(500, True, len(data)), part, ends_segment=True)
    assert [segment.msn for segment in live.playlist().segments] == list(range(30, 40))


def test_a_segment_whose_end_never_reached_the_disk_is_served_whole_or_not_at_all() -> None:
    live = track(window_s=10.0)
    whole: list[bytes] = []
    for msn in range(12):
        parts = [add(live, msn, ends=at == 3, stored=msn != 2 or at < 2) for at in range(4)]
        live.name_segment(msn, CID.of(b"%d" % msn))
        if msn == 2:
            whole = [part.data for part in parts if part.data is not None]
        if msn >= 2 and live.playlist().segments[0].msn <= 2:
            found = live.segment(4, 2)
            assert found is not None
            assert found.body == tuple(whole)
    gone = live.segment(4, 2)
    assert gone is None, "what left memory is not promised"
    assert live.part(4, 2, 0) is not None
    assert live.part(4, 2, 3) is None

"""The archive's playlist only grows, costs little however long it is, and is right to the end."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from support.hls_validator import Series, check_archive, difference, merge_delta

from hausd.core.cid import CID, Codec
from hausd.core.ids import SessionId
from hausd.core.live import ArchivePlaylist, ArchiveSegment
from hausd.core.media import Kind, Rendition
from hausd.wire.hls_archive import ArchiveRenderer, archive_media_playlist

VIDEO = Rendition("source", Kind.VIDEO, "avc1.64001f", 90_000)


def recording(count: int, *, seed: int = 0, breaks: float = 0.1) -> ArchivePlaylist:
    """Segments with breaks (new run or session) between some of them."""
    chance = random.Random(seed)
    segments = []
    run, session, time_ms = 0, 1, 1_750_000_000_000
    init = CID.of(b"init0")
    for number in range(count):
        if number and chance.random() < breaks:
            run += 1
            session += chance.random() < 0.3
            init = CID.of(b"init%d" % chance.randint(run // 2, run))
            time_ms += chance.randint(0, 60_000)
        duration_ms = chance.randint(400, 10_499)
        cid = CID.of(b"%d" % number, Codec.DAG_PB)
        segments.append(
            ArchiveSegment(number, SessionId(session, 1), run, time_ms, duration_ms, cid, 1, init)
        )
        time_ms += duration_ms
    return ArchivePlaylist(VIDEO, 10, tuple(segments), ended=False, version=count)


@given(st.integers(1, 60), st.integers(0, 1000))
def test_it_is_valid_at_every_length_and_after_the_end(count: int, seed: int) -> None:
    whole = recording(count, seed=seed)
    renderer, series = ArchiveRenderer(), Series()
    known = None
    for length in sorted({1, count // 3 + 1, count // 2 + 1, count}):
        part = replace(whole, entries=whole.segments[:length])
        text = renderer.render(part)
        assert text == archive_media_playlist(part), "what a renderer keeps must not show"
        read, faults = check_archive(text)
        assert not faults
        assert not series.feed(read)
        update, _ = check_archive(renderer.render(part, delta=True))
        if known is not None and update.skipped <= len(known.segments):
            assert difference(merge_delta(known, update), read) == ""
        known = read
    ended = replace(whole, ended=True)
    text = renderer.render(ended)
    read, faults = check_archive(text)
    assert not faults
    assert not series.feed(read)
    assert read.type == "VOD"
    assert text.endswith("\n#EXT-X-ENDLIST\n")
    assert renderer.render(ended, delta=True) == text
    assert len(read.segments) == count


def test_names_are_addresses_unless_somebody_wants_others() -> None:
    playlist = recording(2, breaks=0)
    text = archive_media_playlist(playlist)
    first = playlist.segments[0]
    assert f'#EXT-X-MAP:URI="{first.init}.mp4"' in text
    assert f"\n{first.cid}.m4s\n" in text
    text = archive_media_playlist(
        replace(playlist, ended=True), lambda s: f"../seg/{s.number}.m4s", lambda c: "init.mp4"
    )
    assert "\n../seg/1.m4s\n" in text
    assert text.count('URI="init.mp4"') == 1


def test_a_break_is_told_with_a_new_init_even_where_that_is_the_same() -> None:
    playlist = recording(2, breaks=0)
    second = replace(playlist.segments[1], run=1)
    text = archive_media_playlist(replace(playlist, entries=(playlist.segments[0], second)))
    assert text.count("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:") == 1


def test_a_room_that_begins_anew_is_rendered_anew() -> None:
    renderer = ArchiveRenderer()
    renderer.render(recording(20))
    other = recording(30, seed=9)
    assert renderer.render(other) == archive_media_playlist(other)
    shorter = recording(5, seed=3)
    assert renderer.render(shorter) == archive_media_playlist(shorter)


def test_an_update_at_the_end_of_twelve_hours_is_short() -> None:
    playlist = recording(4320, breaks=0)
    renderer = ArchiveRenderer()
    assert len(renderer.render(playlist)) > 500_000
    update = renderer.render(playlist, delta=True)
    assert len(update) < 5_000
    read, faults = check_archive(update)
    assert not faults
    left = sum((segment.duration for segment in read.segments), Fraction(0))
    assert left >= 60

"""What was recorded plays as one, whatever each rendition has of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hls_grammar import MediaPlaylist
from support.hls_validator import Series, check_archive

from hausd.core.cid import CID
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import ArchiveGap, ArchiveSegment, Variant
from hausd.core.media import Kind, Rendition
from hausd.core.storage import SegmentKey
from hausd.policy.stretches import Stretches
from hausd.rooms.archive import MAX_GAPS, Archive
from hausd.wire.hls import multivariant_playlist
from hausd.wire.hls_archive import ArchiveRenderer, archive_media_playlist

TARGET_S = 10
NAMES = ("source", "720p", "audio")
BEGAN_MS = 1_750_000_000_000


def form(name: str, codecs: str = "", rate: int = 30) -> Rendition:
    if name == "audio":
        return Rendition(name, Kind.AUDIO, codecs or "mp4a.40.2", 48_000, channels=2)
    return Rendition(
        name, Kind.VIDEO, codecs or "avc1.64001f", 90_000, 0, 1280, 720, Fraction(rate)
    )


@dataclass
class Recording:
    """Records as an origin does: numbers and times are shared by all renditions."""

    archive: Archive = field(default_factory=lambda: Archive(target_s=TARGET_S))
    now_ms: int = BEGAN_MS
    number: int = 0
    run: int = 0
    session: int = 1
    series: dict[str, Series] = field(default_factory=dict)
    renderers: dict[str, ArchiveRenderer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.archive.ended = False

    def segment(self, having: set[str], duration_ms: int = 10_000, codecs: str = "") -> None:
        for name in NAMES:
            if name in having:
                # picture and sound never begin at quite the same time
                off_ms = 17 if name == "audio" else 0
                self.add(name, self.now_ms + off_ms, duration_ms, codecs)
        self.now_ms += duration_ms
        self.number += 1

    def add(self, name: str, at_ms: int, duration_ms: int, codecs: str = "") -> None:
        cid = CID.of(f"{name} {self.number} {self.run}".encode())
        segment = ArchiveSegment(
            self.number,
            SessionId(self.session, 1),
            self.run,
            at_ms,
            duration_ms,
            cid,
            1000,
            CID.of(f"{name} {codecs}".encode()),
        )
        self.archive.add(form(name, codecs if name != "audio" else ""), segment)

    def new_run(self, hole_ms: int = 3000) -> None:
        self.run += 1
        self.now_ms += hole_ms

    def read(self, name: str) -> MediaPlaylist | None:
        """The playlist of now, checked: by the rules, and against what it was before."""
        playlist = self.archive.playlist(name)
        if playlist is None:
            return None
        text = self.renderers.setdefault(name, ArchiveRenderer()).render(playlist)
        assert text == archive_media_playlist(playlist)
        found, faults = check_archive(text)
        assert not faults
        assert not self.series.setdefault(name, Series()).feed(found)
        return found


def stretches(playlist: MediaPlaylist) -> dict[int, tuple[float, float]]:
    """When each stretch between discontinuities begins and ends."""
    found: dict[int, tuple[float, float]] = {}
    for segment in playlist.segments:
        assert segment.date is not None
        at = segment.date.timestamp()
        begin = found.get(segment.dseq, (at, at))[0]
        found[segment.dseq] = begin, at + float(segment.duration)
    return found


def require_agreement(playlists: list[MediaPlaylist]) -> None:
    """At any time all renditions are in the same stretch (RFC 8216bis, 6.2.4)."""
    for playlist in playlists:
        for one, other in pairwise(playlist.segments):
            if one.dseq == other.dseq:
                assert one.date is not None
                assert other.date is not None
                hole = (other.date - one.date).total_seconds() - float(one.duration)
                assert abs(hole) <= 0.51, "what is missing of a stretch is a gap"
    for first in playlists:
        for second in playlists:
            ours, theirs = stretches(first), stretches(second)
            for number, (begin, end) in ours.items():
                for other, (its_begin, its_end) in theirs.items():
                    if other != number:
                        shared = min(end, its_end) - max(begin, its_begin)
                        assert shared <= 0.51, (number, other)


VIDEOS = ("source", "720p")
STEPS = st.lists(
    st.one_of(
        st.sets(st.sampled_from(VIDEOS)),
        st.just(set(VIDEOS)),
        st.sampled_from(["run", "run without sound", "session"]),
    ),
    min_size=1,
    max_size=30,
)


@given(STEPS, st.lists(st.integers(800, 10_400), min_size=1, max_size=5))
def test_discontinuities_have_the_same_number_in_all_renditions(
    steps: list[set[str] | str], durations: list[int]
) -> None:
    """Whatever was shed, came late, or was not recorded at all."""
    made, sound = Recording(), {"audio"}
    made.segment({*VIDEOS, "audio"})
    for at, step in enumerate(steps):
        if isinstance(step, set):
            made.segment(step | sound if step else set(), durations[at % len(durations)])
        else:
            made.new_run()
            sound = set() if step == "run without sound" else {"audio"}
            made.session += step == "session"
        require_agreement([each for name in NAMES if (each := made.read(name)) is not None])
    made.archive.ended = True
    require_agreement([each for name in NAMES if (each := made.read(name)) is not None])
    videos = [each for name in VIDEOS if (each := made.read(name)) is not None]
    for one, other in pairwise(videos):
        assert one.segments[-1].dseq == other.segments[-1].dseq
        ends = [max(end for _, end in stretches(each).values()) for each in (one, other)]
        assert abs(ends[0] - ends[1]) <= 0.51, "all last as long"


def test_a_quality_that_was_shed_within_a_segment_and_came_back_within_another_has_a_gap() -> None:
    made = Recording()
    made.segment(set(NAMES))
    made.add("720p", made.now_ms, 4000)
    made.segment({"source", "audio"})
    made.segment({"source", "audio"})
    # its part of this segment is recorded before the source's
    made.add("720p", made.now_ms + 6000, 4000)
    made.segment({"source", "audio"})
    made.new_run()
    made.segment(set(NAMES))
    source, shed = made.read("source"), made.read("720p")
    assert source is not None
    assert shed is not None
    require_agreement([source, shed])
    assert [segment.dseq for segment in source.segments] == [0, 0, 0, 0, 1]
    gaps = [segment for segment in shed.segments if segment.gap]
    assert sum(gap.duration for gap in gaps) == 22
    assert all(gap.duration <= TARGET_S for gap in gaps)
    assert [segment.dseq for segment in shed.segments][-2:] == [0, 1]


def test_where_the_recording_had_stopped_there_is_a_discontinuity_and_no_hour_of_gaps() -> None:
    made = Recording()
    made.segment(set(NAMES))
    for _ in range(360):
        made.segment(set())
    made.segment(set(NAMES))
    playlists = [made.read(name) for name in NAMES]
    for playlist in playlists:
        assert playlist is not None
        assert [segment.dseq for segment in playlist.segments] == [0, 1]


def test_a_recording_read_again_from_the_store_is_the_same() -> None:
    made = Recording()
    made.segment({"source"})
    made.segment(set(NAMES))
    made.segment({"source", "audio"})
    made.segment(set(NAMES))
    made.new_run()
    made.segment(set(NAMES))
    again = Archive(target_s=TARGET_S)
    stored = [
        (segment.number, name, replace(segment, run=segment.run))
        for name in NAMES
        if (playlist := made.archive.playlist(name)) is not None
        for segment in playlist.segments
    ]
    for _, name, segment in sorted(stored, key=lambda each: each[:2]):
        again.add(form(name), segment)
    for name in NAMES:
        before, after = made.archive.playlist(name), again.playlist(name)
        assert before is not None
        assert after is not None
        assert archive_media_playlist(replace(before, ended=True)) == archive_media_playlist(
            replace(after, ended=True)
        )


@given(st.sets(st.integers(0, 11)))
def test_what_is_left_after_an_eviction_is_as_if_nothing_else_had_been(gone: set[int]) -> None:
    """The store evicts all renditions of a span together."""
    made, left = Recording(), Recording()
    for number in range(12):
        having = {"source", "audio"} if number % 4 in (1, 2) else set(NAMES)
        if number == 6:
            made.new_run()
            left.new_run()
        made.segment(having)
        left.segment(having if number not in gone else set())
    for number in sorted(gone):
        for name in NAMES:
            made.archive.drop(SegmentKey(RoomId("x"), SessionId(1, 1), name, number))
    for recording in (made, left):
        recording.archive.ended = True
    for name in NAMES:
        ours, theirs = made.archive.playlist(name), left.archive.playlist(name)
        entries = ours.entries if ours is not None else ()
        assert entries == (theirs.entries if theirs is not None else ())
    assert made.archive.segments == left.archive.segments
    made.archive.ended = False
    made.segment(set(NAMES))
    left.archive.ended = False
    left.segment(set(NAMES))
    for name in NAMES:
        ours, theirs = made.archive.playlist(name), left.archive.playlist(name)
        assert ours is not None
        assert theirs is not None
        assert ours.entries == theirs.entries


def codecs_of(variants: list[Variant]) -> list[str]:
    text = multivariant_playlist(variants)
    return [
        line.partition('CODECS="')[2].partition('"')[0]
        for line in text.splitlines()
        if line.startswith("#EXT-X-STREAM-INF")
    ]


def test_every_format_that_is_recorded_is_in_codecs_and_none_that_was_evicted() -> None:
    made = Recording()
    made.segment({"source", "audio"}, codecs="av01.0.05M.08")
    made.new_run()
    made.segment({"source", "audio"}, codecs="avc1.64001f")
    assert codecs_of(made.archive.variants()) == ["avc1.64001f,av01.0.05M.08,mp4a.40.2"]
    made.archive.drop(SegmentKey(RoomId("x"), SessionId(1, 1), "source", 0))
    assert codecs_of(made.archive.variants()) == ["avc1.64001f,mp4a.40.2"]


def entries(made: Recording) -> dict[str, int]:
    playlists = {name: made.archive.playlist(name) for name in NAMES}
    return {name: len(each.entries) for name, each in playlists.items() if each is not None}


@pytest.mark.parametrize("hole_ms", [3_600_100, 10**12, 2 * 10**14, -3_700_000, -(10**12)])
def test_times_that_leap_within_a_run_make_a_discontinuity_and_no_ages_of_gaps(
    hole_ms: int,
) -> None:
    made = Recording()
    made.segment(set(NAMES))
    made.segment({"source", "audio"})
    made.now_ms += hole_ms
    made.segment(set(NAMES))
    made.segment({"source", "audio"})
    made.archive.ended = True
    for name in NAMES:
        playlist = made.archive.playlist(name)
        assert playlist is not None
        assert {each.run for each in playlist.entries} == {0, 1}
        gaps = [each for each in playlist.entries if isinstance(each, ArchiveGap)]
        assert len(gaps) == (4 if name == "720p" else 0)


def test_a_hole_of_less_than_an_hour_is_gaps() -> None:
    made = Recording()
    made.segment(set(NAMES))
    made.now_ms += 3_000_000
    made.segment(set(NAMES))
    made.archive.ended = True
    assert entries(made) == {"source": 302, "720p": 302, "audio": 2}


@pytest.mark.parametrize("leap_ms", [3_500_000, -3_500_000])
@pytest.mark.parametrize("lasting_ms", [10_000, 3_600_000])
def test_gaps_are_bounded_by_what_was_recorded_whatever_times_it_claims(
    leap_ms: int, lasting_ms: int
) -> None:
    made = Recording(now_ms=BEGAN_MS + 10**10)
    for at in range(1000):
        made.segment({"source"} if at % 3 else {"source", "720p"}, lasting_ms)
        made.now_ms += leap_ms - lasting_ms
    made.archive.ended = True
    assert max(entries(made).values()) <= MAX_GAPS + 3 * 1334
    for name in NAMES:
        playlist = made.archive.playlist(name)
        ends = [
            each.program_time_ms + each.duration_ms for each in getattr(playlist, "entries", ())
        ]
        assert all(end < 2 * BEGAN_MS for end in ends)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sets(st.sampled_from(NAMES)), st.booleans()),
        st.tuples(st.just("drop"), st.sets(st.sampled_from(NAMES)), st.integers(0, 15)),
        st.tuples(st.just("insert"), st.sets(st.sampled_from(NAMES)), st.integers(0, 15)),
        st.just(("read", set(), 0)),
        st.just(("end", set(), 0)),
    ),
    max_size=40,
)


@given(CHANGES)
def test_it_is_the_same_when_what_is_left_is_told_again(
    changes: list[tuple[str, set[str], int]],
) -> None:
    """Once for many evictions, or after each of them."""
    at_once, each_time = Recording(), Recording()
    listed: dict[tuple[str, int], ArchiveSegment] = {}

    def told() -> list[object]:
        found: list[object] = []
        for made in (at_once, each_time):
            one = made.archive
            playlists = [one.playlist(name) for name in NAMES]
            found.append(
                (
                    [(each.entries, each.target_s, each.ended) for each in playlists if each],
                    (one.segments, one.duration_s, one.size, one.variants()),
                    {at: one.holds(at[0], segment.cid) for at, segment in listed.items()},
                )
            )
        return found

    for change, names, at in changes:
        for made in (at_once, each_time):
            match change:
                case "add":
                    if at:
                        made.new_run()
                    made.segment(names)
                case "end":
                    made.archive.ended = not made.archive.ended
                case "drop" | "insert":
                    for name in sorted(names):
                        if change == "drop":
                            if made is each_time:
                                made.archive._tell_again_if_changed()
                            made.archive.drop(SegmentKey(RoomId("x"), SESSION, name, at))
                        elif made.archive.holds(name, (new := inserted(name, at)).cid) is None:
                            made.archive.insert(form(name), new)
        if change == "insert":
            listed |= {(name, at): inserted(name, at) for name in names}
        if change == "read":
            assert told()[0] == told()[1]
    assert told()[0] == told()[1]


SESSION = SessionId(1, 1)


def inserted(name: str, number: int) -> ArchiveSegment:
    at_ms = BEGAN_MS + number * 10_000
    cid = CID.of(f"{name} {number} late".encode())
    return ArchiveSegment(number, SESSION, 0, at_ms, 10_000, cid, 700, CID.of(name.encode()))


def test_evictions_cost_no_telling_again_of_all_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, placed = Recording(), 0
    place = Stretches.place

    def counted(self: Stretches, segment: ArchiveSegment) -> int:
        nonlocal placed
        placed += 1
        return place(self, segment)

    for _ in range(300):
        made.segment(set(NAMES))
    monkeypatch.setattr(Stretches, "place", counted)
    for number in range(60):
        for name in NAMES:
            made.archive.drop(SegmentKey(RoomId("x"), SESSION, name, number))
    made.archive.playlist("source")
    assert placed == 240 * len(NAMES), "what is left, once"

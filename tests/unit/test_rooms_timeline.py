"""A room's numbers and program time only ever grow, whatever its runs do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hausd.core.ids import SessionId
from hausd.rooms.timeline import Timeline

SESSION = SessionId(1, 2)

runs = st.lists(
    st.tuples(
        st.integers(0, 10**7),  # where the run's media time begins
        st.lists(st.integers(20, 2400), min_size=1, max_size=12),  # GOP durations, ms
        st.integers(-5_000, 20_000),  # how the wall clock moved since the run before
    ),
    min_size=1,
    max_size=6,
)


@given(runs)
def test_numbers_and_program_time_never_go_back_even_when_the_clock_does(
    untold: list[tuple[int, list[int], int]],
) -> None:
    timeline = Timeline(SESSION, next_msn=7, next_run=3, next_segment=5)
    now_ms, last = 1_700_000_000_000, (-1, -1, 0)
    for number, (start_ms, gops, moved_ms) in enumerate(untold, start=3):
        timeline.start_run(number)
        now_ms += moved_ms
        for gop, duration_ms in enumerate(gops):
            now_ms += duration_ms
            span, segment = timeline.place(
                gop=gop,
                segment=gop // 5,
                start_ms=start_ms,
                duration_ms=duration_ms,
                now_ms=now_ms,
            )
            assert (span.msn, segment) >= last[:2]
            assert span.msn == last[0] + 1 or last[0] == -1
            assert span.program_time_ms >= last[2]
            last = (span.msn, segment, span.program_time_ms + duration_ms)
            start_ms += duration_ms
        timeline.end_run()
    assert timeline.next_msn == last[0] + 1
    assert timeline.next_segment == last[1] + 1


def test_renditions_of_one_run_share_their_time() -> None:
    timeline = Timeline(SESSION, 0, 0, 0)
    timeline.start_run(0)
    video, _ = timeline.place(gop=0, segment=0, start_ms=500, duration_ms=400, now_ms=10_900)
    audio, _ = timeline.place(gop=0, segment=0, start_ms=480, duration_ms=400, now_ms=11_300)
    later, _ = timeline.place(gop=1, segment=0, start_ms=2_500, duration_ms=400, now_ms=99_000)
    assert (video.program_time_ms, audio.program_time_ms) == (10_500, 10_480)
    assert later.program_time_ms == 12_500

"""What the ladder promises: every frame at its own time, keyframes where they are asked for,
captions kept, renditions given up and taken up again cleanly."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from msgspec.structs import replace as changed
from support.avcheck import read_frame_number
from support.laddercheck import Taken, decode, push_all, read_source

from hausd.media.demo import Shape, write
from hausd.media.ladder import WAITING_S, Ladder, LadderFailed
from hausd.media.units import CodedVideo, Encoded, EncodedFrame, EncodedTrack, SourceVideo
from hausd.policy.ladder import SOURCE, Restore, Rung, Saving, Shed, Shedder, rungs_for, source_rung

RUNGS = (Rung("120p", 212, 120, 300_000), Rung("90p", 160, 90, 200_000))


class Scripted(Shedder):
    """Decides at the n-th look what the script says."""

    def __init__(self, script: dict[int, Shed | Restore]) -> None:
        super().__init__(())
        self.script = script
        self.looks = 0

    def observe(self, *_: object, **__: object) -> Shed | Restore | None:  # type: ignore[override]
        self.looks += 1
        return self.script.get(self.looks)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[SourceVideo, list[CodedVideo]]:
    path = tmp_path_factory.mktemp("ladder") / "small.mp4"
    write(str(path), Shape(320, 180, gop_s=1.0, b_frames=2, video_bps=600_000), seconds=4)
    return read_source(path)


def through(source: SourceVideo, units: list[CodedVideo], rungs: tuple[Rung, ...] = RUNGS) -> Taken:
    taken = Taken()
    with Ladder(source, rungs, taken) as ladder:
        push_all(ladder, units)
        assert ladder.flush(30)
        assert ladder.stats().frames_dropped == 0
    return taken


def keys(frames: list[EncodedFrame]) -> list[int]:
    return [frame.pts for frame in frames if frame.keyframe]


def test_every_frame_comes_out_at_its_own_time(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    taken = through(source, units)
    times = sorted(unit.pts for unit in units)
    assert [track.rendition for track in taken.tracks] == ["120p", "90p"] or [
        track.rendition for track in taken.tracks
    ] == ["90p", "120p"]
    for rung in RUNGS:
        track, frames = taken.track(rung.name), taken.frames[rung.name]
        assert (track.width, track.height) == (rung.width, rung.height)
        assert [frame.pts for frame in frames] == times
        assert all(frame.dts == frame.pts and frame.duration == 3000 for frame in frames)
        pictures = decode(track, frames)
        assert [read_frame_number(picture) for picture in pictures] == list(range(120))


def test_keyframes_are_where_they_were_asked_for_and_nowhere_else(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    times = sorted(unit.pts for unit in units)
    asked = {times[0], times[17], times[18], times[95]}
    units = [changed(unit, force_key=unit.pts in asked) for unit in units]
    taken = through(source, units)
    for rung in RUNGS:
        assert keys(taken.frames[rung.name]) == sorted(asked)


def test_a_keyframe_may_be_asked_for_by_a_frame_that_is_shown_after_it(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    shown = [max(unit.pts for unit in units[:n]) + 3000 for n in range(1, 80)]
    asks = next(n for n in range(40, 80) if units[n].pts > shown[n - 1])
    lead = units[asks].pts - shown[asks - 1]
    units = [changed(unit, force_key=n in (0, asks)) for n, unit in enumerate(units)]
    units[asks] = changed(units[asks], key_lead=lead)
    taken = through(source, units)
    assert keys(taken.frames["90p"]) == [units[0].pts, shown[asks - 1]]


def test_a_key_that_was_lost_is_made_of_the_next_frame(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    times = sorted(unit.pts for unit in units)
    # B-frames may be lost without harm to others.
    lost = next(unit.pts for unit in units[5:] if unit.pts < max(u.pts for u in units[:5]))
    units = [changed(unit, force_key=unit.pts in (times[0], lost)) for unit in units]
    units = [changed(u, data=b"\0\0\0\1\x0c") if u.pts == lost else u for u in units]
    taken = through(source, units)
    assert keys(taken.frames["90p"]) == [times[0], times[times.index(lost) + 1]]


@pytest.mark.parametrize("rate", [Fraction(30), None])
def test_frames_of_varying_length_keep_their_times_and_rate(
    small: tuple[SourceVideo, list[CodedVideo]], rate: Fraction | None
) -> None:
    source, units = small
    times = sorted(unit.pts for unit in units)
    stretched, at = {}, 0
    for place, pts in enumerate(times):
        stretched[pts] = at
        at += (1500, 3000, 9000)[place % 3]
    units = [
        changed(
            unit,
            pts=stretched[unit.pts],
            dts=place * 4500 - 30_000,
            duration=4500,
            force_key=unit.pts == times[0],
        )
        for place, unit in enumerate(units)
    ]
    taken = through(replace(source, frame_rate=rate), units)
    frames = taken.frames["120p"]
    assert [frame.pts for frame in frames] == sorted(stretched.values())
    assert keys(frames) == [0]
    if rate is None:
        seconds = at / 90_000
        rate_bps = sum(len(frame.data) for frame in frames) * 8 / seconds
        assert rate_bps < 300_000 * 1.35


def test_frames_to_be_skipped_only_prime_the_decoder(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    times = sorted(unit.pts for unit in units)
    first = times[20]
    units = [changed(u, skip=u.pts < first, force_key=u.pts == first) for u in units]
    taken = through(source, units)
    frames = taken.frames["120p"]
    assert [frame.pts for frame in frames] == times[20:]
    assert keys(frames) == [first]
    assert read_frame_number(decode(taken.track("120p"), frames)[0]) == 20


def test_priming_is_no_reason_to_drop(small: tuple[SourceVideo, list[CodedVideo]]) -> None:
    source, units = small
    long = [
        changed(unit, pts=unit.pts * 4, dts=unit.dts * 4, skip=place < 100, force_key=place == 100)
        for place, unit in enumerate(units)
    ]
    taken = Taken()
    with Ladder(source, RUNGS, taken) as ladder:
        for unit in long:
            ladder.push(unit)
        assert ladder.flush(30)
        assert ladder.stats().frames_dropped == 0


def test_captions_survive_scaling(small: tuple[SourceVideo, list[CodedVideo]]) -> None:
    source, units = small
    pairs = bytes.fromhex("fc9420fc94adfcc8e5")  # three pairs of CEA-608 in CEA-708's wrapping
    user_data = b"\xb5\x00\x31GA94\x03" + bytes((0x40 | 3, 0xFF)) + pairs + b"\xff"
    sei = b"\x06\x04" + bytes((len(user_data),)) + user_data + b"\x80"
    with_captions = [changed(unit, data=len(sei).to_bytes(4) + sei + unit.data) for unit in units]
    taken = through(source, with_captions, (*RUNGS, source_rung(320, 180, None)))
    for name in ("120p", "90p", SOURCE):
        for frame in taken.frames[name]:
            assert b"GA94" in frame.data
        pictures = decode(taken.track(name), taken.frames[name])
        sides = [bytes(data) for data in pictures[50].side_data if data.type.name == "A53_CC"]
        assert sides == [pairs]


def test_a_rendition_that_was_shed_comes_back_at_a_key(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    saving = Saving("120p")
    shedder = Scripted({3: Shed(saving, "too slow"), 6: Restore(saving)})
    taken = Taken()
    with Ladder(source, RUNGS, taken, shedder=shedder) as ladder:
        looked = 0
        for unit in units:
            # Time passes by looks: eight of them over the stream.
            while shedder.looks < looked + 1 and unit.keyframe:
                time.sleep(0.01)
            ladder.push(unit)
            if unit.keyframe:
                looked = shedder.looks + 1
        assert ladder.flush(30)
    stopped = [event for event in taken.stopped if event.rendition == "120p"]
    assert [(event.shed, event.reason) for event in stopped] == [(True, "too slow")]
    tracks = [track for track in taken.tracks if track.rendition == "120p"]
    assert len(tracks) == 2
    assert tracks[0] == tracks[1]
    assert len(taken.frames["90p"]) == 120
    frames = taken.frames["120p"]
    assert 1 < len(frames) < 120
    forced = {unit.pts for unit in units if unit.force_key}
    gap = next(i for i, f in enumerate(frames[1:], 1) if f.pts - frames[i - 1].pts > 3000)
    assert frames[gap].keyframe
    assert frames[gap].pts in forced
    assert len(decode(tracks[1], frames[gap:])) == len(frames) - gap


def test_an_encoder_that_is_too_slow_is_shed_and_the_others_keep_up(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    taken = Taken()

    def slow(said: Encoded) -> None:
        if isinstance(said, EncodedFrame) and said.rendition == "120p":
            time.sleep(0.1)
        taken(said)

    with Ladder(source, RUNGS, slow) as ladder:
        began_s, later = time.monotonic(), 0
        while not taken.stopped and later < 20 * 90_000:
            for unit in units:
                moved = changed(unit, pts=unit.pts + later, dts=unit.dts + later)
                early_s = moved.dts / 90_000 - (time.monotonic() - began_s)
                time.sleep(max(early_s, 0))
                ladder.push(moved)
            later += 4 * 90_000
        assert ladder.flush(30)
        assert ladder.stats().shed == ("120p",)
        assert ladder.stats().frames_dropped == 0
    assert [(event.rendition, event.shed) for event in taken.stopped] == [("120p", True)]
    assert "slower than real time" in taken.stopped[0].reason
    assert len(taken.frames["90p"]) == later // 3000


def test_without_any_rendition_nothing_is_decoded(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    shedder = Scripted({1: Shed(Saving("90p"), "too slow")})
    taken = Taken()
    with Ladder(source, RUNGS[1:], taken, shedder=shedder) as ladder:
        while ladder.stats().encoding:
            time.sleep(0.01)
        push_all(ladder, units)
        assert ladder.flush(30)
        assert ladder.stats().behind_ms == 0
    assert not taken.frames


def test_the_encoded_source_is_made_cheaper_and_better_again_never_dropped(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    faster, fastest, fewer = (Saving(SOURCE, level) for level in (1, 2, 3))
    script = {2: Shed(faster, ""), 4: Shed(fastest, ""), 6: Shed(fewer, ""), 8: Restore(fewer)}
    shedder = Scripted(dict(script))
    taken = Taken()
    units = [*units, *(changed(u, pts=u.pts + 360_000, dts=u.dts + 360_000) for u in units)]
    with Ladder(source, (source_rung(320, 180, Fraction(30)),), taken, shedder=shedder) as ladder:
        for unit in units:
            if unit.keyframe:
                seen = shedder.looks
                while shedder.looks < seen + 1:
                    time.sleep(0.01)
            ladder.push(unit)
        assert ladder.flush(30)
    assert not taken.stopped
    assert len(taken.tracks) == 1, "players go on with the init segment that they have"
    frames = taken.frames[SOURCE]
    times = [frame.pts for frame in frames]
    lasted = {later - earlier for earlier, later in pairwise(times)}
    assert lasted == {3000, 6000}, "every other picture is left out for a while"
    assert 180 < len(frames) < 240
    assert [f.pts for f in frames if f.keyframe] == [u.pts for u in units if u.force_key]
    assert all(
        frame.pts + frame.duration >= later for frame, later in zip(frames, times[1:], strict=False)
    )


def test_push_never_waits_and_what_waits_is_bounded(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    held = threading.Event()

    def stuck(_: object) -> None:
        held.wait()

    with Ladder(source, RUNGS, stuck) as ladder:
        try:
            later = 0
            for _ in range(10):
                for unit in units:
                    ladder.push(changed(unit, pts=unit.pts + later, dts=unit.dts + later))
                later += 4 * 90_000
            stats = ladder.stats()
            assert stats.frames_in == 1200
            assert stats.frames_dropped > 800
            assert stats.behind_ms < (WAITING_S + 2) * 1000
        finally:
            held.set()
        ladder.flush(30)


def test_after_dropping_it_goes_on_at_a_keyframe(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    begun, held = threading.Event(), threading.Event()
    taken = Taken()

    def slow(said: EncodedTrack | EncodedFrame) -> None:
        if isinstance(said, EncodedFrame):
            begun.set()
            held.wait()
        taken(said)

    with Ladder(source, RUNGS[1:], slow) as ladder:
        later = 0
        for _ in range(3):
            for unit in units:
                ladder.push(changed(unit, pts=unit.pts + later, dts=unit.dts + later))
            assert begun.wait(30)  # so that what is dropped lies between what is not
            later += 4 * 90_000
        held.set()
        for unit in units:
            while ladder.stats().behind_ms > 100:
                time.sleep(0.01)
            ladder.push(changed(unit, pts=unit.pts + later, dts=unit.dts + later))
        assert ladder.flush(30)
        dropped = ladder.stats().frames_dropped
    frames = taken.frames["90p"]
    assert dropped > 30
    assert len(frames) >= 480 - dropped - 3  # reordered frames at the cut may be lost as well
    holes = [i for i in range(1, len(frames)) if frames[i].pts - frames[i - 1].pts > 9000]
    assert holes
    assert all(frames[i].keyframe for i in holes)


@pytest.mark.parametrize(
    ("codec", "pixels"), [("libx265", "yuv420p10le"), ("libx264", "yuvj420p"), ("libsvtav1", None)]
)
def test_other_codecs_depths_and_ranges_become_plain_h264(
    tmp_path: Path, codec: str, pixels: str | None
) -> None:
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = 322, 182, pixels or "yuv420p"
        stream.options = {"preset": "10"} if codec == "libsvtav1" else {"preset": "ultrafast"}
        for number in range(20):
            frame = av.VideoFrame(322, 182, "gray")
            frame.planes[0].update(
                bytes([235 if number < 10 else 16]) * frame.planes[0].buffer_size
            )
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source, units = read_source(path)
    names = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1"}
    source = replace(source, codec=names[codec])
    rungs = (source_rung(321, 181, None), *rungs_for(322, 182, ((90, 200_000),)))
    taken = through(source, units, rungs)
    for rung in rungs:
        pictures = decode(taken.track(rung.name), taken.frames[rung.name])
        assert len(pictures) == 20
        assert {picture.format.name for picture in pictures} == {"yuv420p"}
        assert (pictures[0].width, pictures[0].height) == (rung.width, rung.height)
        first = memoryview(pictures[0].planes[0])[pictures[0].planes[0].line_size * 20 + 20]
        assert first > 200


def test_broken_frames_are_counted_and_the_rest_is_encoded(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    broken = [
        changed(unit, data=b"\0\0\xff\xff" + bytes(40)) if 10 <= place < 20 else unit
        for place, unit in enumerate(units)
    ]
    taken = Taken()
    with Ladder(source, RUNGS, taken) as ladder:
        push_all(ladder, broken)
        assert ladder.flush(30)
        assert ladder.stats().decode_errors > 0
    assert len(taken.frames["90p"]) > 80


def test_a_source_that_can_not_be_decoded_fails_and_says_so(
    small: tuple[SourceVideo, list[CodedVideo]],
) -> None:
    source, units = small
    with Ladder(replace(source, record=b"\1\2\3nonsense"), RUNGS, Taken()) as ladder:
        push_all(ladder, units)
        push_all(ladder, units)
        with pytest.raises(LadderFailed, match="no frame can be decoded"):
            ladder.flush(30)


def test_no_thread_outlives_the_ladder(small: tuple[SourceVideo, list[CodedVideo]]) -> None:
    before = threading.active_count()
    with Ladder(small[0], RUNGS, Taken()) as ladder:
        for unit in small[1][:60]:
            ladder.push(unit)
    assert threading.active_count() == before

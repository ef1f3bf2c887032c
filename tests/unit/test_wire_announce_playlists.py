"""A follower rebuilds the origin's live playlists from announcements alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.content import KEY, NOW_MS, ROOM, SESSION
from support.follower import Follower, comparable

from hausd.core.ids import SessionId
from hausd.core.live import RoomState
from hausd.core.media import LEAF_BYTES, Kind
from hausd.rooms.announcer import Announcer, PlaylistTerms
from hausd.rooms.origin import Origin
from hausd.rooms.recorder import Recorder
from hausd.rooms.records import RoomRecord
from hausd.wire.announce import verify
from hausd.wire.hls_live import live_media_playlist
from hausd.wire.statements import End, Tick, Track
from hausd.wire.worker import PartMade, RunEnded, RunStarted, TrackStarted, TrackStopped

Word = RunStarted | TrackStarted | PartMade | TrackStopped | RunEnded
TIMESCALES = {"source": 90_000, "720p": 90_000, "audio": 48_000}


class Clock:
    ms = NOW_MS

    def now_ms(self) -> int:
        self.ms += 7
        return self.ms


def started(name: str, run: int) -> TrackStarted:
    kind = Kind.AUDIO if name == "audio" else Kind.VIDEO
    return TrackStarted(name, run, kind, "avc1.64001f", TIMESCALES[name], 1_000_000)


def words_of_rendition(
    name: str, run: int, gops: int, random: Random, *, sheds: bool
) -> list[Word]:
    """A rendition's parts in one run; the ladder's may be shed for some GOPs and come back."""
    shed = range(0)
    if sheds and name == "720p" and random.random() < 0.5:
        first = random.randrange(1, gops + 1)
        shed = range(first, random.randrange(first, gops + 1))
    words: list[Word] = []
    for gop in range(gops):
        if shed and gop == shed.start:
            words.append(TrackStopped(name, run, "too slow"))
        if gop in shed:
            continue
        if shed and gop == shed.stop:
            words.append(started(name, run))
        parts = random.randrange(1, 5)
        for part in range(parts):
            start = gop * 2 * TIMESCALES[name] + part * TIMESCALES[name] // 3
            ends = part == parts - 1 and random.random() < 0.7
            duration = TIMESCALES[name] // 3 - random.randrange(100)
            words.append(PartMade(name, run, gop, gop // 3, start, duration, part == 0, ends))
    return words


def words_of_run(run: int, random: Random, *, sheds: bool) -> Iterator[Word]:
    """One run, its renditions' parts interleaved as slow encoders do."""
    yield RunStarted(run, "start", 434)
    gops = random.randrange(1, 8)
    queues = [words_of_rendition(name, run, gops, random, sheds=sheds) for name in TIMESCALES]
    for name, queue in zip(TIMESCALES, queues, strict=True):
        if name == "720p" and random.random() < 0.5:
            queue.insert(0, started(name, run))  # an encoder begins when it gets to it
        else:
            yield started(name, run)
    while any(queues):
        queue = random.choice([queue for queue in queues if queue])
        yield queue.pop(0)
    yield RunEnded(run)


class Room:
    """An origin and a follower of it with nothing but signed bytes between them."""

    def __init__(self) -> None:
        record = RoomRecord(
            id=ROOM, title="", created_ms=0, seed=bytes(range(32)), stream_key="unused"
        )
        terms = PlaylistTerms(target_s=2, window_ms=9_000)
        self.announcer = Announcer(record, Clock(), terms)
        recorder = Recorder(ROOM, None, *[lambda *_: None] * 3)  # type: ignore[arg-type] # no disk
        self.origin = Origin(
            ROOM,
            recorder,
            target_s=2,
            window_s=9,
            now_ms=Clock().now_ms,
            announcer=self.announcer,
        )
        self.follower = Follower()
        self.bytes_told = 0
        self._told: set[bytes] = set()

    def begin(self, session: SessionId) -> None:
        self.origin.begin_session(session, next_msn=17, next_run=3, next_segment=5)
        self.announcer.begin_session(session)

    def say(self, word: Word, random: Random) -> None:
        match word:
            case RunStarted():
                self.origin.run_started(word)
            case TrackStarted():
                self.origin.track_started(word, f"{word.rendition}{word.run}".encode())
            case PartMade():
                self.origin.part_made(word, bytes(random.choice([99, LEAF_BYTES * 2 + 1])))
            case TrackStopped():
                self.origin.track_stopped(word)
            case RunEnded():
                self.origin.run_ended(word)
        self.carry()

    def carry(self) -> None:
        """What is new of what was announced, through the wire, to the follower."""
        for signed in [*self.announcer.tracks, *self.announcer.recent]:
            if signed.digest in self._told:
                continue
            self._told.add(signed.digest)
            said = verify(signed.encoded, KEY.public, ROOM).statement
            if isinstance(said, Track):
                self.follower.hear_track(said)
            elif isinstance(said, (Tick, End)):
                self.follower.hear(said)

    def check(self) -> None:
        assert set(self.follower.windows) == set(self.origin.tracks)
        for name, track in self.origin.tracks.items():
            ours, theirs = track.live.playlist(), self.follower.playlist(name)
            assert comparable(theirs) == comparable(ours)
            assert live_media_playlist(theirs) == live_media_playlist(ours)
            assert self.follower.windows[name].active == track.live.active
            numbers = [segment.msn for segment in ours.segments]
            assert numbers == sorted(set(numbers)), "no two segments have one number"
            for segment in ours.segments:
                for part in range(len(segment.parts)):
                    at = (segment.session.counter, segment.msn, part)
                    their_part, our_part = (
                        self.follower.windows[name].part(*at),
                        track.live.part(*at),
                    )
                    if our_part is not None:  # what left memory without a disk is gone
                        assert their_part is not None
                        assert their_part.cid == our_part.cid


async def test_parts_made_before_a_rendition_is_shed_are_told_before_it_is() -> None:
    room, random = Room(), Random(0)
    room.begin(SESSION)
    room.say(RunStarted(3, "start", 434), random)
    room.say(started("source", 3), random)
    room.say(started("720p", 3), random)
    room.say(PartMade("source", 3, 0, 0, 0, 30_000, True), random)
    room.say(PartMade("720p", 3, 0, 0, 0, 30_000, True), random)
    room.say(TrackStopped("720p", 3, "too slow"), random)
    room.say(PartMade("source", 3, 0, 0, 30_000, 30_000, False), random)
    room.check()


async def test_followers_hear_of_every_part_after_the_leading_rendition_is_shed() -> None:
    room, random = Room(), Random(0)
    room.begin(SESSION)
    room.say(RunStarted(3, "start", 434), random)
    room.say(started("720p", 3), random)  # an encoded source may begin after a smaller one
    room.say(started("source", 3), random)
    for part in range(3):
        for name in ("source", "720p"):
            room.say(PartMade(name, 3, 0, 0, part * 30_000, 30_000, part == 0), random)
    room.say(TrackStopped("720p", 3, "too slow"), random)
    for part in range(3, 9):
        ticks = len(room.announcer.recent)
        room.say(PartMade("source", 3, 0, 0, part * 30_000, 30_000, False), random)
        assert len(room.announcer.recent) == ticks + 1
        room.check()
    room.say(TrackStopped("source", 3, "encoder failed"), random)
    room.say(started("audio", 3), random)
    room.say(PartMade("audio", 3, 1, 0, 96_000, 16_000, True), random)
    room.check()


@pytest.mark.parametrize("sheds", [False, True])
@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])  # a seed says nothing when smaller
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 2))
async def test_playlists_made_of_announcements_are_the_origins_byte_for_byte(
    sheds: bool, seed: int, runs: int, sessions: int
) -> None:
    random = Random(seed)
    room = Room()
    for counter in range(sessions):
        room.begin(replace(SESSION, counter=counter))
        for run in range(3, 3 + runs):
            for word in words_of_run(run, random, sheds=sheds):
                room.say(word, random)
            room.check()
        room.origin.end()
        room.announcer.end(RoomState.ENDED)
        room.carry()
        room.check()

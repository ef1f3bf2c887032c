"""Things to put into content-addressed and signed forms: samples, and strategies for hypothesis."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from hypothesis import strategies as st
from msgspec.structs import replace
from support.peers import address

from hausd.core.cid import CID, Codec
from hausd.core.forms import MAX_SEGMENT
from hausd.core.freeing import FreeKey
from hausd.core.gating import (
    WHOLE,
    Epoch,
    EpochFrom,
    EpochId,
    EpochKey,
    ObjectSeal,
    SegmentSeal,
    commitment,
)
from hausd.core.ids import RoomId, SessionId, open_room_id
from hausd.core.keys import SigningKey
from hausd.core.live import ArchiveSegment, RoomState
from hausd.core.manifest import SegmentRecord
from hausd.core.media import LEAF_BYTES, Kind, Rendition
from hausd.wire.seals import MAX_FREE, TrackSeal
from hausd.wire.statements import End, Head, Statement, Tick, TickGap, TickGop, TickPart, Track

KEY = SigningKey(bytes(range(32)))
ROOM = KEY.public.open_room
OTHER_KEY = SigningKey(bytes(32))
OTHER_ROOM = OTHER_KEY.public.open_room
SESSION = SessionId(3, 0x00F1E2D3C4B5A697)
NOW_MS = 1_800_000_000_000

VIDEO = Rendition(
    name="720p",
    kind=Kind.VIDEO,
    codecs="avc1.64001f",
    timescale=90_000,
    bandwidth_bps=3_000_000,
    width=1280,
    height=720,
    frame_rate=Fraction(30_000, 1001),
    closed_captions=True,
)
AUDIO = Rendition(
    name="audio",
    kind=Kind.AUDIO,
    codecs="mp4a.40.2",
    timescale=48_000,
    bandwidth_bps=128_000,
    sample_rate_hz=48_000,
    channels=2,
)


def content(number: int, size: int) -> bytes:
    """Bytes that differ by number: byte i is (number + i) mod 251."""
    period = bytes((number + i) % 251 for i in range(251))
    return (period * (size // 251 + 1))[:size]


def leaf(number: int) -> CID:
    """The CID of a raw leaf that nobody needs to have."""
    return CID.of(b"leaf %d" % number)


def part(rendition: str, index: int, size: int, **more: bool) -> TickPart:
    """A part as a tick lists it."""
    return TickPart(
        rendition=rendition,
        index=index,
        program_time_ms=NOW_MS + index * 400,
        duration=36_000,
        size=size,
        leaves=tuple(leaf(size + at) for at in range(-(-size // LEAF_BYTES))),
        **more,
    )


def epoch(number: int) -> Epoch:
    """An epoch that nobody has the key of."""
    id_ = EpochId(content(number, 16))
    return Epoch(id_, commitment(ROOM, id_, EpochKey(content(number + 1, 32))))


def record(
    number: int,
    rendition: Rendition = VIDEO,
    room: RoomId = ROOM,
    seal: SegmentSeal | None = None,
) -> SegmentRecord:
    """A segment's record; every 7 segments a run ends, every 20 a session."""
    segment = ArchiveSegment(
        number=number,
        session=SessionId(number // 20, number // 20 + 5),
        run=number // 7,
        program_time_ms=NOW_MS + number * 10_000,
        duration_ms=9_976 + number % 3,
        cid=CID.of(b"segment %d" % number, Codec.DAG_PB),
        size=3_750_000 + number,
        init=CID.of(b"init %d" % (number // 7)),
        seal=seal,
    )
    return SegmentRecord(room, rendition, segment)


class BlockBox:
    """Blocks by CID, and how often they were asked for."""

    def __init__(self, blocks: object = ()) -> None:
        self.blocks: dict[CID, bytes] = dict(blocks)  # type: ignore[call-overload] # pairs or map
        self.asked = 0

    async def get(self, cid: CID) -> bytes | None:
        self.asked += 1
        return self.blocks.get(cid)


# -- strategies --

counts = st.integers(0, 2**53 - 1)
numbers = st.integers(0, MAX_SEGMENT)
sessions = st.builds(SessionId, counts, st.integers(0, 2**64 - 1))
rooms = st.binary(min_size=32, max_size=32).map(open_room_id)
names = st.sampled_from(["source", "720p", "480p", "audio", "a.b_c-d"])
digests = st.binary(min_size=32, max_size=32)


def cids(codec: Codec) -> st.SearchStrategy[CID]:
    return digests.map(lambda digest: CID(codec, digest))


renditions = st.builds(
    Rendition,
    name=names,
    kind=st.sampled_from(Kind),
    codecs=st.sampled_from(["", "avc1.64001f", "av01.0.04M.08", "mp4a.40.2,avc1.640028"]),
    timescale=st.integers(1, 2**32),
    bandwidth_bps=st.integers(0, 2**40),
    width=st.integers(0, 2**16),
    height=st.integers(0, 2**16),
    frame_rate=st.none() | st.builds(Fraction, st.integers(1, 2**32), st.integers(1, 2**32)),
    sample_rate_hz=st.integers(0, 2**24),
    channels=st.integers(0, 2**8),
    closed_captions=st.booleans(),
)


_epochs = st.builds(Epoch, st.binary(min_size=16, max_size=16).map(EpochId), digests)
uses = st.sampled_from([WHOLE, ("object", "init"), ("rendition", "a.b_c-d"), ("rendition", "720p")])
object_seals = st.builds(ObjectSeal, _epochs, counts)
segment_seals = st.builds(SegmentSeal, _epochs, object_seals)


@st.composite
def _track_seals(draw: st.DrawFn) -> TrackSeal:
    begin = sorted(draw(st.sets(numbers, min_size=1, max_size=4)))
    init, epochs = draw(object_seals), tuple(EpochFrom(at, draw(_epochs)) for at in begin)
    ids = sorted({init.epoch.id, *(one.epoch.id for one in epochs)})
    free = [FreeKey(id_, use, draw(digests)) for id_ in ids for use in sorted(draw(st.sets(uses)))]
    return TrackSeal(init, epochs, tuple(free[:MAX_FREE]))


@st.composite
def _parts(draw: st.DrawFn) -> tuple[TickPart, ...]:
    found = []
    for name in draw(st.lists(names, unique=True, min_size=1)):
        for index in sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=3))):
            size = draw(st.integers(1, 3 * LEAF_BYTES))
            made = part(name, index, size)
            marks = {"independent": draw(st.booleans()), "ends_gop": draw(st.booleans())}
            found.append(replace(made, duration=draw(st.integers(1, 2**40)), **marks))
    return tuple(found)


@st.composite
def _gops(draw: st.DrawFn) -> tuple[TickGop, ...]:
    found = []
    for msn in sorted(draw(st.sets(counts, max_size=3))):
        gop = TickGop(msn, draw(counts), draw(numbers), draw(_parts()))
        if draw(st.booleans()):
            sealed = tuple(replace(one, leaf=draw(st.integers(0, 2**32 - 1))) for one in gop.parts)
            gop = dataclasses.replace(gop, parts=sealed, epoch=draw(_epochs).id)
        found.append(gop)
    return tuple(found)


@st.composite
def ticks(draw: st.DrawFn) -> Tick:
    n = draw(st.integers(0, 3) | counts)
    gap = st.builds(TickGap, names, counts, counts, counts, st.integers(1, 2**40))
    return Tick(
        room=draw(rooms),
        session=draw(sessions),
        n=n,
        before=draw(digests) if n else None,
        time_ms=draw(counts),
        gops=draw(_gops()),
        gaps=tuple(draw(st.lists(gap, max_size=3))),
        ends_run=draw(st.booleans()),
    )


@st.composite
def _ends(draw: st.DrawFn) -> End:
    n = draw(st.integers(0, 3) | counts)
    state = draw(st.sampled_from([RoomState.ENDED, RoomState.CLOSED]))
    before = draw(digests) if n else None
    return End(draw(rooms), draw(sessions), n, before, draw(counts), state)


_tracks = st.builds(
    Track,
    room=rooms,
    session=sessions,
    n=counts,
    tick=counts,
    run=counts,
    rendition=renditions,
    init=cids(Codec.RAW),
    init_size=st.integers(1, LEAF_BYTES),
    active=st.booleans(),
    target_s=st.integers(1, 3600),
    part_target_ms=st.integers(1, 3_600_000),
    window_ms=st.integers(1, 2**40),
    peak_bps=counts,
    average_bps=counts,
    seal=st.none() | _track_seals(),
)
_heads = st.builds(
    Head,
    room=rooms,
    session=sessions,
    n=counts,
    manifest=cids(Codec.DAG_CBOR),
    state=st.sampled_from(RoomState),
    time_ms=counts,
    free=st.none() | cids(Codec.DAG_CBOR),
    holders=st.lists(st.integers(0, 250), max_size=8, unique=True).map(
        lambda numbers: tuple(map(address, numbers))
    ),
)
statements: st.SearchStrategy[Statement] = st.one_of(ticks(), _tracks, _heads, _ends())

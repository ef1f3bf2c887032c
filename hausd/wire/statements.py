"""What a stream authority says of its room: Track, Tick, Head, End, and their DAG-CBOR bodies.

Everything here is unsigned; ``wire.announce`` signs and verifies. The schema is ``schema.cddl``
beside this file. Times are milliseconds since 1970-01-01 UTC, durations ticks of the rendition's
timescale unless a name says otherwise.

Tracks and ticks together say all that a playlist holds: a follower that applies, per rendition
and in the order of media sequence numbers, what ticks list, gets the origin's live playlist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import msgspec

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import Value
from hausd.core.forms import (
    MAX_RENDITIONS,
    Fields,
    read_rendition,
    rendition_form,
    session_form,
)
from hausd.core.gating import EPOCH_ID_BYTES, EpochId
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import RoomState
from hausd.core.media import LEAF_BYTES, Rendition
from hausd.core.peers import PeerAddress
from hausd.wire.naming import peers_form, read_named
from hausd.wire.seals import TrackSeal, read_track_seal, track_seal_form

MAX_PART_BYTES = 32 * 1024 * 1024
MAX_TICK_PARTS = 4 * MAX_RENDITIONS
MAX_TICK_GAPS = 8 * MAX_RENDITIONS
MAX_LEAF = 2**32 - 1
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Track:
    """A rendition of a run: what its init segment is and what playlists say of it.

    ``n`` counts a session's tracks. It holds from the tick numbered ``tick`` on; not ``active``:
    from there on the rendition has no parts, and its open GOP is complete. ``target_s``,
    ``part_target_ms`` and ``window_ms`` are the live playlist's. Repeated every segment with the
    bit rates measured so far. ``seal``: in a gated room, how it is sealed.
    """

    room: RoomId
    session: SessionId
    n: int
    tick: int
    run: int
    rendition: Rendition
    init: CID
    init_size: int
    active: bool
    target_s: int
    part_target_ms: int
    window_ms: int
    peak_bps: int
    average_bps: int
    seal: TrackSeal | None = None


class TickPart(msgspec.Struct, frozen=True):
    """A part: number ``index`` of its GOP in its rendition.

    ``program_time_ms`` is the part's own program date-time. ``leaves`` are raw blocks of
    LEAF_BYTES, the last one shorter. ``ends_gop``: the GOP is complete with it (where that is not
    known yet, the next GOP's first part says so). ``leaf``: in a gated room, the number of the
    part's first leaf in its archive segment; sizes are of what is sealed.
    """

    rendition: str
    index: int
    program_time_ms: int
    duration: int
    size: int
    leaves: tuple[CID, ...]
    independent: bool = False
    ends_gop: bool = False
    leaf: int | None = None


@dataclass(frozen=True, slots=True)
class TickGop:
    """Parts of one GOP: its media sequence number, run, archive segment, and in a gated room
    epoch."""

    msn: int
    run: int
    segment: int
    parts: tuple[TickPart, ...]
    epoch: EpochId | None = None


@dataclass(frozen=True, slots=True)
class TickGap:
    """A GOP that others have and this rendition does not."""

    rendition: str
    msn: int
    run: int
    program_time_ms: int
    duration: int


@dataclass(frozen=True, slots=True)
class Tick:
    """The parts that became ready since the tick before; ``n`` counts a session's ticks.

    ``before`` is the digest of the signed tick before, None for the first. ``time_ms`` is the
    origin's clock at signing. ``ends_run``: with this tick the run is over, whatever follows
    begins with a discontinuity.
    """

    room: RoomId
    session: SessionId
    n: int
    before: bytes | None
    time_ms: int
    gops: tuple[TickGop, ...] = ()
    gaps: tuple[TickGap, ...] = ()
    ends_run: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """Where the room's manifest is. ``n`` counts a session's heads.

    ``pictures``: its poster and storyboard (``core.pictures``), where it has any. In a gated room,
    ``holders`` are the nodes that give its keys, and ``free`` links to those keys that are for
    everybody (``core.freeing``), where there are any.
    """

    room: RoomId
    session: SessionId
    n: int
    manifest: CID
    state: RoomState
    time_ms: int
    pictures: CID | None = None
    holders: tuple[PeerAddress, ...] = ()
    free: CID | None = None


@dataclass(frozen=True, slots=True)
class End:
    """No more ticks in this session. ``n`` and ``before`` as a tick in its place would have.

    ``state``: ENDED, or CLOSED where nothing will ever follow.
    """

    room: RoomId
    session: SessionId
    n: int
    before: bytes | None
    time_ms: int
    state: Literal[RoomState.ENDED, RoomState.CLOSED]


Statement = Track | Tick | Head | End


def body(statement: Statement) -> dict[str, object]:
    """A statement as DAG-CBOR can say it."""
    common: dict[str, object] = {
        "v": 1,
        "room": statement.room,
        "session": session_form(statement.session),
        "n": statement.n,
    }
    match statement:
        case Track():
            return common | _track_form(statement)
        case Tick():
            return common | _tick_form(statement)
        case Head():
            common |= {
                "manifest": statement.manifest,
                "state": statement.state.value,
                "time": statement.time_ms,
            }
            if statement.pictures is not None:
                common["pictures"] = statement.pictures
            if statement.holders:
                common["holders"] = peers_form(statement.holders)
            if statement.free is not None:
                common["free"] = statement.free
            return common
        case End():
            return common | {
                "before": statement.before,
                "time": statement.time_ms,
                "state": statement.state.value,
            }


def read_body(kind: type[Statement], untrusted: Value) -> Statement:
    """Reads the body of a statement of this kind; raises FormError."""
    fields = Fields(untrusted, kind.__name__.lower())
    fields.version()
    room, session, n = fields.room(), fields.session(), fields.uint("n")
    made: Statement
    if kind is Track:
        made = _read_track(fields, room, session, n)
    elif kind is Tick:
        made = _read_tick(fields, room, session, n)
    elif kind is Head:
        made = Head(
            room,
            session,
            n,
            manifest=fields.link("manifest", Codec.DAG_CBOR),
            state=RoomState(fields.text("state", _STATE)),
            time_ms=fields.uint("time"),
            pictures=fields.link("pictures", Codec.DAG_CBOR) if fields.has("pictures") else None,
            holders=_read_holders(fields),
            free=fields.link("free", Codec.DAG_CBOR) if fields.has("free") else None,
        )
    else:
        closed = RoomState(fields.text("state", _END_STATE)) is RoomState.CLOSED
        made = End(
            room,
            session,
            n,
            before=_read_before(fields, n),
            time_ms=fields.uint("time"),
            state=RoomState.CLOSED if closed else RoomState.ENDED,
        )
    fields.done()
    return made


def _read_holders(fields: Fields) -> tuple[PeerAddress, ...]:
    return read_named(fields.take("holders"), "head.holders") if fields.has("holders") else ()


_STATE = re.compile("|".join(state.value for state in RoomState))
_END_STATE = re.compile(f"{RoomState.ENDED.value}|{RoomState.CLOSED.value}")


def _track_form(track: Track) -> dict[str, object]:
    form: dict[str, object] = {
        "tick": track.tick,
        "run": track.run,
        "track": rendition_form(track.rendition),
        "init": track.init,
        "initSize": track.init_size,
        "active": track.active,
        "target": track.target_s,
        "partTarget": track.part_target_ms,
        "window": track.window_ms,
        "peak": track.peak_bps,
        "average": track.average_bps,
    }
    if track.seal is not None:
        form["seal"] = track_seal_form(track.seal)
    return form


def _read_track(fields: Fields, room: RoomId, session: SessionId, n: int) -> Track:
    return Track(
        room,
        session,
        n,
        tick=fields.uint("tick"),
        run=fields.uint("run"),
        rendition=read_rendition(fields.take("track"), "track.track"),
        init=fields.link("init", Codec.RAW),
        init_size=fields.uint("initSize", 1, LEAF_BYTES),
        active=fields.flag("active"),
        target_s=fields.uint("target", 1, 3600),
        part_target_ms=fields.uint("partTarget", 1, 3_600_000),
        window_ms=fields.uint("window", 1),
        peak_bps=fields.uint("peak"),
        average_bps=fields.uint("average"),
        seal=read_track_seal(fields.take("seal")) if fields.has("seal") else None,
    )


def _tick_form(tick: Tick) -> dict[str, object]:
    form: dict[str, object] = {"before": tick.before, "time": tick.time_ms}
    form["gops"] = [_gop_form(gop) for gop in tick.gops]
    if tick.gaps:
        form["gaps"] = [
            {
                "rendition": gap.rendition,
                "msn": gap.msn,
                "run": gap.run,
                "time": gap.program_time_ms,
                "duration": gap.duration,
            }
            for gap in tick.gaps
        ]
    if tick.ends_run:
        form["endsRun"] = True
    return form


def _gop_form(gop: TickGop) -> dict[str, object]:
    form: dict[str, object] = {
        "msn": gop.msn,
        "run": gop.run,
        "segment": gop.segment,
        "parts": [_part_form(part) for part in gop.parts],
    }
    if gop.epoch is not None:
        form["epoch"] = gop.epoch
    return form


def _part_form(part: TickPart) -> dict[str, object]:
    form: dict[str, object] = {
        "rendition": part.rendition,
        "index": part.index,
        "time": part.program_time_ms,
        "duration": part.duration,
        "size": part.size,
        # All leaves are raw blocks under SHA-256, so the digests say it all at 32 bytes each.
        "leaves": b"".join(leaf.digest for leaf in part.leaves),
    }
    if part.independent:
        form["independent"] = True
    if part.ends_gop:
        form["endsGop"] = True
    if part.leaf is not None:
        form["leaf"] = part.leaf
    return form


def _read_tick(fields: Fields, room: RoomId, session: SessionId, n: int) -> Tick:
    gops = tuple(_read_gop(gop) for gop in fields.items("gops", MAX_TICK_PARTS))
    if any(a.msn >= b.msn for a, b in pairwise(gops)):
        raise fields.fault("gops", "in the order of media sequence numbers")
    if sum(len(gop.parts) for gop in gops) > MAX_TICK_PARTS:
        raise fields.fault("gops", f"a list of at most {MAX_TICK_PARTS} parts in all")
    gaps = fields.items("gaps", MAX_TICK_GAPS, 1) if fields.has("gaps") else []
    return Tick(
        room,
        session,
        n,
        before=_read_before(fields, n),
        time_ms=fields.uint("time"),
        gops=gops,
        gaps=tuple(_read_gap(gap) for gap in gaps),
        ends_run=_mark(fields, "endsRun"),
    )


def _read_before(fields: Fields, n: int) -> bytes | None:
    """Only the first of a session has none before it."""
    if n:
        return fields.blob("before", DIGEST_BYTES)
    if fields.take("before") is not None:
        raise fields.fault("before", "null in the first tick of a session")
    return None


def _read_gop(untrusted: Value) -> TickGop:
    fields = Fields(untrusted, "tick.gop")
    msn, run, segment = fields.uint("msn"), fields.uint("run"), fields.segment("segment")
    parts = tuple(_read_part(part) for part in fields.items("parts", MAX_TICK_PARTS, 1))
    epoch = EpochId(fields.blob("epoch", EPOCH_ID_BYTES)) if fields.has("epoch") else None
    fields.done()
    if any((part.leaf is None) is not (epoch is None) for part in parts):
        raise fields.fault("parts", "sealed as their GOP is: leaf and epoch go together")
    newest: dict[str, int] = {}
    for part in parts:
        if part.index <= newest.get(part.rendition, -1):
            raise fields.fault("parts", "in the order of each rendition's indexes")
        newest[part.rendition] = part.index
    return TickGop(msn, run, segment, parts, epoch)


def _read_part(untrusted: Value) -> TickPart:
    fields = Fields(untrusted, "tick.part")
    size = fields.uint("size", 1, MAX_PART_BYTES)
    digests = fields.blob("leaves", -(-size // LEAF_BYTES) * DIGEST_BYTES)
    made = TickPart(
        rendition=fields.rendition_name(),
        index=fields.uint("index"),
        program_time_ms=fields.uint("time"),
        duration=fields.uint("duration", 1),
        size=size,
        leaves=tuple(
            CID(Codec.RAW, digests[at : at + DIGEST_BYTES])
            for at in range(0, len(digests), DIGEST_BYTES)
        ),
        independent=_mark(fields, "independent"),
        ends_gop=_mark(fields, "endsGop"),
        leaf=fields.uint("leaf", 0, MAX_LEAF) if fields.has("leaf") else None,
    )
    fields.done()
    return made


def _read_gap(untrusted: Value) -> TickGap:
    fields = Fields(untrusted, "tick.gap")
    made = TickGap(
        rendition=fields.rendition_name(),
        msn=fields.uint("msn"),
        run=fields.uint("run"),
        program_time_ms=fields.uint("time"),
        duration=fields.uint("duration", 1),
    )
    fields.done()
    return made


def _mark(fields: Fields, name: str) -> bool:
    """A field that is true or left out, so that there is one way to say either."""
    if not fields.has(name):
        return False
    if not fields.flag(name):
        raise fields.fault(name, "true, or left out")
    return True

"""The blocks of a manifest: segment records, leaves, inner nodes and the root, as DAG-CBOR.

The schema is ``hausd/wire/schema.cddl``. What is read is checked against it here; whether nodes
fit together is for ``core.manifest`` to check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import DagCborError, Value, decode, encode
from hausd.core.forms import (
    MAX_RENDITIONS,
    MAX_SEGMENT,
    MAX_TIME_MS,
    Fields,
    FormError,
    is_uint,
    read_rendition,
    rendition_form,
    session_form,
)
from hausd.core.gating import SegmentSeal
from hausd.core.gating_forms import epoch_form, object_seal_form, read_epoch, read_object_seal
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import ArchiveSegment, RoomState
from hausd.core.media import Rendition
from hausd.core.storage import SegmentKey

FANOUT = 32
"""Records in a leaf, and children of an inner node. A leaf is some 2.4 KB, an inner node 1.5."""
MAX_NODE_BYTES = 64 * 1024
MAX_LEVEL = 8
"""FANOUT ** 9 records: more than will ever be."""
MAX_SEGMENT_MS = 3_600_000
"""Of a segment. Configured are some seconds; what is cut late is minutes at most."""


class ManifestError(ValueError):
    """A block is not the manifest node that it should be; the message says why."""


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment of a rendition with all that is needed to tell of it without asking further."""

    room: RoomId
    rendition: Rendition
    segment: ArchiveSegment

    @classmethod
    def of(cls, key: SegmentKey, segment: ArchiveSegment, rendition: Rendition) -> SegmentRecord:
        """The record of the segment stored under ``key``."""
        if (key.rendition, key.session, key.number) != (
            rendition.name,
            segment.session,
            segment.number,
        ):
            raise ValueError("key, segment and rendition do not belong together")
        return cls(key.room, rendition, segment)

    @property
    def key(self) -> SegmentKey:
        """Where the store keeps the segment."""
        at = self.segment
        return SegmentKey(self.room, at.session, self.rendition.name, at.number)


@dataclass(frozen=True, slots=True)
class Entry:
    """A subtree: number of its first segment, how many segments it has, its node."""

    first: int
    count: int
    cid: CID


@dataclass(frozen=True, slots=True)
class Root:
    """``trees`` gives for each rendition how many segments it has, and its top node. ``free``: the
    list of a gated room's keys that are for everybody (``core.freeing``)."""

    room: RoomId
    state: RoomState
    trees: dict[str, tuple[int, CID]]
    free: CID | None = None


def check_segment(segment: ArchiveSegment) -> None:
    """Raises FormError where no playlist can be made of it: it has to end within the calendar."""
    if segment.duration_ms > MAX_SEGMENT_MS:
        raise FormError(f"segment {segment.number} is longer than an hour")
    if segment.program_time_ms + segment.duration_ms > MAX_TIME_MS:
        raise FormError(f"segment {segment.number} ends after the year 9999")


def encode_record(record: SegmentRecord) -> bytes:
    """A record alone, as it stands beside its segment in the store."""
    segment = record.segment
    form: dict[str, object] = {
        "v": 1,
        "room": record.room,
        "track": rendition_form(record.rendition),
        "session": session_form(segment.session),
        "run": segment.run,
        "init": segment.init,
        "number": segment.number,
        "time": segment.program_time_ms,
        "duration": segment.duration_ms,
        "size": segment.size,
        "cid": segment.cid,
    }
    return encode(form | _seal_form(segment.seal))


def decode_record(untrusted: bytes) -> SegmentRecord:
    """Reads ``encode_record``; raises ManifestError."""
    try:
        fields = Fields(decode(untrusted, MAX_NODE_BYTES), "record")
        fields.version()
        room = fields.room()
        rendition = read_rendition(fields.take("track"))
        segment = ArchiveSegment(
            number=fields.segment("number"),
            session=fields.session(),
            run=fields.uint("run"),
            program_time_ms=fields.uint("time"),
            duration_ms=fields.uint("duration"),
            cid=fields.link("cid"),
            size=fields.uint("size"),
            init=fields.link("init", Codec.RAW),
            seal=_read_seal(fields),
        )
        fields.done()
        check_segment(segment)
    except (DagCborError, FormError) as fault:
        raise ManifestError(str(fault)) from None
    return SegmentRecord(room, rendition, segment)


def encode_leaf(records: Sequence[SegmentRecord]) -> bytes:
    """A leaf. What consecutive records have in common is said once."""
    return encode({"runs": [_run_form(list(run)) for _, run in groupby(records, _common)]})


def decode_leaf(room: RoomId, name: str, untrusted: bytes) -> list[SegmentRecord]:
    """The records of a leaf of the rendition called ``name``; raises ManifestError."""
    try:
        fields = Fields(decode(untrusted, MAX_NODE_BYTES), "leaf")
        runs = [_read_run(room, name, run) for run in fields.items("runs", FANOUT, 1)]
        fields.done()
    except (DagCborError, FormError) as fault:
        raise ManifestError(str(fault)) from None
    records = [record for run in runs for record in run]
    numbers = [record.segment.number for record in records]
    if len(records) > FANOUT or any(a >= b for a, b in pairwise(numbers)):
        raise ManifestError(f"a leaf's numbers do not grow, or there are more than {FANOUT}")
    if any(_common(a[-1]) == _common(b[0]) for a, b in pairwise(runs)):
        raise ManifestError("two neighbouring runs of a leaf are one")
    return records


def encode_inner(level: int, children: Iterable[Entry]) -> bytes:
    """An inner node; ``level`` 1 is right above the leaves."""
    listed = [[child.first, child.count, child.cid] for child in children]
    return encode({"level": level, "children": listed})


def decode_inner(untrusted: bytes) -> tuple[int, list[Entry]]:
    """Level and children of an inner node; raises ManifestError."""
    children: list[Entry] = []
    try:
        fields = Fields(decode(untrusted, MAX_NODE_BYTES), "node")
        level = fields.uint("level", 1, MAX_LEVEL)
        for child in fields.items("children", FANOUT, 1):
            match child:
                case [int(first), int(count), CID(codec=Codec.DAG_CBOR) as cid] if is_uint(
                    first, most=MAX_SEGMENT
                ) and is_uint(count, 1, FANOUT**level):
                    children.append(Entry(first, count, cid))
                case _:
                    raise FormError("a child of a node is not [first, count, link]")
        fields.done()
    except (DagCborError, FormError) as fault:
        raise ManifestError(str(fault)) from None
    if any(a.first >= b.first for a, b in pairwise(children)):
        raise ManifestError("the children of a node are not in order")
    return level, children


def encode_root(root: Root) -> bytes:
    """The block whose CID is the manifest's."""
    trees = {name: [count, cid] for name, (count, cid) in root.trees.items()}
    form: dict[str, object] = {
        "v": 1,
        "room": root.room,
        "state": root.state.value,
        "renditions": trees,
    }
    return encode(form | ({"free": root.free} if root.free is not None else {}))


def decode_root(untrusted: bytes) -> Root:
    """Reads ``encode_root``; raises ManifestError."""
    trees: dict[str, tuple[int, CID]] = {}
    try:
        fields = Fields(decode(untrusted, MAX_NODE_BYTES), "manifest")
        fields.version()
        room = fields.room()
        state = RoomState(fields.text("state", _STATE))
        listed = fields.take("renditions")
        if not isinstance(listed, dict) or len(listed) > MAX_RENDITIONS:
            raise fields.fault("renditions", f"a map of at most {MAX_RENDITIONS}")
        for name, tree in listed.items():
            Fields({"name": name}, "manifest.renditions").rendition_name("name")
            match tree:
                case [int(count), CID(codec=Codec.DAG_CBOR) as cid] if is_uint(
                    count, 1, FANOUT ** (MAX_LEVEL + 1)
                ):
                    trees[name] = (count, cid)
                case _:
                    raise FormError(f"the tree of {name} is not [count, link]")
        free = fields.link("free", Codec.DAG_CBOR) if fields.has("free") else None
        fields.done()
    except (DagCborError, FormError) as fault:
        raise ManifestError(str(fault)) from None
    return Root(room, state, trees, free)


_STATE = re.compile("|".join(state.value for state in RoomState))


_Common = tuple[SessionId, int, CID, Rendition, SegmentSeal | None]


def _common(record: SegmentRecord) -> _Common:
    segment = record.segment
    return segment.session, segment.run, segment.init, record.rendition, segment.seal


def _seal_form(seal: SegmentSeal | None) -> dict[str, object]:
    if seal is None:
        return {}
    return {"epoch": epoch_form(seal.epoch), "initSeal": object_seal_form(seal.init)}


def _read_seal(fields: Fields) -> SegmentSeal | None:
    if not fields.has("epoch"):
        return None
    epoch = read_epoch(fields.take("epoch"), "epoch")
    return SegmentSeal(epoch, read_object_seal(fields.take("initSeal"), "initSeal"))


def _run_form(records: list[SegmentRecord]) -> dict[str, object]:
    session, run, init, rendition, seal = _common(records[0])
    return {
        "session": session_form(session),
        "run": run,
        "init": init,
        "track": rendition_form(rendition),
        "segments": [
            [at.number, at.program_time_ms, at.duration_ms, at.size, at.cid]
            for at in (record.segment for record in records)
        ],
        **_seal_form(seal),
    }


def _read_run(room: RoomId, name: str, untrusted: Value) -> list[SegmentRecord]:
    fields = Fields(untrusted, "run")
    session, run, init = fields.session(), fields.uint("run"), fields.link("init", Codec.RAW)
    rendition, seal = read_rendition(fields.take("track")), _read_seal(fields)
    if rendition.name != name:
        raise FormError(f"the tree of {name} has a segment of {rendition.name}")
    records: list[SegmentRecord] = []
    for listed in fields.items("segments", FANOUT, 1):
        match listed:
            case [int(number), int(time), int(duration), int(size), CID() as cid] if is_uint(
                number, most=MAX_SEGMENT
            ) and all(is_uint(value) for value in (time, duration, size)):
                segment = ArchiveSegment(
                    number, session, run, time, duration, cid, size, init, seal
                )
                check_segment(segment)
                records.append(SegmentRecord(room, rendition, segment))
            case _:
                raise FormError("a segment is not [number, time, duration, size, link]")
    fields.done()
    return records

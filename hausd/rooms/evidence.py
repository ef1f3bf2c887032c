"""Two statements of a room's authority that no honest one signs both: kept and told."""

from __future__ import annotations

from hausd.rooms.metrics import CONTRADICTIONS
from hausd.rooms.records import RoomRecord
from hausd.wire.announce import Signed
from hausd.wire.statements import End, Statement

_KEPT = 4
"""Pairs that are kept: a statement has up to 32 KiB, and a room's file 1 MiB."""


def keep_evidence(
    record: RoomRecord, first: Signed[Statement], second: Signed[Statement]
) -> str | None:
    """Adds a pair to a room's record, once, as far as there is room; gives what to say of it."""
    pair = (first.encoded, second.encoded)
    known = record.evidence
    if pair in known or pair[::-1] in known:
        return None
    CONTRADICTIONS.inc()
    if len(known) >= _KEPT:
        return None  # more of it says nothing more
    known.append(pair)
    return (
        "The room's origin signed two different statements for one place "
        f"({_place(first.statement)}): its key is in use twice, or its owner deceives. "
        "The first one is followed."
    )


def _place(said: Statement) -> str:
    kind = "tick" if isinstance(said, End) else type(said).__name__.lower()
    return f"{kind} {said.n} of session {said.session}"

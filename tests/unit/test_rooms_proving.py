"""What the chain says of manifests, beside what was signed."""

from __future__ import annotations

from dataclasses import replace

from hausd.core.cid import CID
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import RoomState
from hausd.rooms.proving import Proving
from hausd.wire.statements import Head

SIGNED = Head(RoomId("a room"), SessionId(1, 7), 4, CID.of(b"four"), RoomState.LIVE, 0)
LATER = replace(SIGNED, n=9, manifest=CID.of(b"nine"))
FORGED = replace(SIGNED, manifest=CID.of(b"another"))


def proving() -> tuple[Proving, list[str]]:
    told: list[str] = []
    return Proving(lambda code, text: told.append(code)), told


def test_what_is_written_as_it_was_signed_matches_and_is_counted_once() -> None:
    one, told = proving()
    for _ in range(3):
        one.compare(SIGNED, SIGNED, LATER)
    assert (one.outcome, one.matched, told) == ("matches", 1, [])


def test_what_matched_stays_so_when_what_was_signed_is_forgotten() -> None:
    one, _ = proving()
    one.compare(SIGNED, SIGNED, LATER)
    one.compare(SIGNED, None, LATER)
    assert one.outcome == "matches"


def test_another_manifest_is_told_once_and_not_taken_for_the_last_that_matched() -> None:
    one, told = proving()
    one.compare(SIGNED, SIGNED, SIGNED)
    for _ in range(2):
        one.compare(FORGED, SIGNED, SIGNED)
    assert (one.outcome, told) == ("differs", ["checkpoint-differs"])
    one.compare(SIGNED, SIGNED, SIGNED)
    assert one.outcome == "matches"


def test_what_was_not_heard_is_unseen_and_alone_where_nothing_was() -> None:
    one, _ = proving()
    one.compare(LATER, None, SIGNED)
    assert one.outcome == "unseen"
    one.compare(LATER, None, None)
    assert one.outcome == "alone"


def test_the_chain_is_taken_where_it_knows_more_and_only_forward() -> None:
    one, _ = proving()
    assert not one.takes(SIGNED, LATER)
    assert one.takes(LATER, SIGNED)
    assert not one.takes(LATER, SIGNED)
    assert not one.takes(SIGNED, None)

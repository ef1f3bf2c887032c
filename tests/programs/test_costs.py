"""What an instruction costs is written down, and nobody makes it dearer unawares."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.programcosts import measure
from tests.support.programs import BUILT

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")
TABLE = Path(__file__).parents[2] / "programs" / "costs.json"
LARGEST_TRANSACTION = 1_232


def test_no_instruction_costs_over_a_twentieth_more_than_is_written_down() -> None:
    written, measured = json.loads(TABLE.read_text()), measure()
    assert measured.keys() == written.keys()
    grown = {
        f"{name}, {what}: {was[what]} is {measured[name][what]}"
        for name, was in written.items()
        for what in was
        if measured[name][what] > was[what] * 1.05
    }
    assert not grown, "scripts/programs costs, if that is meant"


def test_every_transaction_fits() -> None:
    sizes = {name: row["transaction_bytes"] for name, row in measure().items()}
    assert max(sizes.values()) <= LARGEST_TRANSACTION


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("event_factory.checkpoint", 1_000),
        ("event_factory.create_event", 60_000),
        ("live_tipping.tip (140 bytes, takes the lead late)", 4_000),
    ],
)
def test_what_comes_often_is_cheap(name: str, below: int) -> None:
    assert measure()[name]["compute_units"] < below

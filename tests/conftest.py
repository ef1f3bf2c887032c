"""Common ground of all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from support.turns import Turns

# CI explores the same examples every time; scripts/fuzz looks for new ones, longer.
settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True)
settings.register_profile(
    "fuzz", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("dev", max_examples=60, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

_TURNS = pytest.StashKey[Turns]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Iterator[object | None]:
    """Among several workers, a file that is marked ``alone`` keeps its turn to its last test."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    if _TURNS not in item.config.stash:
        # pytest makes it, one level above the workers' own
        shared = item.config._tmp_path_factory.getbasetemp().parent
        item.config.stash[_TURNS] = Turns(shared)
    turns = item.config.stash[_TURNS]
    alone = item.get_closest_marker("alone") is not None
    turns.enter(alone=alone)
    try:
        return (yield)
    finally:
        if not alone or nextitem is None or nextitem.path != item.path:
            turns.leave()

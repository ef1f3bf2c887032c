"""A node that runs for long takes no more than one that runs for a while."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.node import node
from support.publish import make
from support.soak import SETS, growth, soak

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

_SECONDS = 22.0
_MOST_MB = 20.0
"""Allocators keep what they once had; a leak of one part in ten would be more."""


def test_tasks_descriptors_and_memory_do_not_grow_with_the_media_that_went_through(
    tmp_path: Path,
) -> None:
    source = make(tmp_path / "soak.flv", "-tune", "zerolatency", seconds=20)
    bitrate_bps = source.stat().st_size * 8 / 20
    with node(tmp_path / "home", *SETS, "store.quota=30 MB") as running:
        samples = soak(
            running,
            running.room(),
            source,
            seconds=_SECONDS,
            every_s=1.0,
            reconnect_s=4.0,
            visitors=2,
            bitrate_bps=bitrate_bps,
        )
        shown = running.ctl("rooms", "list")
    found = {
        name: growth(samples, name)
        for name in ("tasks", "descriptors", "node_mb", "worker_mb", "worker_descriptors", "files")
    }
    assert samples[-1].media_s > 2 * samples[-1].wall_s, "it was not fed"
    assert shown[0]["recording"]["segments"] > 0, shown
    for name in ("tasks", "descriptors", "worker_descriptors"):
        assert found[name].rise <= 8, (found[name], samples)
    assert found["files"].rise <= 0.5 * found["files"].first + 20, (found["files"], samples)
    for name in ("node_mb", "worker_mb"):
        assert found[name].rise < _MOST_MB, (found[name], samples)

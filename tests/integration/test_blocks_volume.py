"""Recording writes little more to the disk than the stream itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from support.store import LIMITS, Segment, key, leaf

from hausd.blocks.store import open_store
from hausd.core.cid import CID
from hausd.core.media import leaves
from hausd.core.storage import Append

PART_S = 0.4
PARTS_A_GOP = 5
GOPS = 5
AT_MOST = 1.05

LADDERS: dict[str, Mapping[str, int]] = {
    "passthrough-2.6-mbit": {"source": 2_472_000, "audio": 128_000},
    "ladder-11-mbit": {
        "source": 6_000_000,
        "720p": 2_800_000,
        "480p": 1_400_000,
        "360p": 800_000,
        "audio": 128_000,
    },
}


def written() -> int:
    """Bytes that this process handed to write calls so far."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "wchar":
            return int(value)
    raise AssertionError("no wchar in /proc/self/io")


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the kernel counts no writes")
@pytest.mark.parametrize("ladder", LADDERS)
async def test_a_stream_is_written_little_more_than_once(tmp_path: Path, ladder: str) -> None:
    """One minute at twenty times its speed, synced as often as in a minute at its own."""
    before = written()
    stream = 0
    async with open_store(tmp_path, replace(LIMITS, sync_s=5.0 / 20)) as store:
        for number in range(6):
            made = {
                rendition: Segment(key(number, rendition=rendition), [[] for _ in range(GOPS)])
                for rendition in LADDERS[ladder]
            }
            for part in range(GOPS * PARTS_A_GOP):
                changes = []
                for rendition, rate_bps in LADDERS[ladder].items():
                    data = leaf((number, rendition, part), int(rate_bps / 8 * PART_S))
                    stream += len(data)
                    cut = [bytes(one) for one in leaves(data)]
                    made[rendition].gops[part // PARTS_A_GOP] += cut
                    pairs = tuple((CID.of(one), one) for one in cut)
                    changes.append(Append(made[rendition].key, pairs))
                await store.write(changes)
                await trio.sleep(PART_S / 20)
            await store.write([one.close() for one in made.values()])
    total = written() - before
    print(f"{ladder}: {total / stream:.4f} bytes written per stream byte")
    assert stream < total <= stream * AT_MOST

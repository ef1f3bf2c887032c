"""Killed at any instant, a store loses nothing that it acknowledged."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from support.store import LIMITS, room
from support.storewriter import made, small

from hausd.blocks.store import Store, open_store
from hausd.core.cid import CID

KILLS = int(os.environ.get("HAUSD_TEST_KILLS", "12"))
PROGRAM = Path(__file__).parents[1] / "support" / "storewriter.py"


def killed_run(path: Path, run: int, after_s: float) -> list[list[str]]:
    """Lets the program write for a while, kills it, and gives what it had acknowledged."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(path), str(run)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        first = program.stdout.readline()
        time.sleep(after_s)
        program.kill()
        lines = [first, *program.stdout]
    return [line.split() for line in lines if line.endswith("\n")]


async def check(store: Store, run: int, acknowledged: list[list[str]]) -> None:
    discarded = {(words[1], words[2]) for words in acknowledged if words[0] == "d"}
    last = max((int(words[1]) for words in acknowledged if words[0] == "p"), default=0)
    for words in acknowledged:
        if words[0] == "p":
            data = small(run, int(words[1]))
            assert await store.block(CID.of(data)) == data, words
            continue
        if words[0] == "d" or (words[1], words[2]) in discarded:
            continue
        one = made(run, int(words[2]), words[1])
        if words[1] == "audio" and int(words[2]) in (last - 3, last - 2):
            continue  # a removal may have been under way
        if words[0] == "a":
            for data in one.gops[int(words[3])]:
                assert await store.block(CID.of(data)) == data, words
        else:
            place = store.locate(one.cid)
            assert place is not None, words
            assert await store.read_range(place) == one.content


async def test_a_killed_store_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(4)
    path = tmp_path / "store"
    runs: list[list[list[str]]] = []
    for run in range(KILLS):
        runs.append(killed_run(path, run, chance.uniform(0.0, 0.25)))
        async with open_store(path, LIMITS) as store:
            assert not [line for line in store.repaired if "index" in line], store.repaired
            await check(store, run, runs[run])
            found = await store.verify()
            assert (found.corrupt, found.missing) == (0, 0)
            assert found.checked == store.usage().blocks
            # What is left open is what the killed runs were at; a room can close it.
            assert len(store.unclosed(room())) <= 4 * (run + 1)
    async with open_store(path, LIMITS) as store:
        assert store.repaired == []
        for run, acknowledged in enumerate(runs):
            await check(store, run, acknowledged)

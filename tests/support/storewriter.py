"""A program that writes into a store as fast as it can, and says what was acknowledged.

    python storewriter.py STORE RUN

Segment ``n`` of a run has two renditions of three GOPs each; every tenth acknowledged batch a
small block goes into a pack. Lines on standard output: ``a RENDITION NUMBER GOP``, ``c RENDITION
NUMBER``, ``p NUMBER``, each after the store said that it is written.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path

# In place of this folder, whose files would hide modules of the standard library.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import trio
from support.store import LIMITS, Segment, leaf, room, segment

from hausd.blocks import keeper
from hausd.blocks.store import open_store
from hausd.core.cid import CID

RENDITIONS = ("source", "audio")


def made(run: int, number: int, rendition: str) -> Segment:
    return segment(number, rendition=rendition, session=run, leaves=3, size=5000)


def small(run: int, number: int) -> bytes:
    return leaf(("small", run, number), 3000)


async def write(path: Path, run: int) -> None:
    # Everything that happens now and then happens all the time.
    keeper._INDEX_EVERY_S = 0.02
    keeper._JOURNAL_BYTES = 2000
    async with open_store(path, replace(LIMITS, sync_s=0.01)) as store:
        for number in itertools.count():
            own = [made(run, number, rendition) for rendition in RENDITIONS]
            for gop in range(3):
                await store.write([one.append(gop) for one in own])
                for one in own:
                    print("a", one.key.rendition, number, gop, flush=True)
            await store.write([one.close() for one in own])
            for one in own:
                print("c", one.key.rendition, number, flush=True)
            data = small(run, number)
            await store.put([(CID.of(data), data)], room(2))
            print("p", number, flush=True)
            if number % 7 == 6:
                await store.discard([made(run, number - 3, "audio").key])
                print("d", "audio", number - 3, flush=True)


if __name__ == "__main__":
    trio.run(write, Path(sys.argv[1]), int(sys.argv[2]))

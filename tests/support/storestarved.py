"""A program that reads, looks after and verifies a store while no file can be opened.

    python storestarved.py STORE

The store holds segments 0 and 1, closed. Says what it found on one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# In place of this folder, whose files would hide modules of the standard library.
if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import structlog
import trio
from support.store import LIMITS, room, segment

from hausd.blocks.store import open_store
from hausd.core.cid import CID


@contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        while True:
            try:
                held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def look(path: Path) -> dict[str, object]:
    first, second = segment(0), segment(1)
    leaf = CID.of(first.leaves[0])
    async with open_store(path, LIMITS) as store:
        await store.pins.add(room(), lambda *step: None)
        assert await store.block(CID.of(second.leaves[0])) == second.leaves[0]  # at hand now
        with no_descriptors():
            starved = [
                await store.block(leaf) is None,
                await store.block(CID.of(second.leaves[0])) is None,
                store.locate(first.cid) is None,
            ]
            await store._keeper._look_after_suspects()
            found = await store.verify()
        await store._keeper._look_after_suspects()
        return {
            "starved": starved,
            "verified": [found.corrupt, found.missing],
            "block": await store.block(leaf) == first.leaves[0],
            "located": [store.locate(one.cid) is not None for one in (first, second)],
            "lost": os.listdir(path / "lost+found"),
            "suspects": len(store._state.suspects),
            "again": (await store.verify()).model_dump(),
        }


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    print(json.dumps(trio.run(look, Path(sys.argv[1]))))


if __name__ == "__main__":
    main()

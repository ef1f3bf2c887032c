"""Whatever is done to a store, in any order, it holds exactly what a dictionary would."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import trio
from hypothesis import example, given
from hypothesis import strategies as st
from support.store import LIMITS, Segment, key, leaf, room

from hausd.blocks.store import Store, open_store
from hausd.core.cid import CID
from hausd.core.storage import Append, Close, SegmentKey

LEAVES = [leaf(number, 200 + number) for number in range(12)]
SMALL = [leaf(("small", number), 50 + number) for number in range(6)]

keys = st.builds(
    lambda number, rendition, of: key(number, rendition=rendition, of=room(of)),
    st.integers(0, 2),
    st.sampled_from(["source", "audio"]),
    st.integers(1, 2),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), keys, st.lists(st.integers(0, 11), min_size=1, max_size=4)),
        st.tuples(st.just("close"), keys),
        st.tuples(st.just("discard"), keys),
        st.tuples(st.just("put"), st.integers(1, 2), st.lists(st.integers(0, 5), max_size=3)),
        st.tuples(st.just("drop"), st.integers(1, 2)),
        st.tuples(st.just("sync")),
        st.tuples(st.just("reopen")),
        st.tuples(st.just("crash")),
        st.tuples(st.just("lose-index")),
    ),
    max_size=25,
)


@dataclass
class Model:
    """What the store should hold."""

    open: dict[SegmentKey, list[bytes]] = field(default_factory=dict)
    closed: dict[SegmentKey, list[bytes]] = field(default_factory=dict)
    small: dict[int, set[bytes]] = field(default_factory=dict)

    def drop(self, keep: Callable[[SegmentKey], bool]) -> None:
        self.open = {k: v for k, v in self.open.items() if keep(k)}
        self.closed = {k: v for k, v in self.closed.items() if keep(k)}

    def blocks(self) -> set[bytes]:
        media = {x for own in (*self.open.values(), *self.closed.values()) for x in own}
        return media.union(*self.small.values())


def one_gop(own: SegmentKey, leaves: list[bytes]) -> Segment:
    return Segment(own, [leaves])


async def check(store: Store, model: Model) -> None:
    present = model.blocks()
    for data in (*LEAVES, *SMALL):
        cid = CID.of(data)
        place = store.locate(cid)
        assert store.has(cid) == (data in present)
        assert (place is not None) == (data in present)
        assert await store.block(cid) == (data if data in present else None)
        if place is not None:
            assert await store.read_range(place) == data
    nodes = 0
    for own, leaves in model.closed.items():
        whole = one_gop(own, leaves)
        place = store.locate(whole.cid)
        assert place is not None
        assert await store.read_range(place) == whole.content
        nodes += len(whole.nodes())
    told = [one for number in (1, 2) for one in await store.segments(room(number))]
    assert {one.key: one.size for one in told} == {
        own: sum(map(len, leaves)) for own, leaves in model.closed.items()
    }
    unclosed = [one for number in (1, 2) for one in store.unclosed(room(number))]
    assert {one.key: [cid for cid, _ in one.leaves] for one in unclosed} == {
        own: [CID.of(data) for data in leaves] for own, leaves in model.open.items()
    }
    count = sum(map(len, (*model.open.values(), *model.closed.values(), *model.small.values())))
    assert store.usage().blocks == count + nodes
    packs = sum(bool(own) for own in model.small.values())
    assert store.usage().used_files == len(model.open) + len(model.closed) + packs


async def run(steps: list[tuple[object, ...]], base: Path) -> None:
    model = Model()
    path = base / "0"
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(path, LIMITS))
        for number, step in enumerate(steps):
            match step:
                case ("append", SegmentKey() as own, list(picks)) if own not in model.closed:
                    leaves = [LEAVES[pick] for pick in picks]
                    pairs = tuple((CID.of(data), data) for data in leaves)
                    await store.write([Append(own, pairs)])
                    model.open.setdefault(own, []).extend(leaves)
                case ("close", SegmentKey() as own) if own in model.open:
                    model.closed[own] = model.open.pop(own)
                    whole = one_gop(own, model.closed[own])
                    await store.write([Close(own, whole.nodes(), whole.record)])
                case ("discard", SegmentKey() as own):
                    await store.discard([own])
                    model.drop(lambda other, own=own: other != own)  # type: ignore[misc]  # mypy can't infer a lambda's default
                case ("put", int(of), list(picks)):
                    blocks = [SMALL[pick] for pick in picks]
                    await store.put([(CID.of(data), data) for data in blocks], room(of))
                    model.small.setdefault(of, set()).update(blocks)
                case ("drop", int(of)):
                    assert await store.drop_room(room(of)) is None
                    model.drop(lambda other, of=of: other.room != room(of))  # type: ignore[misc]  # as above
                    model.small.pop(of, None)
                case ("sync",):
                    await store.sync()
                case ("reopen" | "crash" | "lose-index" as how,):
                    if how == "crash":
                        # What a killed process leaves is what lies there now.
                        shutil.copytree(path, base / f"{number + 1}")
                        path = base / f"{number + 1}"
                    await stack.aclose()
                    if how == "lose-index":
                        (path / "index.sqlite").unlink()
                    store = await stack.enter_async_context(open_store(path, LIMITS))
                    if how != "lose-index":
                        assert store.repaired == []
            await check(store, model)
        found = await store.verify()
        assert (found.corrupt, found.missing, found.repaired) == (0, 0, 0)
        assert found.checked == store.usage().blocks


A, B = key(0), key(1, rendition="audio", of=room(2))


@given(operations)
@example([("append", A, [0, 0]), ("crash",), ("append", A, [0]), ("close", A), ("crash",)])
@example([("append", A, [1]), ("close", A), ("discard", A), ("append", A, [2]), ("crash",)])
@example([("append", A, [1]), ("close", A), ("sync",), ("discard", A), ("crash",), ("crash",)])
@example([("append", B, [1, 1, 1]), ("close", B), ("lose-index",), ("put", 2, [0]), ("crash",)])
@example([("append", A, [3]), ("close", A), ("sync",), ("crash",), ("discard", A), ("reopen",)])
@example([("put", 1, [0, 1]), ("drop", 1), ("put", 1, [1]), ("crash",), ("put", 1, [2, 1])])
def test_a_store_holds_what_a_dictionary_would(steps: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as base:
        trio.run(run, steps, Path(base))

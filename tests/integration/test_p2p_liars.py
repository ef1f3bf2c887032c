"""Peers that speak our protocols and lie: honest followers miss nothing, and nothing grows."""

from __future__ import annotations

import gc

import psutil
import pytest
import trio
from support.liar import liar
from support.sharing import sharing
from test_p2p_exchange import ROOM, leaves, meet

from hausd.core.following import Priority
from hausd.core.media import LEAF_BYTES


def memory() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@pytest.mark.parametrize("priority", list(Priority))
async def test_who_asks_and_never_reads_is_not_listened_to(priority: Priority) -> None:
    async with sharing("a", ROOM, origin=True) as a, liar("liar", ROOM, a.host) as one:
        a.room.held.update(leaves(4))
        wanted = [*leaves(60, 100), *a.room.held]
        before = tasks()
        async with trio.open_nursery() as nursery:
            flood = [await one.flood_wants(nursery, a.host, wanted, priority) for _ in range(4)]
            await trio.sleep(2)
            sent = [each.sent for each in flood]
            await trio.sleep(2)
            assert [each.sent for each in flood] == sent, "its answers would fill our memory"
            assert max(sent) < 2_000_000
            assert [each.over for each in flood] == [True, True, False, False], "two will do"
            assert tasks() - before < 1000
            nursery.cancel_scope.cancel()
        async with sharing("b", ROOM) as b:
            with trio.fail_after(15):
                await meet(b, a)
                ((cid, data),) = leaves(1).items()
                a.room.held[cid] = data
                assert await b.get(ROOM, cid, LEAF_BYTES, a.host.peer_id) == data

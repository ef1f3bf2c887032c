"""The policies together: a room of many nodes that come and go, on a virtual clock."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hausd.policy.estimates import Estimates
from hausd.policy.parents import Pull
from hausd.policy.uploads import Uploads

sys.path.append(str(Path(__file__).parents[2] / "scripts/simulate.d"))
from simnet import world
from simnet.rivals import Peer, StaticTree, top_of
from simnet.swarm import Node, Swarm, in_ring


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("free_riders", [0.0, 0.5])
def test_a_room_lives_on_an_origins_few_copies(seed: int, free_riders: float) -> None:
    swarm = Swarm(80, seed, free_riders=free_riders)
    row = swarm.run(join_s=8.0, warm_s=10.0, measured_s=12.0).row()
    assert row["rings"] == 0
    assert row["lost"] < 0.01
    assert row["origin_copies"] <= 1.15 * world.ORIGIN_COPIES
    assert row["p99_s"] < 3.0
    assert row["hops_max"] <= 20


def test_the_same_seed_gives_the_same_figures() -> None:
    rows = [Swarm(40, 3).run(4.0, 4.0, 4.0).row() for _ in range(2)]
    assert rows[0] == rows[1]
    assert rows[0] != Swarm(40, 4).run(4.0, 4.0, 4.0).row()


def test_rings_would_be_seen() -> None:
    place, leaf = world.Place(0.0, 0.0, 0.0, 1e6, 1e6), 7
    one, two, three, four = (
        Node(number, place, 0.0, Uploads(0.0), Pull(Estimates(1))) for number in range(4)
    )
    one.waits_at[leaf], two.waits_at[leaf] = [two], [four, three]
    assert not in_ring(one, leaf)
    three.waits_at[leaf] = [one]
    assert in_ring(one, leaf)
    assert not in_ring(one, leaf + 1)
    three.alive = False
    assert not in_ring(one, leaf)


def test_in_the_static_tree_everyone_finds_a_place_again() -> None:
    tree = StaticTree(0, 1)
    tree.origin.slots = 1
    some = [
        Peer(number, world.Place(0.0, 0.0, 0.0, 1e9, copies * world.STREAM_BPS), 0.0)
        for number, copies in enumerate([100] + 100 * [1], start=1)
    ]
    for peer in some:
        tree.came(peer)
    top = some[0]
    assert top.parent is tree.origin
    assert {peer.parent for peer in some[1:]} == {top}
    top.parent = None  # as if who was above had left
    late = Peer(999, some[1].place, 0.0)
    tree.came(late)
    assert late.parent is None, "there are slots, but nothing comes to any of them"
    tree.origin.children.discard(top)
    tree._offer(tree.origin)
    tree._place(top)
    tree.events.run(2.0)
    assert top_of(late) is tree.origin

"""Lookups find the closest whatever some peers do, and ask a bounded number of them."""

from __future__ import annotations

import hashlib
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from hausd.policy.lookup import MAX_ASKED, Lookup, distance
from hausd.policy.routing import BUCKET, MAX_BUCKETS, MAX_PER_SUBNET, RoutingTable
from hausd.policy.standing import (
    ENOUGH,
    FIRST_S,
    NEWS_S,
    PROVIDE_AGAIN_S,
    PUBLISH_AGAIN_S,
    SETTLE_S,
    Standing,
    due_on_news,
    next_due,
)


def place(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


class World:
    """Nodes with full routing tables."""

    def __init__(self, count: int) -> None:
        self.tables = {number: RoutingTable(number, place) for number in range(count)}
        for table in self.tables.values():
            for other in range(count):
                table.add(other)

    def closest(self, target: bytes, count: int, but: set[int]) -> list[int]:
        alive = self.tables.keys() - but
        return sorted(alive, key=lambda one: distance(target, place(one)))[:count]


WORLD = World(300)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sets(st.integers(0, 299), max_size=100), st.integers(0, 299))
def test_the_closest_are_found_though_some_are_dead(number: int, dead: set[int], me: int) -> None:
    target, random = place(number + 1000), Random(number)
    dead -= {me}
    search = Lookup(target, place, WORLD.tables[me].closest(target, BUCKET), sure=BUCKET)
    under_way: list[int] = search.next()
    asked = 0
    while under_way:
        one = under_way.pop(random.randrange(len(under_way)))
        asked += 1
        if one in dead:
            search.failed(one)
        else:
            search.answered(one, WORLD.tables[one].closest(target, BUCKET))
        under_way += search.next()
        assert len(under_way) <= 10
    assert search.done
    assert asked <= MAX_ASKED
    found = search.closest(BUCKET)
    wanted = WORLD.closest(target, BUCKET, dead | {me})
    assert len(set(found) & set(wanted)) >= BUCKET - 2
    if not dead:
        assert set(found) >= set(wanted[:-1])


@given(st.integers(0, 2**32))
def test_a_liar_with_ever_closer_peers_is_bounded(seed: int) -> None:
    target, random = place(1), Random(seed)
    places = {0: place(2)}

    def near(one: int) -> bytes:
        return places[one]

    search = Lookup(target, near, [0])
    asked = 0
    while due := search.next():
        for one in due:
            asked += 1
            fresh = range(len(places), len(places) + 6)
            for each in fresh:  # each closer than the last
                far = distance(target, places[one]) >> random.randint(0, 2)
                places[each] = (int.from_bytes(target, "big") ^ far).to_bytes(32, "big")
            search.answered(one, fresh)
    assert search.done
    assert asked <= MAX_ASKED


def test_a_lookup_for_reading_ends_once_the_closest_have_answered() -> None:
    target = place(77)
    search = Lookup(target, place, WORLD.tables[5].closest(target, BUCKET))
    asked = 0
    while due := search.next():
        for one in due:
            asked += 1
            search.answered(one, WORLD.tables[one].closest(target, BUCKET))
    assert search.closest(3) == WORLD.closest(target, 3, {5})
    assert asked <= 30


def test_a_flood_of_peers_pushes_nobody_out() -> None:
    table = RoutingTable(0, place)
    first = [one for one in range(1, 30) if table.add(one)]
    for one in range(30, 20_000):
        table.add(one)
    assert set(first) <= set(table)
    assert len(table) <= BUCKET * MAX_BUCKETS
    assert not table.add(0), "nobody keeps itself"


def test_one_subnet_has_few_places() -> None:
    table = RoutingTable(0, place)
    taken = [table.add(one, "192.0.0.0/16") for one in range(1, 500)]
    assert sum(taken) == MAX_PER_SUBNET
    assert table.add(501, "198.51.0.0/16")


def test_who_fails_is_forgotten_and_the_nearest_are_told_first() -> None:
    table = RoutingTable(0, place)
    for one in range(1, 40):
        table.add(one)
    target = place(1)
    assert table.closest(target, 1) == [1]
    table.remove(1)
    table.remove(9999)
    assert 1 not in table
    near = table.closest(target, 5)
    assert near == sorted(near, key=lambda one: distance(target, place(one)))


def test_records_are_told_again_before_they_are_forgotten() -> None:
    assert next_due(Standing(), ENOUGH, 5.0, value=False).due_s == 5.0 + PROVIDE_AGAIN_S
    assert next_due(Standing(), ENOUGH, 5.0, value=True).due_s == 5.0 + PUBLISH_AGAIN_S
    few = nobody = Standing()
    for _ in range(20):
        few, before = next_due(few, 2, few.due_s, value=False), few
        assert SETTLE_S <= few.wait_s <= PROVIDE_AGAIN_S
        assert few.wait_s >= before.wait_s
        nobody = next_due(nobody, 0, nobody.due_s, value=False)
        assert nobody.wait_s <= SETTLE_S
    assert few.wait_s == PROVIDE_AGAIN_S


def test_who_comes_is_told_of_what_few_keep_but_not_all_the_time() -> None:
    nobody = Standing(100.0, 50.0, 0)
    assert due_on_news(nobody, 60.0) == 60.0
    told = next_due(Standing(), 3, 1000.0, value=False)
    assert due_on_news(told, 1001.0) == 1000.0 + NEWS_S
    assert due_on_news(told, 1000.0 + 2 * NEWS_S) == 1000.0 + 2 * NEWS_S + FIRST_S
    assert due_on_news(told, told.due_s) == told.due_s
    many = next_due(Standing(), ENOUGH, 1000.0, value=False)
    assert due_on_news(many, 1500.0) == many.due_s

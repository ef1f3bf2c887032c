"""What a node keeps for others is bounded, and the newest of it counts."""

from __future__ import annotations

import pytest
from support.hosts import seed_of
from support.peers import peer

from hausd.core.keys import SigningKey
from hausd.core.peers import parse_endpoint, peer_id_of
from hausd.p2p.kad import records
from hausd.p2p.kad.records import PROVIDER_S, VALUE_S, ProviderStore, ValueStore
from hausd.wire import ipns
from hausd.wire.kad import Contact

ADDRESS = (parse_endpoint("/ip4/192.0.2.1/tcp/1"),)
KEY = SigningKey(seed_of("name"))
NAME = peer_id_of(KEY.public)
LATER_NS = 10**18


def contact(number: int) -> Contact:
    return Contact(peer(number), ADDRESS)


def test_providers_are_forgotten_in_time_unless_they_say_it_again() -> None:
    store = ProviderStore()
    store.add(b"k", contact(1), 0.0)
    store.add(b"k", contact(2), 10.0)
    store.add(b"k", contact(1), 20.0)
    assert [one.peer for one in store.of(b"k", PROVIDER_S)] == [peer(1), peer(2)]
    assert [one.peer for one in store.of(b"k", PROVIDER_S + 10)] == [peer(1)]
    assert store.of(b"k", PROVIDER_S + 20) == []
    assert len(store) == 0


def test_providers_are_bounded_in_all_by_key_and_by_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_PROVIDERS", 50)
    monkeypatch.setattr(records, "MAX_PROVIDERS_OF_KEY", 8)
    monkeypatch.setattr(records, "MAX_PROVIDERS_BY_PEER", 20)
    store = ProviderStore()
    for number in range(30):
        store.add(b"crowded", contact(number), float(number))
    assert [one.peer for one in store.of(b"crowded", 30.0)] == [peer(n) for n in range(29, 21, -1)]
    taken = [store.add(b"flood-%d" % number, contact(99), 31.0) for number in range(40)]
    assert taken == [True] * 20 + [False] * 20
    for number in range(200):
        store.add(b"other-%d" % number, contact(1000 + number), 32.0)
    assert len(store) == 50
    store.remove(b"other-199", peer(1199))
    store.remove(b"other-199", peer(1199))
    assert len(store) == 49


def test_the_newest_record_of_a_name_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_VALUES", 3)
    store = ValueStore()
    old, new = (ipns.sign(KEY, "/x", number, LATER_NS) for number in (1, 2))
    assert store.put(NAME, new, 0.0)
    assert not store.put(NAME, old, 1.0)
    assert store.put(NAME, new, 2.0)
    assert store.get(NAME, 3.0) == new
    assert store.get(NAME, 2.0 + VALUE_S) is None
    for number in range(9):
        store.put(peer(number), new, 5.0)
    assert len(store) == 3

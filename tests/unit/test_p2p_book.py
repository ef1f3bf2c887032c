"""Known peers: the file they are kept in, and when they are dialled again."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.hosts import seed_of

from hausd.core.keys import SigningKey
from hausd.core.peers import Multiaddr, PeerId, peer_id_of
from hausd.p2p.book import MAX_ADDRESSES, MAX_PEERS, PeerBook, decode
from hausd.p2p.redial import FIRST_S, LONGEST_S, Backoff

NOW_MS = 1_800_000_000_000


def peer(name: str) -> PeerId:
    return peer_id_of(SigningKey(seed_of(name)).public)


def at(name: str, port: int = 4001) -> Multiaddr:
    return Multiaddr(f"/ip4/10.0.0.1/tcp/{port}/p2p/{peer(name)}")


def test_who_was_seen_is_known_after_a_restart_the_latest_first(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    book = PeerBook.read(path, NOW_MS)
    for number, name in enumerate("abc"):
        book.seen(peer(name), [at(name)], NOW_MS - 10 + number)
    book.write(book.encode())
    assert path.stat().st_mode & 0o777 == 0o600
    again = PeerBook.read(path, NOW_MS)
    assert again.latest() == [peer("c"), peer("b"), peer("a")]
    known = again.known(peer("a"))
    assert known is not None
    assert known.addresses == (at("a"),)
    assert os.listdir(tmp_path) == ["peers.json"]


def test_the_book_is_bounded_and_forgets_the_oldest() -> None:
    book = PeerBook()
    for number in range(MAX_PEERS + 5):
        name = str(number)
        book.seen(peer(name), [at(name, 1000 + each) for each in range(20)], NOW_MS + number)
    assert len(book.latest()) == MAX_PEERS
    assert book.known(peer("4")) is None
    known = book.known(peer("9"))
    assert known is not None
    assert len(known.addresses) == MAX_ADDRESSES
    book.seen(peer("stranger"), [at("stranger")], NOW_MS, dialled=False)
    assert book.known(peer("stranger")) is None


def test_what_is_broken_in_the_file_is_left_out(tmp_path: Path) -> None:
    good = {"id": peer("a"), "addresses": [at("a"), "nonsense"], "seen_ms": NOW_MS + 10**12}
    others = [
        {"id": peer("a"), "addresses": [at("b")], "seen_ms": NOW_MS},
        {"id": peer("b"), "addresses": [at("c"), "/ip4/0.0.0.0/tcp/1"], "seen_ms": NOW_MS},
        {"id": "nobody", "addresses": [at("a")], "seen_ms": NOW_MS},
        {"id": peer("d"), "addresses": [at("d")], "seen_ms": 0},
        {"id": peer("e"), "addresses": [at("e")], "seen_ms": NOW_MS},
    ]
    encoded = json.dumps({"version": 1, "peers": [good, *others]}).encode()
    assert [name for name, _ in decode(encoded, NOW_MS)] == [peer("e")]
    path = tmp_path / "peers.json"
    path.write_bytes(b"\xff not json")
    assert not PeerBook.read(path, NOW_MS).latest()


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["version", "peers", "id", "addresses", "seen_ms"]),
                inner,
                max_size=5,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_file_is_a_book(untrusted: bytes) -> None:
    assert decode(untrusted, NOW_MS) == []


def test_dials_are_spread_and_grow_rarer() -> None:
    backoff = Backoff(random.Random(1))
    now, waits = 0.0, list[float]()
    for failures in range(1, 15):
        assert backoff.failed(PeerId("p"), now) == failures
        waits.append(backoff.due_s(PeerId("p")) - now)
        now = backoff.due_s(PeerId("p"))
    for number, wait in enumerate(waits):
        middle = min(LONGEST_S, FIRST_S * 2**number)
        assert 0.5 * middle <= wait <= 1.5 * middle
    others = [Backoff(random.Random(each)) for each in range(50)]
    for each in others:
        each.failed(PeerId("p"), 0.0)
    assert len({round(each.due_s(PeerId("p")), 3) for each in others}) > 40
    backoff.succeeded(PeerId("p"))
    assert backoff.due_s(PeerId("p")) == 0.0


def test_backoffs_are_kept_for_known_peers_only() -> None:
    backoff = Backoff(random.Random(1))
    for number in range(100):
        backoff.failed(PeerId(str(number)), 0.0)
    backoff.keep([PeerId("3")])
    assert backoff.due_s(PeerId("3")) > 0
    assert backoff.due_s(PeerId("4")) == 0

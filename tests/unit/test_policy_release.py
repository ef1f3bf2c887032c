"""Who gets a key and who does not: every attack that a key holder has to withstand, as a row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.delegations import BEGIN_S, CHAIN, DELEGATION, END_S, EVENT, NODE, WALLET

from hausd.core.delegation import Delegation, Scope
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, peer_id_of
from hausd.core.release import Held, Missing, Refusal, Ticket, Unknown
from hausd.policy.release import (
    CLOCK_TOLERANCE_S,
    MAX_DELEGATES,
    Facts,
    Guest,
    gone_with,
    refused,
    refused_by_text,
)

OTHER_NODE = peer_id_of(SigningKey(bytes([42]) * 32).public)
NOW, NEXT, LATER = bytes(16), bytes([1]) * 16, bytes([2]) * 16
NODES = [peer_id_of(SigningKey(bytes([n]) * 32).public) for n in range(100, 200)]
ANY = replace(DELEGATION, room=None)
CHATS = replace(DELEGATION, scopes=frozenset({Scope.CHAT, Scope.MODERATE}))
INSIDE = Guest(given=frozenset({NOW}))


@pytest.mark.parametrize(
    ("delegation", "peer", "room", "chain", "now_s", "refusal"),
    [
        (DELEGATION, NODE, EVENT, CHAIN, BEGIN_S, None),
        (DELEGATION, NODE, EVENT, CHAIN, END_S, None),
        (ANY, NODE, EVENT, CHAIN, BEGIN_S, None),
        # somebody else's delegation, replayed by another node
        (DELEGATION, OTHER_NODE, EVENT, CHAIN, BEGIN_S, Refusal.OTHER_NODE),
        # for another room, on another chain, for something else
        (DELEGATION, NODE, RoomId(WALLET), CHAIN, BEGIN_S, Refusal.WRONG_EVENT),
        (DELEGATION, NODE, EVENT, bytes(32), BEGIN_S, Refusal.WRONG_EVENT),
        (ANY, NODE, EVENT, bytes(32), BEGIN_S, Refusal.WRONG_EVENT),
        (CHATS, NODE, EVENT, CHAIN, BEGIN_S, Refusal.WRONG_EVENT),
        # clocks that differ a little, and too much
        (DELEGATION, NODE, EVENT, CHAIN, BEGIN_S - CLOCK_TOLERANCE_S, None),
        (DELEGATION, NODE, EVENT, CHAIN, BEGIN_S - CLOCK_TOLERANCE_S - 1, Refusal.NOT_YET),
        (DELEGATION, NODE, EVENT, CHAIN, END_S + CLOCK_TOLERANCE_S, None),
        (DELEGATION, NODE, EVENT, CHAIN, END_S + CLOCK_TOLERANCE_S + 1, Refusal.EXPIRED),
        (DELEGATION, NODE, EVENT, CHAIN, 0, Refusal.NOT_YET),
        (DELEGATION, NODE, EVENT, CHAIN, 10**12, Refusal.EXPIRED),
    ],
)
def test_what_the_wallet_signed_decides_first(
    delegation: Delegation,
    peer: PeerId,
    room: RoomId,
    chain: bytes,
    now_s: float,
    refusal: Refusal | None,
) -> None:
    assert refused_by_text(delegation, peer, room, chain, now_s) is refusal


@pytest.mark.parametrize(
    ("ticket", "changed", "epoch", "refusal"),
    [
        (Held(1), {}, NOW, None),
        (Missing(), {}, NOW, Refusal.NO_TICKET),
        # refunded or transferred in mid-show: not even what it had before is given again
        (Missing(had=True), {}, NEXT, Refusal.REFUNDED),
        (Missing(had=True), {"guest": INSIDE}, NEXT, Refusal.REFUNDED),
        (Missing(had=True), {"guest": INSIDE}, NOW, Refusal.REFUNDED),
        (Held(1), {"banned": True}, NEXT, Refusal.BANNED),
        (Held(1), {"banned": True, "guest": INSIDE}, NOW, Refusal.BANNED),
        (Unknown(), {"banned": True, "guest": INSIDE}, NOW, Refusal.BANNED),
        (Held(1), {"holds_key": False}, NOW, Refusal.NOT_A_HOLDER),
        # who may not watch learns nothing of which keys there are
        (Missing(), {"holds_key": False}, NOW, Refusal.NO_TICKET),
        # one ticket at many nodes
        (Held(1), {"delegates": NODES[:2]}, NOW, None),
        (Held(1), {"delegates": NODES[:3]}, NOW, Refusal.TOO_MANY_DELEGATES),
        (Held(1), {"delegates": [*NODES[:2], NODE]}, NOW, None),
        (Held(1), {"delegates": NODES[:1], "per_ticket": 1}, NOW, Refusal.TOO_MANY_DELEGATES),
        (Held(2), {"delegates": NODES[:5]}, NOW, None),
        (Held(2), {"delegates": NODES[:6]}, NOW, Refusal.TOO_MANY_DELEGATES),
        (Held(65_535), {"delegates": NODES[:MAX_DELEGATES]}, NOW, Refusal.TOO_MANY_DELEGATES),
        # the chain is away: nobody new, and one epoch more for those inside
        (Unknown(), {}, NOW, Refusal.CHAIN_UNKNOWN),
        (Unknown(), {"guest": INSIDE}, NOW, None),
        (Unknown(), {"guest": INSIDE}, NEXT, None),
        (Unknown(), {"guest": replace(INSIDE, graced=NEXT)}, NEXT, None),
        (Unknown(), {"guest": replace(INSIDE, graced=NEXT)}, LATER, Refusal.CHAIN_UNKNOWN),
        (Unknown(), {"guest": replace(INSIDE, graced=NEXT)}, NOW, None),
        (Unknown(), {"guest": Guest(graced=NEXT)}, NEXT, Refusal.CHAIN_UNKNOWN),
        (Unknown(), {"guest": INSIDE, "holds_key": False}, NOW, Refusal.NOT_A_HOLDER),
    ],
)
def test_then_what_the_chain_says(
    ticket: Ticket, changed: dict[str, object], epoch: bytes, refusal: Refusal | None
) -> None:
    facts = replace(Facts(NODE, ticket), **changed)  # type: ignore[arg-type] # by name
    assert refused(epoch, facts) is refusal


@given(
    st.lists(st.sampled_from(NODES), max_size=300),
    st.integers(1, 50),
    st.integers(1, 10),
)
def test_however_they_ask_no_more_nodes_than_allowed_get_a_key(
    asking: list[PeerId], count: int, per_ticket: int
) -> None:
    inside: set[PeerId] = set()
    for peer in asking:
        facts = Facts(peer, Held(count), delegates=inside, per_ticket=per_ticket)
        if refused(NOW, facts) is None:
            inside.add(peer)
    assert len(inside) <= min(count * per_ticket, MAX_DELEGATES)
    assert inside == set(asking) or len(inside) == min(count * per_ticket, MAX_DELEGATES)


def test_every_refusal_has_words() -> None:
    assert all(refusal.words for refusal in Refusal)


@given(st.sets(st.sampled_from(NODES)), st.integers(0, 4), st.integers(1, 4), st.integers(1, 3))
def test_nodes_go_with_a_ticket_as_many_as_it_could_bring_and_the_rest_could_not(
    given_: set[PeerId], left: int, passed: int, per_ticket: int
) -> None:
    gone = gone_with(given_, left, passed, per_ticket)
    assert gone <= given_
    assert len(gone) <= passed * per_ticket
    stay = len(given_) - len(gone)
    assert stay <= left * per_ticket or len(gone) == passed * per_ticket
    assert not gone or stay >= left * per_ticket

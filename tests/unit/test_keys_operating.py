"""What an operator may do with keys: hand them to a chosen node, and take a wallet's delegation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from support.chain import HandClock
from support.delegations import (
    BEGIN_S,
    CHAIN,
    DELEGATION,
    EVENT,
    NODE,
    NODE_SEED,
    SEALING,
    WALLET,
    delegation_of,
    signed,
)
from support.keyholding import ScriptedEvents, ScriptedTickets, gated
from support.mangle import mangled
from trio.testing import MockClock

from hausd.core.errors import Problem
from hausd.core.gating import EpochId, EpochKey
from hausd.core.ids import RoomId
from hausd.core.release import Refusal
from hausd.core.sealing import SealError, SealingKey
from hausd.keys import bundles
from hausd.keys.bundles import open_bundle, seal_bundle
from hausd.keys.holder import WALLETS, KeyHolder
from hausd.keys.operating import KeysOperator
from hausd.keys.ring import KeyRing, open_ring
from hausd.keys.wrapping import Wrapper
from hausd.wire.keys import KeyQuestion, Shown

KEYS = {EpochId(bytes([n]) * 16): EpochKey(bytes([n + 50]) * 32) for n in range(3)}
OTHER = SealingKey.of_node(bytes(32))


async def genesis() -> str:
    return str(Pubkey(CHAIN))


@pytest.fixture
async def ring(tmp_path: Path) -> AsyncIterator[KeyRing]:
    async with open_ring(tmp_path, Wrapper(bytes(32)), HandClock(BEGIN_S * 1000)) as ring:
        yield ring


def operator(ring: KeyRing, key: SealingKey = SEALING) -> KeysOperator:
    return KeysOperator(ring, key, NODE, genesis)


async def test_exported_keys_are_the_recipients_alone(ring: KeyRing, tmp_path: Path) -> None:
    await ring.keep_unproven(EVENT, KEYS)
    made = await operator(ring).export(EVENT, str(Pubkey(OTHER.public)))
    assert made.keys == 3
    assert not any(key.raw.hex() in made.model_dump_json() for key in KEYS.values())
    with pytest.raises(Problem) as caught:
        await operator(ring).take(EVENT, made.sealed)
    assert caught.value.code == "not-ours"
    (tmp_path / "theirs").mkdir()
    async with open_ring(tmp_path / "theirs", Wrapper(bytes(32)), HandClock()) as theirs:
        other_room = RoomId(WALLET)
        with pytest.raises(Problem):
            await operator(theirs, OTHER).take(other_room, made.sealed)
        done = await operator(theirs, OTHER).take(EVENT, made.sealed)
        assert (done.keys, done.new) == (3, 3)
        assert await theirs.all_of(EVENT) == KEYS
        assert (await operator(theirs, OTHER).take(EVENT, made.sealed)).new == 0


@given(st.data())
def test_a_damaged_bundle_is_none(data: st.DataObject) -> None:
    good = seal_bundle(EVENT, KEYS, SEALING.public)
    assert open_bundle(EVENT, good, SEALING) == KEYS
    broken = data.draw(mangled([good]))
    if broken != good:
        with pytest.raises(SealError):
            open_bundle(EVENT, broken, SEALING)


async def test_what_cant_be_exported_is_told(ring: KeyRing) -> None:
    with pytest.raises(Problem, match="no key of"):
        await operator(ring).export(EVENT, str(Pubkey(OTHER.public)))
    await ring.keep_unproven(EVENT, KEYS)
    for wrong in ("0OIl", "", str(Pubkey(bytes(32)))):
        with pytest.raises(Problem, match="no sealing key"):
            await operator(ring).export(EVENT, wrong)


async def test_more_keys_than_an_export_holds_are_told_and_none_is_left_out(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ring.keep_unproven(EVENT, KEYS)
    monkeypatch.setattr(bundles, "MAX_KEYS", 2)
    with pytest.raises(Problem, match="one export holds 2") as caught:
        await operator(ring).export(EVENT, str(Pubkey(OTHER.public)))
    assert "keys.holders" in caught.value.hint
    monkeypatch.setattr(bundles, "MAX_KEYS", 3)
    assert (await operator(ring).export(EVENT, str(Pubkey(OTHER.public)))).keys == 3


async def test_a_delegation_is_taken_where_it_is_to_this_node_on_this_chain(ring: KeyRing) -> None:
    def told(**changed: object) -> tuple[str, str]:
        text, signature = signed(replace(DELEGATION, **changed))  # type: ignore[arg-type] # by name
        return text, str(Signature.from_bytes(signature))

    shape = await operator(ring).delegate(*told())
    assert (shape.wallet, shape.room, shape.scopes) == (WALLET, EVENT, ["watch"])
    assert operator(ring).keys().delegations == [shape]
    for changed, code in (
        ({"chain": bytes(32)}, "other-chain"),
        ({"sealing_key": OTHER.public}, "other-node"),
        ({"wallet": str(Keypair().pubkey())}, "bad-delegation"),
    ):
        with pytest.raises(Problem) as caught:
            await operator(ring).delegate(*told(**changed))
        assert caught.value.code == code
    for text, signature in ((told()[0], "nonsense"), ("text", told()[1])):
        with pytest.raises(Problem) as caught:
            await operator(ring).delegate(text, signature)
        assert caught.value.code == "bad-delegation"
    assert len(ring.delegations) == 1


async def test_a_ban_names_a_wallet(ring: KeyRing) -> None:
    assert (await operator(ring).ban(EVENT, WALLET, banned=True)).banned == [WALLET]
    assert (await operator(ring).ban(EVENT, WALLET, banned=False)).banned == []
    with pytest.raises(Problem, match="no address"):
        await operator(ring).ban(EVENT, "somebody", banned=True)


async def test_a_node_that_comes_with_ever_new_wallets_is_slowed_to_a_few(
    ring: KeyRing, mock_clock: MockClock
) -> None:
    """Slowly enough for every other bound: one question a second, each for another wallet."""
    await ring.keep_unproven(EVENT, KEYS)
    tickets, events = ScriptedTickets(), ScriptedEvents({EVENT: gated()})
    holder = KeyHolder(ring, tickets, events, HandClock(BEGIN_S * 1000), NODE)
    outcomes = []
    for n in range(600):
        mock_clock.jump(1.0)
        shown = Shown(*delegation_of(n.to_bytes(32, "big"), NODE_SEED))
        question = KeyQuestion(EVENT, (next(iter(KEYS)),), bytes(16), shown)
        outcomes += (await holder.answer(NODE, question)).outcome
    assert set(outcomes) == {Refusal.NO_TICKET, Refusal.TRY_LATER}
    assert tickets.asked == outcomes.count(Refusal.NO_TICKET) <= 2 * WALLETS

"""Delegations for tests, signed by wallets of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.delegation import MAX_LIFE_S, Delegation, Scope
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, peer_id_of
from hausd.core.sealing import SealingKey

WALLET_SEED = bytes([7]) * 32
NODE_SEED = bytes([8]) * 32
WALLET = str(Keypair.from_seed(WALLET_SEED).pubkey())
EVENT = RoomId(str(Pubkey(bytes(range(100, 132)))))
CHAIN = bytes(range(200, 232))
NODE: PeerId = peer_id_of(SigningKey(NODE_SEED).public)
SEALING = SealingKey.of_node(NODE_SEED)
BEGIN_S, END_S = 1_800_000_000, 1_800_864_000

DELEGATION = Delegation(
    chain=CHAIN,
    room=EVENT,
    wallet=WALLET,
    node=NODE,
    sealing_key=SEALING.public,
    scopes=frozenset({Scope.WATCH}),
    not_before_s=BEGIN_S,
    not_after_s=END_S,
    nonce=bytes(range(16)),
)


def signed(delegation: Delegation, seed: bytes = WALLET_SEED) -> tuple[str, bytes]:
    """Text and signature."""
    return delegation.text, SigningKey(seed).sign(delegation.text.encode())


def delegation_of(wallet_seed: bytes, node_seed: bytes, **changed: Any) -> tuple[str, bytes]:
    """A delegation of any wallet to any node, signed by that wallet."""
    made = replace(
        DELEGATION,
        wallet=str(Keypair.from_seed(wallet_seed).pubkey()),
        node=peer_id_of(SigningKey(node_seed).public),
        sealing_key=SealingKey.of_node(node_seed).public,
        **changed,
    )
    return signed(made, wallet_seed)


@st.composite
def delegations(draw: st.DrawFn) -> Delegation:
    """Any delegation by WALLET."""
    begin_s = draw(st.integers(0, 253_402_300_798))
    most_s = min(MAX_LIFE_S, 253_402_300_799 - begin_s)
    room = st.none() | st.binary(min_size=32, max_size=32).map(lambda raw: str(Pubkey(raw)))
    open_room = st.binary(min_size=32, max_size=32).map(
        lambda seed: SigningKey(seed).public.open_room
    )
    return Delegation(
        chain=draw(st.binary(min_size=32, max_size=32)),
        room=draw(room | open_room),  # type: ignore[arg-type] # None or str
        wallet=WALLET,
        node=draw(
            st.binary(min_size=32, max_size=32).map(lambda s: peer_id_of(SigningKey(s).public))
        ),
        sealing_key=draw(st.binary(min_size=32, max_size=32)),
        scopes=draw(st.frozensets(st.sampled_from(Scope), min_size=1)),
        not_before_s=begin_s,
        not_after_s=begin_s + draw(st.integers(1, most_s)),
        nonce=draw(st.binary(min_size=16, max_size=16)),
        domain=draw(
            st.sampled_from(
                ["hausd", "127.0.0.1:8080", "[::1]:8080", "live.example.org", "localhost"]
            )
        ),
    )

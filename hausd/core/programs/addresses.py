"""The addresses at which the programs keep their accounts (program derived addresses)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from solders.pubkey import Pubkey

from hausd.core.programs.accounts import Programs

SYSTEM = Pubkey.from_string("11111111111111111111111111111111")
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED_TOKEN = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
EMBEDDED = Programs(
    *(
        Pubkey(hashlib.sha256(b"haus/1/" + name).digest())
        for name in (b"event_factory", b"ticket_factory", b"live_tipping")
    )
)
"""Where the programs are on every embedded chain. Nobody has a key to them."""
EMBEDDED_EVENT_FACTORY = EMBEDDED.event_factory


@dataclass(frozen=True, slots=True)
class Pda:
    """A derived address with the bump that keeps it off the curve."""

    address: Pubkey
    bump: int

    @classmethod
    def of(cls, program: Pubkey, *seeds: bytes) -> Pda:
        return cls(*Pubkey.find_program_address(seeds, program))


@dataclass(frozen=True, slots=True)
class EventPlaces:
    """Where everything of one event is."""

    event: Pubkey
    checkpoint: Pda
    rta_mint: Pda
    escrow: Pda
    sale: Pda
    vault: Pda

    @classmethod
    def of(cls, programs: Programs, event: Pubkey) -> EventPlaces:
        seed = bytes(event)
        return cls(
            event,
            Pda.of(programs.event_factory, b"checkpoint", seed),
            Pda.of(programs.event_factory, b"rta", seed),
            Pda.of(programs.event_factory, b"escrow", seed),
            Pda.of(programs.ticket_factory, b"sale", seed),
            Pda.of(programs.live_tipping, b"vault", seed),
        )


def config_place(programs: Programs) -> Pda:
    """EventFactory's configuration."""
    return Pda.of(programs.event_factory, b"config")


def event_place(programs: Programs, artist: Pubkey, nonce: bytes) -> Pda:
    """An event, by its artist and 16 random bytes."""
    return Pda.of(programs.event_factory, b"event", bytes(artist), nonce)


def ticket_place(programs: Programs, event: Pubkey, holder: Pubkey) -> Pda:
    """The tickets of a holder."""
    return Pda.of(programs.ticket_factory, b"ticket", bytes(event), bytes(holder))


def tip_place(programs: Programs, vault: Pubkey, tipper: Pubkey) -> Pda:
    """What a tipper gave."""
    return Pda.of(programs.live_tipping, b"tip", bytes(vault), bytes(tipper))


def token_place(owner: Pubkey, mint: Pubkey, token_program: Pubkey) -> Pubkey:
    """The associated token account of an owner."""
    seeds = [bytes(owner), bytes(token_program), bytes(mint)]
    return Pubkey.find_program_address(seeds, ASSOCIATED_TOKEN)[0]


def pot_tokens_place(pot: Pubkey, token_program: Pubkey) -> Pubkey:
    """The token account of a sale or a vault that is paid in a token: derived by a seed."""
    return Pubkey.create_with_seed(pot, "tokens", token_program)

"""An event as the chain has it, with all that belongs to it: read at once, at one slot.

An endpoint may answer with another account than was asked for. An event's address is made of what
it holds, and what belongs to it names it, so that is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from solders.pubkey import Pubkey

from hausd.chain.client import Account, ChainClient
from hausd.core.programs.accounts import (
    AccountError,
    CheckpointAccount,
    EventAccount,
    SaleAccount,
    VaultAccount,
)
from hausd.core.programs.addresses import EventPlaces, event_place

Part = TypeVar("Part", SaleAccount, VaultAccount, CheckpointAccount)


@dataclass(frozen=True, slots=True)
class WholeEvent:
    """An event's accounts at ``slot``."""

    slot: int
    event: EventAccount
    sale: SaleAccount | None
    vault: VaultAccount | None
    checkpoint: CheckpointAccount | None


async def read_whole(client: ChainClient, at: Pubkey) -> WholeEvent | None:
    """The event at an address; None where there is none. Raises AccountError."""
    places = EventPlaces.of(client.programs, at)
    wanted = [at, places.sale.address, places.vault.address, places.checkpoint.address]
    seen = await client.accounts(wanted)
    event, sale, vault, checkpoint = seen.accounts
    if event is None:
        return None
    read = client.checked(EventAccount, event)
    if event_place(client.programs, read.artist, read.nonce).address != at:
        raise AccountError(f"what is told of {at} is another event's account")
    return WholeEvent(
        seen.slot,
        read,
        _of(client, SaleAccount, sale, at),
        _of(client, VaultAccount, vault, at),
        _of(client, CheckpointAccount, checkpoint, at),
    )


def _of(
    client: ChainClient, kind: type[Part], account: Account | None, event: Pubkey
) -> Part | None:
    if account is None:
        return None
    found = client.checked(kind, account)
    if found.event != event:
        raise AccountError(f"what is told of {account.address} belongs to another event")
    return found

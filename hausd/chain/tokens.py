"""What events are paid in: mints, whose decimals never change, and who has how much of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from solders.pubkey import Pubkey

from hausd.chain.asking import asked
from hausd.chain.client import ChainClient
from hausd.core.errors import Problem
from hausd.core.programs.accounts import NOBODY, AccountError, EventAccount
from hausd.core.programs.addresses import TOKEN, TOKEN_2022
from hausd.core.programs.tokens import Mint, Tokens, read_mint, read_tokens
from hausd.telemetry import count_swallowed

SOL_DECIMALS = 9
_MAX_KNOWN = 4096
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Coin:
    """What an event is paid in; ``mint`` is None where that is SOL."""

    mint: str | None
    decimals: int


SOL_COIN = Coin(None, SOL_DECIMALS)


class Coins:
    """What is known of mints and of which event is paid in which: neither ever changes.

    Bounded: what is known is forgotten as a whole when it is too much.
    """

    def __init__(self) -> None:
        self._mints: dict[Pubkey, Mint] = {}
        self._events: dict[Pubkey, Pubkey] = {}

    async def mint(self, client: ChainClient, address: Pubkey) -> Mint:
        """A mint. Problem ``no-such-mint``."""
        found = (await self.known(client, [address])).get(address)
        if found is None:
            hint = "name the address of a token's mint, on this chain"
            raise Problem("no-such-mint", f"{address} is no token's mint", hint, 404)
        return found

    async def of(self, client: ChainClient, events: Iterable[EventAccount]) -> dict[Pubkey, Coin]:
        """What these events are paid in, by their addresses."""
        listed = list(events)
        mints = await self.known(client, [each.mint for each in listed])
        for each in listed:
            _put(self._events, each.address, each.mint)
        return {each.address: _coin(each.mint, mints) for each in listed}

    async def of_places(self, client: ChainClient, places: Iterable[Pubkey]) -> dict[Pubkey, Coin]:
        """What the events at these addresses are paid in."""
        wanted = list(dict.fromkeys(places))
        mints = {place: self._events[place] for place in wanted if place in self._events}
        new = [place for place in wanted if place not in mints]
        for account in (await asked(client.accounts(new))).accounts:
            if account is not None:
                try:
                    mints[account.address] = client.checked(EventAccount, account).mint
                except AccountError as fault:
                    count_swallowed("chain.account", fault)
        known = await self.known(client, mints.values())
        for place, mint in mints.items():
            _put(self._events, place, mint)
        return {place: _coin(mints.get(place, NOBODY), known) for place in wanted}

    async def known(self, client: ChainClient, mints: Iterable[Pubkey]) -> dict[Pubkey, Mint]:
        """Those of these mints that the chain has, by their addresses."""
        wanted = [mint for mint in dict.fromkeys(mints) if mint != NOBODY]
        found = {mint: self._mints[mint] for mint in wanted if mint in self._mints}
        new = [mint for mint in wanted if mint not in found]
        for account in (await asked(client.accounts(new))).accounts:
            if account is not None:
                try:
                    mint = read_mint(account.address, account.owner, account.untrusted_data)
                except AccountError as fault:
                    count_swallowed("chain.account", fault)
                else:
                    found[mint.address] = mint
                    _put(self._mints, mint.address, mint)
        return found


def _coin(mint: Pubkey, known: Mapping[Pubkey, Mint]) -> Coin:
    """Problem ``no-such-mint`` where the mint was not read: no amount can be shown without."""
    if mint == NOBODY:
        return SOL_COIN
    if mint not in known:
        hint = "ask again, or set another chain.rpc_url"
        raise Problem("no-such-mint", f"the chain does not tell of the token {mint}", hint, 502)
    return Coin(str(mint), known[mint].decimals)


async def tokens_of(client: ChainClient, owner: Pubkey) -> list[Tokens]:
    """Every token account of an owner, by both programs."""
    found: list[Tokens] = []
    for program in (TOKEN, TOKEN_2022):
        for account in await asked(client.token_accounts(owner, program)):
            try:
                tokens = read_tokens(account.address, account.owner, account.untrusted_data)
            except AccountError as fault:
                count_swallowed("chain.account", fault)
                continue
            if tokens.owner == owner:
                found.append(tokens)
    return found


def _put(known: dict[Pubkey, V], key: Pubkey, value: V) -> None:
    if len(known) >= _MAX_KNOWN:
        known.clear()
    known[key] = value

"""What the methods of JSON-RPC share."""

from __future__ import annotations

from typing import Any

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.disk import Entry
from hausd.chain.embedded.ledger import (
    Ledger,
)
from hausd.chain.embedded.questions import Params, RpcFault, Weight
from hausd.chain.embedded.records import (
    account_form,
    decimals_of,
    token_of,
)

VERSION = "2.3.0"


class Methods:
    """What all have: the ledger, and the shapes of answers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def _valued(self, value: Any, params: Params) -> dict[str, Any]:
        slot = self._ledger.slot
        least = params.option("minContextSlot", int, 0)
        if slot < least:
            raise RpcFault(
                ask.MIN_CONTEXT_SLOT,
                "Minimum context slot has not been reached",
                {"contextSlot": slot},
            )
        return {"context": {"slot": slot, "apiVersion": VERSION}, "value": value}

    def _account(self, address: Pubkey, params: Params, default: str, weight: Weight) -> Any:
        account = self._ledger.account(address)
        encoding = params.encoding(default)
        if account is None:
            return None
        return self._form(address, account, encoding, params.slice(), weight)

    def _form(
        self,
        address: Pubkey,
        account: Account,
        encoding: str,
        part: tuple[int, int] | None,
        weight: Weight,
    ) -> dict[str, Any]:
        size = len(account.data)
        weight.add(size if part is None else max(0, min(part[1], size - part[0])))
        decimals = self._decimals(account.owner, account.data)
        return account_form(address, account, encoding, part, decimals)

    def _decimals(self, owner: Pubkey, data: bytes) -> int | None:
        token = token_of(owner, bytes(data))
        mint = self._ledger.account(Pubkey(token.mint)) if token is not None else None
        return decimals_of(mint.owner, bytes(mint.data)) if mint is not None else None


class _Error(msgspec.Struct):
    err: Any


_error_decoder = msgspec.json.Decoder(_Error)


def error_of(entry: Entry) -> Any:
    """A transaction's error; None where it succeeded."""
    return _error_decoder.decode(entry.meta).err if entry.failed else None

"""Accounts and tokens.

Source: https://solana.com/docs/rpc/http.
"""

from __future__ import annotations

from typing import Any

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.methods import Methods
from hausd.chain.embedded.questions import Filters, Params, RpcFault, Weight
from hausd.chain.embedded.records import (
    TOKEN,
    TOKEN_2022,
    amount_form,
    decimals_of,
    token_of,
)

_MAX_ACCOUNTS = 100
_MAX_PROGRAM_ACCOUNTS = 50_000


class AccountMethods(Methods):
    """Answers about accounts."""

    def _get_account_info(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        return self._valued(self._account(params.address(0), params, "base58", Weight()), params)

    def _get_multiple_accounts(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        found = params.addresses(0, _MAX_ACCOUNTS)
        weight = Weight()
        listed = [self._account(one, params, "base64", weight) for one in found]
        return self._valued(listed, params)

    def _get_balance(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        account = self._ledger.account(params.address(0))
        return self._valued(account.lamports if account is not None else 0, params)

    def _get_program_accounts(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        program = params.address(0)
        filters, part = Filters(params.config.get("filters")), params.slice()
        encoding = params.encoding("base58")
        found: list[tuple[bytes, dict[str, Any]]] = []
        weight = Weight()
        for address, account in self._ledger.owned(program):
            if not filters.passes(bytes(account.data)):
                continue
            if len(found) == _MAX_PROGRAM_ACCOUNTS:
                raise RpcFault(ask.INVALID_REQUEST, "too many accounts; narrow the filters")
            form = self._form(address, account, encoding, part, weight)
            found.append((bytes(address), {"pubkey": str(address), "account": form}))
        listed = [form for _, form in sorted(found, key=lambda one: one[0])]
        return self._valued(listed, params) if params.option("withContext", bool) else listed

    def _get_token_accounts_by_owner(self, untrusted: object) -> Any:
        params = Params(untrusted, 2)
        owner = params.address(0)
        match params.at(1, "a filter"):
            case {"mint": mint}:
                wanted_mint = bytes(ask.address(mint))
                programs = frozenset((TOKEN, TOKEN_2022))
            case {"programId": program}:
                wanted_mint, programs = b"", frozenset((ask.address(program),))
            case _:
                raise ask.invalid("a filter is {mint} or {programId}")
        part, encoding = params.slice(), params.encoding("base58")
        listed, weight = [], Weight()
        for address, account in self._ledger.tokens_of(owner):
            token = token_of(account.owner, bytes(account.data))
            if token is None or account.owner not in programs:
                continue
            if wanted_mint and token.mint != wanted_mint:
                continue
            form = self._form(address, account, encoding, part, weight)
            listed.append({"pubkey": str(address), "account": form})
        return self._valued(listed, params)

    def _get_token_account_balance(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        account = self._ledger.account(params.address(0))
        token = token_of(account.owner, bytes(account.data)) if account is not None else None
        decimals = self._decimals(account.owner, account.data) if account is not None else None
        if token is None or decimals is None:
            raise RpcFault(ask.INVALID_PARAMS, "Invalid param: not a Token account")
        return self._valued(amount_form(token.amount, decimals), params)

    def _get_token_supply(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        account = self._ledger.account(params.address(0))
        data = bytes(account.data) if account is not None else b""
        decimals = decimals_of(account.owner, data) if account is not None else None
        if decimals is None:
            raise RpcFault(ask.INVALID_PARAMS, "Invalid param: not a Token mint")
        supply = int.from_bytes(data[36:44], "little")
        return self._valued(amount_form(supply, decimals), params)

    def _get_minimum_balance_for_rent_exemption(self, untrusted: object) -> Any:
        size = Params(untrusted, 1).uint(0, "a size")
        if size > 10 * 1024 * 1024:
            raise ask.invalid("an account has at most 10 MiB")
        return self._ledger.rent(size)

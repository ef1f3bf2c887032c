"""Transactions: sending, rehearsing, the faucet.

Source: https://solana.com/docs/rpc/http.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.ledger import (
    Ledger,
    Refused,
)
from hausd.chain.embedded.methods import Methods
from hausd.chain.embedded.questions import Params, RpcFault, Weight
from hausd.chain.embedded.records import (
    base58,
)

_MOST_AIRDROP = 1_000 * 10**9


class SendingMethods(Methods):
    """Executes and simulates."""

    def __init__(
        self,
        ledger: Ledger,
        random_bytes: Callable[[int], bytes],
        sent: Callable[[], None],
        *,
        read_only: bool,
    ) -> None:
        """``sent`` is called after a transaction was executed, to have it written to disk."""
        super().__init__(ledger)
        self._random_bytes = random_bytes
        self._sent = sent
        self._read_only = read_only

    def _send_transaction(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        tx, raw = self._transaction(params)
        if self._read_only:
            raise RpcFault(ask.METHOD_NOT_FOUND, "this node's chain is read only")
        skip = params.option("skipPreflight", bool, False)
        try:
            if not skip:
                self._preflight(tx)
            self._ledger.execute(tx, raw)
        except Refused as refused:
            # who rehearses nothing may send again and again: it is executed once
            if refused.error != "AlreadyProcessed" or not skip:
                raise self._failed(
                    refused.error, refused.logs, refused.units, str(refused)
                ) from None
        self._sent()
        return str(tx.signatures[0])

    def _preflight(self, tx: VersionedTransaction) -> None:
        known = self._ledger.time.knows(bytes(tx.message.recent_blockhash))
        if not known or self._ledger.processed(tx):
            return  # execution says so
        if not all(tx.verify_with_results()):
            raise RpcFault(ask.SIGNATURE_FAILURE, "Transaction signature verification failure")
        error, logs, units, _ = self._ledger.simulate(tx)
        if error is not None:
            raise self._failed(error, logs, units)

    @staticmethod
    def _failed(error: object, logs: list[str], units: int, words: str = "") -> RpcFault:
        data = {
            "accounts": None,
            "err": error,
            "innerInstructions": None,
            "logs": logs,
            "replacementBlockhash": None,
            "returnData": None,
            "unitsConsumed": units,
        }
        said = words if words and not isinstance(error, dict) else _words(error)
        return RpcFault(ask.SEND_FAILED, f"Transaction simulation failed: {said}", data)

    def _simulate_transaction(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        tx, _ = self._transaction(params)
        verify = params.option("sigVerify", bool, False)
        replace = params.option("replaceRecentBlockhash", bool, False)
        if verify and replace:
            raise ask.invalid("sigVerify may not be used with replaceRecentBlockhash")
        if verify and not all(tx.verify_with_results()):
            raise RpcFault(ask.SIGNATURE_FAILURE, "Transaction signature verification failure")
        replacement = None
        if replace:
            blockhash, last = self._ledger.time.blockhash()
            replacement = {"blockhash": str(blockhash), "lastValidBlockHeight": last}
        elif not self._ledger.time.knows(bytes(tx.message.recent_blockhash)):
            return self._valued(_simulated("BlockhashNotFound", [], 0), params)
        error, logs, units, outcome = self._ledger.simulate(tx)
        form = _simulated(error, logs, units)
        form["replacementBlockhash"] = replacement
        wanted = params.option("accounts", dict)
        if wanted is not None:
            addresses = wanted.get("addresses")
            if not isinstance(addresses, list) or len(addresses) > len(tx.message.account_keys):
                raise RpcFault(ask.INVALID_PARAMS, "Too many accounts provided")
            after = dict(outcome.post_accounts()) if error is None else {}
            encoding, weight = str(wanted.get("encoding") or "base64"), Weight()
            form["accounts"] = [
                self._after(ask.address(one), after, encoding, weight) for one in addresses
            ]
        if error is None and (returned := outcome.meta().return_data()).data:
            form["returnData"] = {
                "programId": str(returned.program_id),
                "data": [base64.b64encode(bytes(returned.data)).decode(), "base64"],
            }
        return self._valued(form, params)

    def _after(
        self, address: Pubkey, after: dict[Pubkey, Any], encoding: str, weight: Weight
    ) -> Any:
        account = after.get(address) or self._ledger.account(address)
        if account is None or not account.lamports:
            return None
        return self._form(address, account, encoding, None, weight)

    def _request_airdrop(self, untrusted: object) -> Any:
        params = Params(untrusted, 2)
        to, lamports = params.address(0), params.uint(1, "lamports")
        if self._read_only:
            raise RpcFault(ask.METHOD_NOT_FOUND, "this node's chain is read only")
        if not 0 < lamports <= _MOST_AIRDROP:
            raise ask.invalid(f"an airdrop is of 1 to {_MOST_AIRDROP} lamports")
        try:
            entry = self._ledger.airdrop(to, lamports, self._random_bytes)
        except Refused as refused:
            raise self._failed(refused.error, refused.logs, refused.units) from None
        self._sent()
        return base58(entry.signature)

    def _transaction(self, params: Params) -> tuple[VersionedTransaction, bytes]:
        raw = ask.transaction_bytes(params.at(0, "a transaction"), params.encoding("base58"))
        return transaction_of(raw), raw


def transaction_of(untrusted: bytes) -> VersionedTransaction:
    """A transaction that is whole in itself. Raises RpcFault."""
    try:
        tx = VersionedTransaction.from_bytes(untrusted)
        tx.sanitize()
    except Exception as fault:  # noqa: BLE001 - whatever the decoder of foreign bytes raises
        words = f"failed to deserialize solana_transaction: {str(fault)[:200]}"
        raise RpcFault(ask.INVALID_PARAMS, words) from None
    return tx


def _simulated(error: object, logs: list[str], units: int) -> dict[str, Any]:
    return {
        "err": error,
        "logs": logs,
        "accounts": None,
        "unitsConsumed": units,
        "returnData": None,
        "innerInstructions": None,
        "replacementBlockhash": None,
    }


def _words(error: object) -> str:
    match error:
        case {"InstructionError": [int(index), {"Custom": int(number)}]}:
            return f"Error processing Instruction {index}: custom program error: {number:#x}"
        case {"InstructionError": [int(index), what]}:
            return f"Error processing Instruction {index}: {what}"
    return str(error)

"""What happened: transactions and blocks.

Source: https://solana.com/docs/rpc/http.
"""

from __future__ import annotations

from typing import Any

import msgspec
from solders.message import MessageHeader
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.disk import Entry
from hausd.chain.embedded.methods import Methods, error_of
from hausd.chain.embedded.questions import Params, RpcFault
from hausd.chain.embedded.records import (
    base58,
    encoded,
    version_of,
)

_MAX_STATUSES = 256
_MAX_HISTORY = 1000
_MAX_BLOCKS = 500


class HistoryMethods(Methods):
    """Answers about what is on disk."""

    def _get_signature_statuses(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        found = params.signatures(0, _MAX_STATUSES)
        return self._valued([self._status(bytes(one)) for one in found], params)

    def _status(self, signature: bytes) -> dict[str, Any] | None:
        found = self._ledger.status(signature)
        if found is None:
            return None
        entry, on_disk = found
        error = error_of(entry)
        return {
            "slot": entry.slot,
            "confirmations": None if on_disk else 0,
            "err": error,
            "status": {"Ok": None} if error is None else {"Err": error},
            "confirmationStatus": "finalized" if on_disk else "processed",
        }

    def _get_transaction(self, untrusted: object) -> Any:
        given = untrusted
        if isinstance(untrusted, list) and len(untrusted) > 1 and isinstance(untrusted[1], str):
            given = [untrusted[0], {"encoding": untrusted[1]}]
        params = Params(given, 1)
        signature = ask.signature(params.at(0, "a signature"))
        found = self._ledger.status(bytes(signature))
        if found is None or not found[1]:
            return None
        return self._entry(found[0], params) | {"slot": found[0].slot, "blockTime": found[0].time}

    def _entry(self, entry: Entry, params: Params) -> dict[str, Any]:
        tx = VersionedTransaction.from_bytes(entry.raw)
        version = version_of(tx)
        most = params.option("maxSupportedTransactionVersion", int)
        if version != "legacy" and most is None:
            raise RpcFault(
                -32015,
                "Transaction version (0) is not supported by the requesting client. Please try the "
                "request again with the following configuration parameter: "
                '"maxSupportedTransactionVersion": 0',
            )
        encoding = params.encoding("json")
        given: Any
        if encoding in ("json", "jsonParsed"):
            given = _json_transaction(tx, parsed=encoding == "jsonParsed")
        else:
            given = encoded(entry.raw, encoding)
        form = {"transaction": given, "meta": msgspec.Raw(entry.meta)}
        if most is not None:
            form["version"] = version
        return form

    def _get_signatures_for_address(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        address = params.address(0)
        limit = params.option("limit", int, _MAX_HISTORY)
        if not 1 <= limit <= _MAX_HISTORY:
            raise ask.invalid(f"limit is 1 to {_MAX_HISTORY}")
        before, until = (self._number_of(params, name) for name in ("before", "until"))
        return [
            {
                "signature": str(Signature(entry.signature)),
                "slot": entry.slot,
                "err": error_of(entry),
                "memo": None,
                "blockTime": entry.time,
                "confirmationStatus": "finalized",
            }
            for entry in self._ledger.history(bytes(address), before, until, limit)
        ]

    def _number_of(self, params: Params, name: str) -> int | None:
        given = params.option(name, str)
        if given is None:
            return None
        found = self._ledger.status(bytes(ask.signature(given)))
        return found[0].number if found is not None else 0 if name == "before" else None

    def _get_block(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        slot = params.uint(0, "a slot")
        entries = self._ledger.in_slot(slot) if slot <= self._ledger.slot else []
        if not entries:
            raise RpcFault(
                ask.SLOT_SKIPPED, f"Slot {slot} was skipped, or missing due to ledger jump"
            )
        detail = params.option("transactionDetails", str, "full")
        form: dict[str, Any] = {
            "blockhash": str(self._ledger.time.hash_of(slot)),
            "previousBlockhash": str(self._ledger.time.hash_of(max(0, slot - 1))),
            "parentSlot": max(0, slot - 1),
            "blockHeight": slot,
            "blockTime": entries[0].time,
        }
        if detail == "full":
            form["transactions"] = [self._entry(entry, params) for entry in entries]
        elif detail == "signatures":
            form["signatures"] = [base58(entry.signature) for entry in entries]
        if params.option("rewards", bool, True):
            form["rewards"] = []
        return form

    def _get_blocks(self, untrusted: object) -> Any:
        params = Params(untrusted, 2)
        first, newest = params.uint(0, "a slot"), self._ledger.slot
        last = params.uint(1, "a slot") if len(params) > 1 else newest
        return self._ledger.slots(first, min(last, newest), _MAX_BLOCKS)

    def _get_block_time(self, untrusted: object) -> Any:
        return self._ledger.time_of(Params(untrusted, 1).uint(0, "a slot"))


def _is_writable(header: MessageHeader, keys: int, index: int) -> bool:
    """Whether a transaction's own account is writable, as its header says."""
    signers = header.num_required_signatures
    if index < signers:
        return index < signers - header.num_readonly_signed_accounts
    return index < keys - header.num_readonly_unsigned_accounts


def _json_transaction(tx: VersionedTransaction, *, parsed: bool) -> dict[str, Any]:
    message, header = tx.message, tx.message.header
    keys = list(message.account_keys)
    form: dict[str, Any] = {
        "accountKeys": [
            {
                "pubkey": str(key),
                "signer": message.is_signer(index),
                "writable": _is_writable(header, len(keys), index),
                "source": "transaction",
            }
            if parsed
            else str(key)
            for index, key in enumerate(keys)
        ],
        "recentBlockhash": str(message.recent_blockhash),
    }
    if parsed:
        form["instructions"] = [
            {
                "programId": str(keys[one.program_id_index]),
                "accounts": [str(keys[at]) for at in one.accounts if at < len(keys)],
                "data": base58(bytes(one.data)),
                "stackHeight": None,
            }
            for one in message.instructions
        ]
    else:
        form["header"] = {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        }
        form["instructions"] = [
            {
                "programIdIndex": one.program_id_index,
                "accounts": list(one.accounts),
                "data": base58(bytes(one.data)),
                "stackHeight": None,
            }
            for one in message.instructions
        ]
    lookups = getattr(message, "address_table_lookups", None)
    if lookups:
        form["addressTableLookups"] = [
            {
                "accountKey": str(one.account_key),
                "writableIndexes": list(one.writable_indexes),
                "readonlyIndexes": list(one.readonly_indexes),
            }
            for one in lookups
        ]
    return {"signatures": [str(one) for one in tx.signatures], "message": form}

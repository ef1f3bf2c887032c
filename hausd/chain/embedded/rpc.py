"""The methods of Solana's JSON-RPC, answered from the ledger.

Source: https://solana.com/docs/rpc/http. A method that is not here is *not found*, as a cluster's
node says of one that is switched off.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from solders.message import MessageHeader, from_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.disk import Entry
from hausd.chain.embedded.ledger import (
    LAMPORTS_PER_SIGNATURE,
    SLOTS_PER_EPOCH,
    Broken,
    Ledger,
    Refused,
)
from hausd.chain.embedded.questions import Filters, Params, RpcFault
from hausd.chain.embedded.records import (
    TOKEN,
    TOKEN_2022,
    BadEncoding,
    account_form,
    amount_form,
    base58,
    decimals_of,
    encoded,
    token_of,
    version_of,
)

VERSION = "2.3.0"
_MAX_ACCOUNTS = 100
_MAX_STATUSES = 256
_MAX_HISTORY = 1000
_MAX_BLOCKS = 500
_MAX_PROGRAM_ACCOUNTS = 50_000
_MOST_AIRDROP = 1_000 * 10**9
_IDENTITY = "HausdEmbedded1111111111111111111111111111111"
_SUPPLY = 500_000_000 * 10**9


class Rpc:
    """``sent`` is called after a transaction was executed, to have it written to disk."""

    def __init__(
        self,
        ledger: Ledger,
        random_bytes: Callable[[int], bytes],
        sent: Callable[[], None],
        settled: Callable[[], Awaitable[None]],
        *,
        read_only: bool,
    ) -> None:
        self._ledger = ledger
        self._random_bytes = random_bytes
        self._sent = sent
        self._settled = settled
        self._read_only = read_only
        self._methods: dict[str, Callable[[Any], Any]] = {
            name: getattr(self, f"_{_snake(name)}") for name in _METHODS
        }

    async def call(self, method: str, untrusted: object) -> Any:
        """A call's result. Raises RpcFault."""
        answer = self._methods.get(method)
        if answer is None:
            raise RpcFault(ask.METHOD_NOT_FOUND, "Method not found")
        try:
            result = answer(untrusted)
            if method in _SENDING:
                # what is acknowledged is on disk
                await self._settled()
                if self._ledger.broken:
                    raise RpcFault(ask.NODE_UNHEALTHY, self._ledger.broken)
        except BadEncoding as fault:
            raise RpcFault(ask.INVALID_REQUEST, str(fault)) from None
        except Broken as fault:
            raise RpcFault(ask.NODE_UNHEALTHY, f"Node is unhealthy: {fault}") from None
        return result

    # -- accounts --

    def _get_account_info(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        return self._valued(self._account(params.address(0), params, "base58"), params)

    def _get_multiple_accounts(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        found = params.addresses(0, _MAX_ACCOUNTS)
        return self._valued([self._account(one, params, "base64") for one in found], params)

    def _get_balance(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        account = self._ledger.account(params.address(0))
        return self._valued(account.lamports if account is not None else 0, params)

    def _get_program_accounts(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        program = params.address(0)
        filters, part = Filters(params.config.get("filters")), params.slice()
        encoding = params.encoding("base58")
        found = [
            (address, account)
            for address, account in self._ledger.owned(program)
            if filters.passes(bytes(account.data))
        ]
        if len(found) > _MAX_PROGRAM_ACCOUNTS:
            raise RpcFault(ask.INVALID_REQUEST, "too many accounts; narrow the filters")
        listed = [
            {
                "pubkey": str(address),
                "account": account_form(
                    address, account, encoding, part, self._decimals(account.owner, account.data)
                ),
            }
            for address, account in sorted(found, key=lambda one: bytes(one[0]))
        ]
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
        listed = []
        for address, account in self._ledger.tokens_of(owner):
            token = token_of(account.owner, bytes(account.data))
            if token is None or account.owner not in programs:
                continue
            if wanted_mint and token.mint != wanted_mint:
                continue
            decimals = self._decimals(account.owner, account.data)
            form = account_form(address, account, encoding, part, decimals)
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

    # -- sending --

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
            if refused.error != "AlreadyProcessed":
                raise self._failed(
                    refused.error, refused.logs, refused.units, str(refused)
                ) from None
        self._sent()
        return str(tx.signatures[0])

    def _preflight(self, tx: VersionedTransaction) -> None:
        known = self._ledger.knows(bytes(tx.message.recent_blockhash))
        if not known or self._ledger.status(bytes(tx.signatures[0])) is not None:
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
            blockhash, last = self._ledger.blockhash()
            replacement = {"blockhash": str(blockhash), "lastValidBlockHeight": last}
        elif not self._ledger.knows(bytes(tx.message.recent_blockhash)):
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
            form["accounts"] = [
                self._after(ask.address(one), after, str(wanted.get("encoding") or "base64"))
                for one in addresses
            ]
        if error is None and (returned := outcome.meta().return_data()).data:
            form["returnData"] = {
                "programId": str(returned.program_id),
                "data": [base64.b64encode(bytes(returned.data)).decode(), "base64"],
            }
        return self._valued(form, params)

    def _after(self, address: Pubkey, after: dict[Pubkey, Any], encoding: str) -> Any:
        account = after.get(address) or self._ledger.account(address)
        if account is None or not account.lamports:
            return None
        decimals = self._decimals(account.owner, account.data)
        return account_form(address, account, encoding, None, decimals)

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
        try:
            tx = VersionedTransaction.from_bytes(raw)
            tx.sanitize()
        except Exception as fault:  # noqa: BLE001 - whatever the decoder of foreign bytes raises
            words = f"failed to deserialize solana_transaction: {str(fault)[:200]}"
            raise RpcFault(ask.INVALID_PARAMS, words) from None
        return tx, raw

    # -- blockhashes and fees --

    def _get_latest_blockhash(self, untrusted: object) -> Any:
        params = Params(untrusted, 0)
        blockhash, last = self._ledger.blockhash()
        return self._valued({"blockhash": str(blockhash), "lastValidBlockHeight": last}, params)

    def _is_blockhash_valid(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        given = ask.address(params.at(0, "a blockhash"))  # of the same form
        return self._valued(self._ledger.knows(bytes(given)), params)

    def _get_fee_for_message(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        raw = ask.transaction_bytes(params.at(0, "a message"), "base64")
        try:
            message = from_bytes_versioned(raw)
        except Exception as fault:  # noqa: BLE001 - whatever the decoder of foreign bytes raises
            raise RpcFault(
                ask.INVALID_PARAMS, f"failed to deserialize: {str(fault)[:200]}"
            ) from None
        known = self._ledger.knows(bytes(message.recent_blockhash))
        fee = LAMPORTS_PER_SIGNATURE * message.header.num_required_signatures
        return self._valued(fee if known else None, params)

    def _get_recent_prioritization_fees(self, untrusted: object) -> Any:
        params = Params(untrusted, 9)
        if len(params):
            params.addresses(0, 128)
        slot = self._ledger.slot
        return [
            {"slot": each, "prioritizationFee": 0} for each in range(max(0, slot - 4), slot + 1)
        ]

    # -- history --

    def _get_signature_statuses(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        found = params.signatures(0, _MAX_STATUSES)
        return self._valued([self._status(bytes(one)) for one in found], params)

    def _status(self, signature: bytes) -> dict[str, Any] | None:
        found = self._ledger.status(signature)
        if found is None:
            return None
        entry, on_disk = found
        error = _meta(entry)["err"]
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
        form = {"transaction": given, "meta": _meta(entry)}
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
                "signature": base58(entry.signature),
                "slot": entry.slot,
                "err": _meta(entry)["err"],
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
            "blockhash": str(self._ledger.blockhash_of(slot)),
            "previousBlockhash": str(self._ledger.blockhash_of(max(0, slot - 1))),
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

    # -- the chain itself --

    def _get_slot(self, untrusted: object) -> Any:
        Params(untrusted, 0)
        return self._ledger.slot

    def _get_block_height(self, untrusted: object) -> Any:
        Params(untrusted, 0)
        return self._ledger.slot

    def _get_transaction_count(self, untrusted: object) -> Any:
        Params(untrusted, 0)
        return self._ledger.count

    def _get_genesis_hash(self, _: object) -> Any:
        return str(self._ledger.genesis)

    def _get_identity(self, _: object) -> Any:
        return {"identity": _IDENTITY}

    def _get_version(self, _: object) -> Any:
        return {"solana-core": VERSION, "feature-set": 0}

    def _get_health(self, _: object) -> Any:
        if self._ledger.broken:
            raise RpcFault(ask.NODE_UNHEALTHY, f"Node is unhealthy: {self._ledger.broken}")
        return "ok"

    def _get_epoch_info(self, untrusted: object) -> Any:
        Params(untrusted, 0)
        slot = self._ledger.slot
        return {
            "absoluteSlot": slot,
            "blockHeight": slot,
            "epoch": slot // SLOTS_PER_EPOCH,
            "slotIndex": slot % SLOTS_PER_EPOCH,
            "slotsInEpoch": SLOTS_PER_EPOCH,
            "transactionCount": self._ledger.count,
        }

    def _get_epoch_schedule(self, _: object) -> Any:
        return {
            "slotsPerEpoch": SLOTS_PER_EPOCH,
            "leaderScheduleSlotOffset": SLOTS_PER_EPOCH,
            "warmup": False,
            "firstNormalEpoch": 0,
            "firstNormalSlot": 0,
        }

    def _get_first_available_block(self, _: object) -> Any:
        return 0

    def _minimum_ledger_slot(self, _: object) -> Any:
        return 0

    def _get_supply(self, untrusted: object) -> Any:
        params = Params(untrusted, 0)
        supply = {
            "total": _SUPPLY,
            "circulating": _SUPPLY,
            "nonCirculating": 0,
            "nonCirculatingAccounts": [],
        }
        return self._valued(supply, params)

    def _get_recent_performance_samples(self, untrusted: object) -> Any:
        Params(untrusted, 9)
        return []

    def _get_cluster_nodes(self, _: object) -> Any:
        return []

    # -- the details --

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

    def _account(self, address: Pubkey, params: Params, default: str) -> Any:
        account = self._ledger.account(address)
        encoding = params.encoding(default)
        if account is None:
            return None
        decimals = self._decimals(account.owner, account.data)
        return account_form(address, account, encoding, params.slice(), decimals)

    def _decimals(self, owner: Pubkey, data: bytes) -> int | None:
        token = token_of(owner, bytes(data))
        mint = self._ledger.account(Pubkey(token.mint)) if token is not None else None
        return decimals_of(mint.owner, bytes(mint.data)) if mint is not None else None


_SENDING = ("sendTransaction", "requestAirdrop")
_METHODS = (
    "getAccountInfo", "getMultipleAccounts", "getBalance", "getProgramAccounts",
    "getTokenAccountsByOwner", "getTokenAccountBalance", "getTokenSupply",
    "getMinimumBalanceForRentExemption", "sendTransaction", "simulateTransaction",
    "requestAirdrop", "getLatestBlockhash", "isBlockhashValid", "getFeeForMessage",
    "getRecentPrioritizationFees", "getSignatureStatuses", "getTransaction",
    "getSignaturesForAddress", "getBlock", "getBlocks", "getBlockTime", "getSlot",
    "getBlockHeight", "getTransactionCount", "getGenesisHash", "getIdentity", "getVersion",
    "getHealth", "getEpochInfo", "getEpochSchedule", "getFirstAvailableBlock",
    "minimumLedgerSlot", "getSupply", "getRecentPerformanceSamples", "getClusterNodes",
)  # fmt: skip


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _meta(entry: Entry) -> Any:
    return msgspec.json.decode(entry.meta)


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

"""Accounts and transactions in the form that a cluster's JSON-RPC gives them.

Source: https://solana.com/docs/rpc (json structures).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey
from solders.transaction import Legacy, VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
_TOKEN_BYTES = 165
_MINT_BYTES = 82
_IS_TOKEN_ACCOUNT = 2
_STATES = ("uninitialized", "initialized", "frozen")
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_ZSTD_ONE_SEGMENT_SIZE_IN_4 = 0b10_1_00000
_ZSTD_BLOCK_BYTES = 128 * 1024
MAX_BASE58_BYTES = 128
"""A cluster gives no more than so much of an account in base58."""


class BadEncoding(ValueError):
    """An encoding that can't be given; the message says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token account's own fields."""

    mint: bytes
    owner: bytes
    amount: int
    state: int


def token_of(program: Pubkey, data: bytes) -> Token | None:
    """Reads a token account; None where it is none."""
    if program not in (TOKEN, TOKEN_2022) or len(data) < _TOKEN_BYTES:
        return None
    if len(data) > _TOKEN_BYTES and data[_TOKEN_BYTES] != _IS_TOKEN_ACCOUNT:
        return None
    return Token(data[:32], data[32:64], int.from_bytes(data[64:72], "little"), data[108])


def decimals_of(program: Pubkey, data: bytes) -> int | None:
    """Decimals of a mint; None where it is none."""
    if program not in (TOKEN, TOKEN_2022) or len(data) < _MINT_BYTES or not data[45]:
        return None
    return data[44]


def amount_form(amount: int, decimals: int) -> dict[str, Any]:
    """An amount of tokens, in all the ways that clients ask for."""
    text = f"{amount:0{decimals + 1}d}"
    whole = text if not decimals else f"{text[:-decimals]}.{text[-decimals:]}".rstrip("0")
    whole = whole.rstrip(".")
    return {
        "amount": str(amount),
        "decimals": decimals,
        "uiAmount": float(whole),
        "uiAmountString": whole,
    }


def base58(data: bytes) -> str:
    """Base58 as Solana writes it."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def from_base58(untrusted: str, most: int) -> bytes:
    """Reads base58 of at most so many bytes; raises ValueError."""
    if len(untrusted) > most * 1.4:
        raise ValueError("too long")
    number = 0
    for letter in untrusted:
        digit = _ALPHABET.find(letter)
        if digit < 0:
            raise ValueError("not base58")
        number = number * 58 + digit
    zeros = len(untrusted) - len(untrusted.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def account_form(
    address: Pubkey,
    account: Account,
    encoding: str,
    part: tuple[int, int] | None = None,
    decimals: int | None = None,
) -> dict[str, Any]:
    """An account. ``part``: offset and length of what is asked of its data. Raises BadEncoding."""
    data = bytes(account.data)
    given: object
    parsed = _parsed(account, data, decimals) if encoding == "jsonParsed" else None
    if parsed is not None:
        given = parsed
    else:
        wanted = data if part is None else data[part[0] : part[0] + part[1]]
        given = encoded(wanted, "base64" if encoding == "jsonParsed" else encoding)
    return {
        "lamports": account.lamports,
        "data": given,
        "owner": str(account.owner),
        "executable": account.executable,
        # nobody pays rent any more, and so says every account of a cluster
        "rentEpoch": 2**64 - 1,
        "space": len(data),
    }


def encoded(data: bytes, encoding: str) -> object:
    """Bytes in one of RPC's encodings. Raises BadEncoding."""
    if encoding == "base64":
        return [base64.b64encode(data).decode(), "base64"]
    if encoding in ("base58", "binary"):
        if len(data) > MAX_BASE58_BYTES:
            raise BadEncoding(
                f"Encoded binary (base 58) data should be less than {MAX_BASE58_BYTES} bytes, "
                "please use Base64 encoding."
            )
        return base58(data) if encoding == "binary" else [base58(data), "base58"]
    if encoding == "base64+zstd":
        return [base64.b64encode(zstd(data)).decode(), "base64+zstd"]
    raise BadEncoding(f"unknown encoding {encoding!r}")


def zstd(data: bytes) -> bytes:
    """A Zstandard frame that holds the bytes as they are: what is not worth a library here, clients
    written in Rust ask for all the same.

    Source: RFC 8878, sections 3.1.1 (frame header with its content's size; one segment) and
    3.1.1.2 (blocks that are not compressed).
    """
    frame = bytearray(_ZSTD_MAGIC + bytes((_ZSTD_ONE_SEGMENT_SIZE_IN_4,)))
    frame += len(data).to_bytes(4, "little")
    for begin in range(0, len(data) or 1, _ZSTD_BLOCK_BYTES):
        block = data[begin : begin + _ZSTD_BLOCK_BYTES]
        last = begin + _ZSTD_BLOCK_BYTES >= len(data)
        frame += (len(block) << 3 | last).to_bytes(3, "little") + block
    return bytes(frame)


def _parsed(account: Account, data: bytes, decimals: int | None) -> dict[str, Any] | None:
    token = token_of(account.owner, data)
    name = "spl-token" if account.owner == TOKEN else "spl-token-2022"
    if token is not None and decimals is not None:
        info = {
            "isNative": bool(data[109]),
            "mint": str(Pubkey(token.mint)),
            "owner": str(Pubkey(token.owner)),
            "state": _STATES[min(token.state, 2)],
            "tokenAmount": amount_form(token.amount, decimals),
        }
        parsed = {"info": info, "type": "account"}
        return {"program": name, "parsed": parsed, "space": len(data)}
    places = decimals_of(account.owner, data)
    if token is None and places is not None:
        info = {
            "decimals": places,
            "freezeAuthority": _authority(data[46:82]),
            "isInitialized": True,
            "mintAuthority": _authority(data[:36]),
            "supply": str(int.from_bytes(data[36:44], "little")),
        }
        parsed = {"info": info, "type": "mint"}
        return {"program": name, "parsed": parsed, "space": len(data)}
    return None


def _authority(option: bytes) -> str | None:
    return str(Pubkey(option[4:36])) if option[0] else None


def version_of(tx: VersionedTransaction) -> str | int:
    """What RPC calls a transaction's version."""
    return "legacy" if tx.version() == Legacy.Legacy else 0


def meta_of(
    tx: VersionedTransaction,
    keys: Sequence[Pubkey],
    before: Sequence[Account | None],
    after: Sequence[Account | None],
    told: TransactionMetadata,
    error: object,
    fee: int,
) -> dict[str, Any]:
    """A transaction's ``meta``."""
    own = len(tx.message.account_keys)
    lookups = getattr(tx.message, "address_table_lookups", None) or ()
    writable = sum(len(lookup.writable_indexes) for lookup in lookups)
    meta: dict[str, Any] = {
        "err": error,
        "status": {"Ok": None} if error is None else {"Err": error},
        "fee": fee,
        "preBalances": [_lamports(one) for one in before],
        "postBalances": [_lamports(one) for one in after],
        "preTokenBalances": _token_balances(keys, before, after),
        "postTokenBalances": _token_balances(keys, after, before),
        "innerInstructions": _inner(told),
        "logMessages": told.logs(),
        "rewards": [],
        "loadedAddresses": {
            "writable": [str(key) for key in keys[own : own + writable]],
            "readonly": [str(key) for key in keys[own + writable :]],
        },
        "computeUnitsConsumed": told.compute_units_consumed(),
    }
    returned = told.return_data()  # type: ignore[attr-defined] # missing in its stubs
    if returned.data:
        meta["returnData"] = {
            "programId": str(returned.program_id),
            "data": [base64.b64encode(bytes(returned.data)).decode(), "base64"],
        }
    return meta


def _lamports(account: Account | None) -> int:
    return account.lamports if account is not None else 0


def _inner(told: TransactionMetadata) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "instructions": [
                {
                    "programIdIndex": one.instruction().program_id_index,
                    "accounts": list(one.instruction().accounts),
                    "data": base58(bytes(one.instruction().data)),
                    "stackHeight": one.stack_height(),  # type: ignore[attr-defined] # missing in its stubs
                }
                for one in inner
            ],
        }
        for index, inner in enumerate(told.inner_instructions())
        if inner
    ]


def _token_balances(
    keys: Sequence[Pubkey], accounts: Sequence[Account | None], others: Sequence[Account | None]
) -> list[dict[str, Any]]:
    mints = {
        bytes(key): decimals_of(one.owner, bytes(one.data))
        for each in (accounts, others)
        for key, one in zip(keys, each, strict=True)
        if one is not None
    }
    found = []
    for index, account in enumerate(accounts):
        token = token_of(account.owner, bytes(account.data)) if account is not None else None
        if account is None or token is None:
            continue
        decimals = mints.get(token.mint)
        found.append(
            {
                "accountIndex": index,
                "mint": str(Pubkey(token.mint)),
                "owner": str(Pubkey(token.owner)),
                "programId": str(account.owner),
                "uiTokenAmount": amount_form(token.amount, decimals or 0),
            }
        )
    return found

"""What answers have to be, or another endpoint is asked."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey
from solders.signature import Signature

from hausd.chain.answers import (
    LatestBlockhash,
    OtherVersion,
    SignatureInfo,
    SignatureStatus,
    Simulation,
    TransactionRecord,
    Valued,
)
from hausd.chain.calls import RpcError, TryAnother

_UNKNOWN_VERSION = -32015
"""Source: custom_error.rs of Agave's RPC."""
_HEAD_CHARACTERS = 88
"""Base64 of 66 bytes: how many signatures there are, and the first."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a transaction would do now. ``untrusted_error`` is None where it would succeed."""

    untrusted_error: object
    untrusted_logs: tuple[str, ...]
    units: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a transaction would do, and what to sign it with: what recent ones that wrote the same
    accounts bid for a unit (micro-lamports), and a blockhash with the last block height at which it
    is good."""

    rehearsal: Rehearsal
    bids: list[int]
    blockhash: Hash
    last_valid_block_height: int


def page_of(limit: int, found: list[SignatureInfo]) -> list[SignatureInfo]:
    """A page of a history, of at most ``limit``. Raises TryAnother where one is no signature."""
    try:
        for one in found:
            Signature.from_string(one.signature)
    except ValueError:
        raise TryAnother("it lists a signature that is none", "nonsense") from None
    return found[:limit]


def same_signature(signature: Signature, told: str) -> None:
    """Raises TryAnother where what was sent is called by another name."""
    if told != str(signature):
        raise TryAnother("it names another signature than it was given", "lying")


def all_of(
    count: int, answer: Valued[list[SignatureStatus | None]]
) -> list[SignatureStatus | None]:
    """The statuses of ``count`` signatures, in their order. Raises TryAnother."""
    if len(answer.value) != count:
        raise TryAnother("it answers for another number of signatures", "nonsense")
    return answer.value


def are_of(
    signatures: Sequence[str], found: Sequence[TransactionRecord | RpcError | None]
) -> list[TransactionRecord | OtherVersion | None]:
    """What was found of each signature, in their order. Raises TryAnother, RpcError."""
    return [_one_of(signature, one) for signature, one in zip(signatures, found, strict=True)]


def _one_of(
    signature: str, found: TransactionRecord | RpcError | None
) -> TransactionRecord | OtherVersion | None:
    if not isinstance(found, RpcError):
        return is_of(signature, found)
    if found.code != _UNKNOWN_VERSION:
        raise found
    return OtherVersion()


def is_of(signature: str, found: TransactionRecord | None) -> TransactionRecord | None:
    """A transaction's bytes begin with their payer's signature, behind the number of signatures.

    Whether it is genuine is not looked at: what is read is the log, which nobody signs.
    """
    if found is None:
        return None
    try:
        head = base64.b64decode(found.transaction[0][:_HEAD_CHARACTERS])
        same = head[1:65] == bytes(Signature.from_string(signature))
    except ValueError:
        same = False
    if not same:
        raise TryAnother("it gives another transaction than was asked for", "lying")
    return found


def rehearsal_of(answer: Valued[Simulation]) -> Rehearsal:
    """What ``simulateTransaction`` tells."""
    value = answer.value
    return Rehearsal(value.err, tuple(value.logs or ()), value.units_consumed or 0)


def outlook_of(answers: Sequence[Any]) -> Outlook:
    """Of a rehearsal, recent fees and a blockhash, which came in one answer. Raises RpcError,
    TryAnother."""
    for one in answers:
        if isinstance(one, RpcError):
            raise one
    rehearsed, fees, latest = answers
    bids = [each.prioritization_fee for each in fees]
    return Outlook(rehearsal_of(rehearsed), bids, *blockhash_of(latest))


def address_of(untrusted: str) -> Pubkey:
    """Raises TryAnother where it is none."""
    try:
        return Pubkey.from_string(untrusted)
    except ValueError:
        raise TryAnother("it names an address that is none", "nonsense") from None


def blockhash_of(answer: Valued[LatestBlockhash]) -> tuple[Hash, int]:
    """A blockhash, and the last block height at which it is good. Raises TryAnother."""
    try:
        blockhash = Hash.from_string(answer.value.blockhash)
    except (ValueError, ParseHashError):
        raise TryAnother("it gives a blockhash that is none", "nonsense") from None
    return blockhash, answer.value.last_valid_block_height

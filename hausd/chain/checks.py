"""What answers have to be, or another endpoint is asked."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from hausd.chain.answers import (
    LatestBlockhash,
    OtherVersion,
    SignatureInfo,
    SignatureStatus,
    TransactionRecord,
    Valued,
)
from hausd.chain.calls import RpcError, TryAnother

_UNKNOWN_VERSION = -32015
"""Source: custom_error.rs of Agave's RPC."""


def page_of(limit: int, found: list[SignatureInfo]) -> list[SignatureInfo]:
    try:
        for one in found:
            Signature.from_string(one.signature)
    except ValueError:
        raise TryAnother("it lists a signature that is none", "nonsense") from None
    return found[:limit]


def same_signature(signature: Signature, told: str) -> None:
    if told != str(signature):
        raise TryAnother("it names another signature than it was given", "lying")


def all_of(
    count: int, answer: Valued[list[SignatureStatus | None]]
) -> list[SignatureStatus | None]:
    if len(answer.value) != count:
        raise TryAnother("it answers for another number of signatures", "nonsense")
    return answer.value


def are_of(
    signatures: Sequence[str], found: Sequence[TransactionRecord | RpcError | None]
) -> list[TransactionRecord | OtherVersion | None]:
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
    """A transaction's own bytes have to bear the signature, by its payer."""
    if found is None:
        return None
    try:
        read = VersionedTransaction.from_bytes(base64.b64decode(found.transaction[0]))
        genuine = str(read.signatures[0]) == signature and read.verify_with_results()[0]
    except (ValueError, IndexError):
        genuine = False
    if not genuine:
        raise TryAnother("it gives another transaction than was asked for", "lying")
    return found


def address_of(untrusted: str) -> Pubkey:
    try:
        return Pubkey.from_string(untrusted)
    except ValueError:
        raise TryAnother("it names an address that is none", "nonsense") from None


def blockhash_of(answer: Valued[LatestBlockhash]) -> tuple[Hash, int]:
    try:
        blockhash = Hash.from_string(answer.value.blockhash)
    except (ValueError, ParseHashError):
        raise TryAnother("it gives a blockhash that is none", "nonsense") from None
    return blockhash, answer.value.last_valid_block_height

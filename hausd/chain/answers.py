"""The shapes of Solana's JSON-RPC answers, as far as they are used.

Source: https://solana.com/docs/rpc. Fields that are not named here are passed over.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import Meta, Struct

U64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""As far as msgspec can bound it; there are fewer lamports than that."""
Slot = Annotated[int, Meta(ge=0, le=2**45)]
"""Half a million years of slots."""
Time = Annotated[int, Meta(ge=0, le=2**40)]
Address = Annotated[str, Meta(min_length=32, max_length=44, pattern="^[1-9A-HJ-NP-Za-km-z]*$")]
SignatureText = Annotated[
    str, Meta(min_length=64, max_length=88, pattern="^[1-9A-HJ-NP-Za-km-z]*$")
]
Commitment = Literal["processed", "confirmed", "finalized"]
T = TypeVar("T")


class Context(Struct):
    slot: Slot


class Valued(Struct, Generic[T]):
    """A value with the slot at which it was so."""

    context: Context
    value: T


class RawAccount(Struct):
    lamports: U64
    owner: Address
    data: tuple[str, Literal["base64"]]
    executable: bool


class KeyedAccount(Struct):
    pubkey: Address
    account: RawAccount


class LatestBlockhash(Struct, rename="camel"):
    blockhash: Address
    last_valid_block_height: Slot


class SignatureStatus(Struct, rename="camel"):
    slot: Slot
    err: Any = None
    confirmation_status: Commitment | None = None


class Simulation(Struct, rename="camel"):
    err: Any = None
    logs: list[str] | None = None
    units_consumed: U64 | None = None


class PriorityFee(Struct, rename="camel"):
    slot: Slot
    prioritization_fee: U64


class SignatureInfo(Struct, rename="camel"):
    signature: SignatureText
    slot: Slot
    err: Any = None
    block_time: Time | None = None
    confirmation_status: Commitment | None = None


class TransactionMeta(Struct, rename="camel"):
    fee: U64
    err: Any = None
    log_messages: list[str] | None = None
    compute_units_consumed: U64 | None = None


class TransactionRecord(Struct, rename="camel"):
    slot: Slot
    transaction: tuple[str, Literal["base64"]]
    meta: TransactionMeta | None = None
    block_time: Time | None = None


class OtherVersion(Struct, frozen=True):
    """Stands for a transaction of a version that is not read here; none of ours is."""

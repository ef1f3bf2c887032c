"""A transaction's message: put together for signing, and read again to show what it says.

Source: Solana's transaction format (legacy messages), ComputeBudget's instructions 2 and 3, the
System program's instruction 2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.message import Message
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import Programs
from hausd.core.programs.addresses import (
    ASSOCIATED_TOKEN,
    COMPUTE_BUDGET,
    SYSTEM,
    TOKEN,
    TOKEN_2022,
)
from hausd.core.programs.borsh import BorshError
from hausd.core.programs.idl import PROGRAMS, idl
from hausd.core.programs.minting import CREATE_WITH_SEED, INITIALIZE_MINT, MINT_TO
from hausd.core.programs.payments import CREATE_IDEMPOTENT, TRANSFER_CHECKED

MAX_TRANSACTION_BYTES = 1232
LAMPORTS_PER_SIGNATURE = 5000
LAMPORTS_PER_SOL = 10**9
MAX_COMPUTE_UNITS = 1_400_000
MICRO_LAMPORTS = 10**6
_SET_LIMIT, _SET_PRICE, _SYSTEM_TRANSFER = 2, 3, 2


@dataclass(frozen=True, slots=True)
class Budget:
    """What a transaction may use: compute units, and what it bids for each in micro-lamports."""

    units: int
    price: int

    @property
    def priority_fee(self) -> int:
        """Lamports, rounded up as the chain does."""
        return -(-self.units * self.price // MICRO_LAMPORTS)


def message_of(
    payer: Pubkey, instructions: Sequence[Instruction], blockhash: Hash, budget: Budget
) -> Message:
    """A message with its compute budget in front. Raises ValueError where it is too large."""
    bids = [_limit(budget.units)]
    if budget.price:
        bids.append(_price(budget.price))
    message = Message.new_with_blockhash([*bids, *instructions], payer, blockhash)
    size = 1 + 64 * message.header.num_required_signatures + len(bytes(message))
    if size > MAX_TRANSACTION_BYTES:
        raise ValueError(f"the transaction has {size} bytes, {MAX_TRANSACTION_BYTES} are possible")
    return message


def writable(message: Message) -> list[Pubkey]:
    """The accounts that a message may change."""
    header, keys = message.header, message.account_keys
    signers = header.num_required_signatures
    signed = keys[: signers - header.num_readonly_signed_accounts]
    return signed + keys[signers : len(keys) - header.num_readonly_unsigned_accounts]


def transfer(payer: Pubkey, to: Pubkey, lamports: int) -> Instruction:
    """Moves SOL."""
    data = struct.pack("<IQ", _SYSTEM_TRANSFER, lamports)
    metas = [AccountMeta(payer, True, True), AccountMeta(to, False, True)]
    return Instruction(SYSTEM, data, metas)


def _limit(units: int) -> Instruction:
    return Instruction(COMPUTE_BUDGET, struct.pack("<BI", _SET_LIMIT, units), [])


def _price(price: int) -> Instruction:
    return Instruction(COMPUTE_BUDGET, struct.pack("<BQ", _SET_PRICE, price), [])


@dataclass(frozen=True, slots=True)
class ShownInstruction:
    """An instruction as it is read from the bytes that are signed."""

    program: str
    name: str
    arguments: dict[str, Any]
    accounts: dict[str, str]


def shown(message: Message, programs: Programs) -> Iterator[ShownInstruction]:
    """What a message says, instruction by instruction. ``unknown`` is what can't be read."""
    for compiled in message.instructions:
        yield _shown(message, compiled, programs)


def _shown(message: Message, compiled: CompiledInstruction, programs: Programs) -> ShownInstruction:
    keys = message.account_keys
    program = keys[compiled.program_id_index]
    metas = [str(keys[index]) for index in compiled.accounts]
    data = bytes(compiled.data)
    numbered = {str(at): account for at, account in enumerate(metas)}
    for name, address in zip(PROGRAMS, programs, strict=True):
        if address == program:
            try:
                form, arguments = idl(name).read_instruction(data)
            except BorshError:
                return ShownInstruction(name, "unknown", {"data": data.hex()}, numbered)
            slots = [slot.name for slot in form.slots]
            return ShownInstruction(
                name, form.name, arguments, dict(zip(slots, metas, strict=False))
            )
    if program == COMPUTE_BUDGET and data[:1] == bytes((_SET_LIMIT,)) and len(data) == 5:
        return ShownInstruction("compute_budget", "limit", {"units": _uint(data[1:])}, {})
    if program == COMPUTE_BUDGET and data[:1] == bytes((_SET_PRICE,)) and len(data) == 9:
        return ShownInstruction("compute_budget", "price", {"micro_lamports": _uint(data[1:])}, {})
    if program == SYSTEM and data[:4] == struct.pack("<I", _SYSTEM_TRANSFER) and len(data) == 12:
        named = dict(zip(("from", "to"), metas, strict=False))
        return ShownInstruction("system", "transfer", {"lamports": _uint(data[4:])}, named)
    if found := _shown_tokens(program, data, metas):
        return found
    return ShownInstruction(str(program), "unknown", {"data": data.hex()}, numbered)


def _shown_tokens(program: Pubkey, data: bytes, metas: list[str]) -> ShownInstruction | None:
    """What hausctl itself has the token programs do."""
    if program == ASSOCIATED_TOKEN and data == CREATE_IDEMPOTENT:
        named = dict(zip(("payer", "account", "owner", "mint"), metas, strict=False))
        return ShownInstruction("associated_token", "create", {}, named)
    if program == SYSTEM and data[:4] == struct.pack("<I", CREATE_WITH_SEED) and len(data) >= 92:
        named = dict(zip(("from", "made"), metas, strict=False))
        lamports, space = _uint(data[-48:-40]), _uint(data[-40:-32])
        told = {"lamports": lamports, "space": space, "owner": Pubkey(data[-32:])}
        return ShownInstruction("system", "create_account_with_seed", told, named)
    if program == TOKEN and data[:1] == bytes([INITIALIZE_MINT]) and len(data) > 34:
        made: dict[str, Any] = {"decimals": data[1], "authority": Pubkey(data[2:34])}
        return ShownInstruction(
            "token", "initialize_mint", made, dict(zip(("mint",), metas, strict=False))
        )
    if program in (TOKEN, TOKEN_2022) and data[:1] == bytes([MINT_TO]) and len(data) == 10:
        named = dict(zip(("mint", "account", "authority"), metas, strict=False))
        return ShownInstruction("token", "mint_to", {"amount": _uint(data[1:9])}, named)
    if program in (TOKEN, TOKEN_2022) and data[:1] == bytes([TRANSFER_CHECKED]) and len(data) == 10:
        named = dict(zip(("from", "mint", "to", "owner"), metas, strict=False))
        moved = {"amount": _uint(data[1:9]), "decimals": data[9]}
        return ShownInstruction("token", "transfer_checked", moved, named)
    return None


def _uint(data: bytes) -> int:
    return int.from_bytes(data, "little")

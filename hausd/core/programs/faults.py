"""Why a transaction failed, in a sentence: from its error and its log.

Source: ``TransactionError`` and ``InstructionError`` as Solana's JSON-RPC gives them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hausd.core.programs.accounts import Programs
from hausd.core.programs.idl import PROGRAMS, idl

_CUSTOM = re.compile(r"Program (\w{32,44}) failed: custom program error: 0x([0-9a-f]{1,8})")
_MAX_LOG_LINES = 500
_SENTENCES = {
    "AccountNotFound": "the paying account does not exist: it needs some SOL first",
    "InsufficientFundsForFee": "the paying account has too little SOL for the fee",
    "InsufficientFundsForRent": "an account would be left with too little SOL to be kept",
    "BlockhashNotFound": "the transaction is too old: its blockhash is not known any more",
    "AlreadyProcessed": "the transaction was processed already",
    "ProgramAccountNotFound": "the program is not on this chain",
    "ComputationalBudgetExceeded": "it needs more compute units than it asked for",
    "MissingRequiredSignature": "a signature is missing",
    "SignatureFailure": "a signature is wrong",
    "AccountInUse": "an account is in use by another transaction",
    "InvalidAccountForFee": "the paying account can't pay fees",
    "WouldExceedMaxBlockCostLimit": "the block is full",
}
_TOKENS = {
    1: ("InsufficientFunds", "the token account has too few tokens"),
    4: ("OwnerMismatch", "the token, or its account, is another's"),
    17: ("AccountFrozen", "the token account is frozen: its mint's issuer has to free it"),
    18: (
        "MintDecimalsMismatch",
        "the token has other decimals than the amount was counted with",
    ),
    36: (
        "NoMemo",
        "the token account wants a memo with what comes in: turn that off, or name another",
    ),
    42: (
        "CpiGuardTransferBlocked",
        "the token account lets no program pay from it: turn its CPI guard off",
    ),
}
"""Source: ``TokenError`` of spl-token and spl-token-2022."""
_SYSTEM = {
    0: "an account that is to be made exists already",
    1: "the wallet has too little SOL",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """``code`` is stable and for scripts: a program's error by name, else the chain's."""

    code: str
    sentence: str
    number: int | None = None


def explain(programs: Programs, untrusted_error: object, untrusted_logs: Sequence[str]) -> Fault:
    """Why a transaction failed. What is not known is named as the chain names it."""
    match untrusted_error:
        case {"InstructionError": [int(), {"Custom": int(number)}]}:
            return _custom(programs, number, untrusted_logs)
        case {"InstructionError": [int(index), str(name)]}:
            return _named(name, f"instruction {index} failed: {_words(name)}")
        case {"InstructionError": [int(index), _]}:
            return Fault("InstructionError", f"instruction {index} failed")
        case {**fields} if len(fields) == 1:
            return _refused(str(next(iter(fields))))
        case str(name):
            return _refused(name)
    return Fault("unknown", "the chain refuses it, and not in words that are known")


def _refused(untrusted_name: str) -> Fault:
    return _named(untrusted_name, f"the chain refuses it: {_words(untrusted_name)}")


def _named(untrusted_name: str, otherwise: str) -> Fault:
    if not re.fullmatch(r"[A-Za-z]{1,64}", untrusted_name):
        return Fault("unknown", "the chain refuses it, and not in words that are known")
    return Fault(untrusted_name, _SENTENCES.get(untrusted_name, otherwise))


def _custom(programs: Programs, number: int, untrusted_logs: Sequence[str]) -> Fault:
    """The first program that failed is the innermost: it gave the number."""
    for line in untrusted_logs[:_MAX_LOG_LINES]:
        if (match := _CUSTOM.match(line)) and int(match[2], 16) == number:
            return _of(programs, match[1], number)
    return Fault(f"custom-{number}", f"a program refuses it with its error {number}", number)


def _of(programs: Programs, program: str, number: int) -> Fault:
    for name, address in zip(PROGRAMS, programs, strict=True):
        if str(address) == program and (known := idl(name).errors.get(number)):
            return Fault(known.name, known.sentence, number)
    if program == "1" * 32 and number in _SYSTEM:
        return Fault("SystemProgram", _SYSTEM[number], number)
    if program.startswith("Token") and number in _TOKENS:
        return Fault(*_TOKENS[number], number)
    return Fault(f"custom-{number}", f"program {program} refuses it with error {number}", number)


def _words(name: str) -> str:
    """``AccountInUse`` as "account in use"."""
    return re.sub(r"(?<=[a-z])([A-Z])", r" \1", name).lower()

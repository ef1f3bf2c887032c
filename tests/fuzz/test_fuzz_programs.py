"""What a chain hands out is refused in words, whatever it is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from solders.message import Message
from solders.pubkey import Pubkey

from hausd.chain.answers import (
    KeyedAccount,
    LatestBlockhash,
    RawAccount,
    SignatureInfo,
    SignatureStatus,
    Simulation,
    TransactionRecord,
    Valued,
)
from hausd.core.programs.accounts import (
    AccountError,
    EventAccount,
    SaleAccount,
    TicketAccount,
    VaultAccount,
    account_mark,
    account_size,
    program_of,
    read_account,
)
from hausd.core.programs.addresses import TOKEN, TOKEN_2022
from hausd.core.programs.borsh import BorshError
from hausd.core.programs.idl import PROGRAMS as NAMES
from hausd.core.programs.idl import idl
from hausd.core.programs.messages import shown
from hausd.core.programs.tokens import read_mint, read_tokens
from tests.support.chain_data import EVENT, PROGRAMS, raw_event

_KINDS = (EventAccount, SaleAccount, TicketAccount, VaultAccount)
_SHAPES: tuple[type, ...] = (
    Valued[list[RawAccount | None]],
    list[KeyedAccount],
    Valued[LatestBlockhash],
    Valued[list[SignatureStatus | None]],
    Valued[Simulation],
    list[SignatureInfo],
    TransactionRecord,
)
_SEED = b'{"context":{"slot":1},"value":[{"lamports":1,"owner":"1111","data":["AA","base64"]}]}'


@given(st.sampled_from(_KINDS), st.binary(max_size=2000))
@example(EventAccount, raw_event()[8:])
@example(EventAccount, b"\xff" * 2000)
def test_an_account_of_any_bytes(kind: type, body: bytes) -> None:
    size = account_size(kind)
    for raw in (body, (account_mark(kind) + body).ljust(size, b"\xff")[:size]):
        program = program_of(kind, PROGRAMS)
        with contextlib.suppress(AccountError):
            read_account(kind, EVENT, program, program, raw)


@given(st.sampled_from(NAMES), st.data(), st.binary(max_size=300))
def test_an_instruction_of_any_bytes(name: str, data: st.DataObject, body: bytes) -> None:
    form = data.draw(st.sampled_from(sorted(idl(name).instructions)))
    with contextlib.suppress(BorshError):
        idl(name).read_instruction(idl(name).instructions[form].discriminator + body)


@given(
    st.lists(st.binary(min_size=32, max_size=32), min_size=3, max_size=6), st.binary(max_size=60)
)
def test_a_message_of_any_instructions_is_shown(keys: list[bytes], data: bytes) -> None:
    from solders.hash import Hash
    from solders.instruction import AccountMeta, Instruction

    payer, *others = (Pubkey(key) for key in keys)
    metas = [AccountMeta(key, False, True) for key in others]
    programs = (*PROGRAMS, Pubkey.default(), others[0])
    instructions = [Instruction(program, data, metas) for program in programs]
    message = Message.new_with_blockhash(instructions, payer, Hash.default())
    assert len(list(shown(message, PROGRAMS))) == len(instructions)


@pytest.mark.parametrize("kind", _SHAPES, ids=str)
def test_an_answer_of_any_json(kind: type) -> None:
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=90),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["context", "slot", "value", "err", "data", "owner"])
                    | st.text(max_size=8),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=12,
        )
    )
    def any_json(value: object) -> None:
        _decoded(lambda: msgspec.json.decode(msgspec.json.encode(value), type=kind))

    any_json()
    _decoded(lambda: msgspec.json.decode(_SEED, type=kind))


def _decoded(work: Callable[[], object]) -> None:
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        work()


@given(st.sampled_from((TOKEN, TOKEN_2022)), st.binary(max_size=400))
@example(TOKEN, bytes(44) + bytes([255, 1]) + bytes(36))
@example(TOKEN_2022, b"\xff" * 165 + b"\1")
@example(TOKEN_2022, b"\xff" * 165 + b"\2")
def test_a_mint_and_a_token_account_of_any_bytes(program: Pubkey, raw: bytes) -> None:
    for read in (read_mint, read_tokens):
        with contextlib.suppress(AccountError):
            read(program, program, raw)

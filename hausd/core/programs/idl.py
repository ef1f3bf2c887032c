"""The programs as their IDLs describe them: accounts, instructions, events and errors.

The files are those under ``programs/idl``, in the legacy form of Anchor that anchorpy reads; they
are the one description of the programs' interface, checked against the programs themselves.
Source: Anchor 0.29's IDL; a discriminator is the first 8 bytes of SHA-256 of ``global:<name>``,
``account:<Name>`` or ``event:<Name>``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hausd.core.programs.borsh import BorshError, Form, Reader, Value, form_of, struct_form

DISCRIMINATOR_BYTES = 8
PROGRAMS = ("event_factory", "ticket_factory", "live_tipping")


@dataclass(frozen=True, slots=True)
class AccountSlot:
    """An account that an instruction takes. ``optional`` ones stand at the end."""

    name: str
    writable: bool
    signer: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class InstructionForm:
    """An instruction: its accounts in their order, and its arguments."""

    name: str
    discriminator: bytes
    slots: tuple[AccountSlot, ...]
    argument_names: tuple[str, ...]
    arguments: Form


@dataclass(frozen=True, slots=True)
class DataForm:
    """An account's or an event's data behind its discriminator."""

    name: str
    discriminator: bytes
    fields: Form

    @property
    def size(self) -> int:
        """Bytes of the whole. An account's size is fixed."""
        if self.fields.size is None:
            raise BorshError(f"{self.name} has no fixed size")
        return DISCRIMINATOR_BYTES + self.fields.size

    def read(self, untrusted: bytes) -> dict[str, Value]:
        """The fields of data that has this form and no byte more. Raises BorshError."""
        if untrusted[:DISCRIMINATOR_BYTES] != self.discriminator:
            raise BorshError(f"this is no {self.name}")
        reader = Reader(untrusted[DISCRIMINATOR_BYTES:])
        fields: dict[str, Value] = self.fields.read(reader)
        if reader.left:
            raise BorshError(f"{self.name} has {reader.left} bytes too many")
        return fields


@dataclass(frozen=True, slots=True)
class ProgramError:
    """An error of a program: ``sentence`` is for who reads it."""

    number: int
    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Idl:
    """One program's interface. Names are in snake case, but those of accounts and events."""

    name: str
    instructions: Mapping[str, InstructionForm]
    accounts: Mapping[str, DataForm]
    events: Mapping[str, DataForm]
    errors: Mapping[int, ProgramError]

    def build(
        self,
        program: Pubkey,
        name: str,
        accounts: Mapping[str, Pubkey],
        arguments: Mapping[str, Value],
    ) -> Instruction:
        """An instruction. Optional accounts may be left out together. Raises BorshError."""
        form = self.instructions[name]
        known = {slot.name for slot in form.slots}
        if unknown := set(accounts) - known:
            raise BorshError(f"{name} takes no account {sorted(unknown)}")
        metas = []
        for slot in form.slots:
            if slot.name not in accounts:
                if slot.optional:
                    break
                raise BorshError(f"{name} needs the account {slot.name}")
            metas.append(AccountMeta(accounts[slot.name], slot.signer, slot.writable))
        if len(metas) != len(accounts):
            raise BorshError(f"{name} has an account behind one that is left out")
        data = form.discriminator + form.arguments.write(dict(arguments))
        return Instruction(program, data, metas)

    def read_instruction(self, untrusted: bytes) -> tuple[InstructionForm, dict[str, Value]]:
        """Which instruction it is, with which arguments. Raises BorshError."""
        for form in self.instructions.values():
            if untrusted[:DISCRIMINATOR_BYTES] == form.discriminator:
                reader = Reader(untrusted[DISCRIMINATOR_BYTES:])
                fields: dict[str, Value] = form.arguments.read(reader)
                if reader.left:
                    raise BorshError(f"{form.name} has {reader.left} bytes too many")
                return form, fields
        raise BorshError(f"{self.name} has no such instruction")


@cache
def idl(name: str) -> Idl:
    """The interface of ``event_factory``, ``ticket_factory`` or ``live_tipping``."""
    text = files("hausd.core.programs").joinpath("idl", f"{name}.json").read_text("utf-8")
    return read_idl(json.loads(text))


def read_idl(described: Mapping[str, Any]) -> Idl:
    """Reads an IDL. Raises BorshError and KeyError where it is none."""
    named: dict[str, Form] = {}
    for kind in described.get("types", ()):
        named[kind["name"]] = _struct(kind["type"]["fields"], named)
    accounts = [
        DataForm(
            each["name"], _mark("account", each["name"]), _struct(each["type"]["fields"], named)
        )
        for each in described.get("accounts", ())
    ]
    events = [
        DataForm(each["name"], _mark("event", each["name"]), _struct(each["fields"], named))
        for each in described.get("events", ())
    ]
    instructions = [_instruction(each, named) for each in described["instructions"]]
    errors = [ProgramError(each["code"], each["name"], each["msg"]) for each in described["errors"]]
    return Idl(
        described["name"],
        {each.name: each for each in instructions},
        {each.name: each for each in accounts},
        {each.name: each for each in events},
        {each.number: each for each in errors},
    )


def snake(name: str) -> str:
    """``rtaMint`` as ``rta_mint``."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _mark(kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{kind}:{name}".encode()).digest()[:DISCRIMINATOR_BYTES]


def _struct(fields: Sequence[Mapping[str, Any]], named: Mapping[str, Form]) -> Form:
    return struct_form([(snake(each["name"]), form_of(each["type"], named)) for each in fields])


def _instruction(described: Mapping[str, Any], named: Mapping[str, Form]) -> InstructionForm:
    name = snake(described["name"])
    slots = [
        AccountSlot(snake(a["name"]), a["isMut"], a["isSigner"], a.get("isOptional", False))
        for a in described["accounts"]
    ]
    args = described["args"]
    names = tuple(snake(each["name"]) for each in args)
    return InstructionForm(name, _mark("global", name), tuple(slots), names, _struct(args, named))

"""Events that the programs write into a transaction's log.

Source: ``sol_log_data`` writes ``Program data: <base64>``; which program wrote it follows from the
``invoke``, ``success`` and ``failed`` lines around it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from solders.pubkey import Pubkey

from hausd.core.programs.accounts import Programs
from hausd.core.programs.borsh import BorshError
from hausd.core.programs.idl import DISCRIMINATOR_BYTES, PROGRAMS, idl

_INVOKE = re.compile(r"Program (\w{32,44}) invoke \[(\d{1,2})\]")
_LEFT = re.compile(r"Program (\w{32,44}) (?:success|failed)")
_DATA = "Program data: "
_MAX_LINES = 1000
_MAX_DATA_CHARACTERS = 8192


@dataclass(frozen=True, slots=True)
class ProgramEvent:
    """An event: its name, the program that wrote it, and its fields by name."""

    name: str
    program: Pubkey
    fields: dict[str, Any]


def events_of(programs: Programs, untrusted_logs: Sequence[str]) -> Iterator[ProgramEvent]:
    """The programs' own events in the order they were written.

    Lines of other programs are passed over, and so is what is none of our events: a program that
    copies our bytes into its log is still not ours.
    """
    names = _names(programs)
    running: list[str] = []
    for line in untrusted_logs[:_MAX_LINES]:
        if match := _INVOKE.fullmatch(line):
            del running[int(match[2]) - 1 :]
            running.append(match[1])
        elif line.startswith(_DATA):
            if running and (name := names.get(running[-1])):
                found = _read(name, running[-1], line[len(_DATA) :])
                if found is not None:
                    yield found
        elif (match := _LEFT.match(line)) and running and running[-1] == match[1]:
            running.pop()


@cache
def _names(programs: Programs) -> dict[str, str]:
    return dict(zip((str(each) for each in programs), PROGRAMS, strict=True))


def _read(name: str, program: str, untrusted: str) -> ProgramEvent | None:
    if len(untrusted) > _MAX_DATA_CHARACTERS:
        return None
    try:
        raw = base64.b64decode(untrusted, validate=True)
    except (binascii.Error, ValueError):
        return None
    for form in idl(name).events.values():
        if raw[:DISCRIMINATOR_BYTES] == form.discriminator:
            try:
                return ProgramEvent(form.name, Pubkey.from_string(program), form.read(raw))
            except BorshError:
                return None
    return None

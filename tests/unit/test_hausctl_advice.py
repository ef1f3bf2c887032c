"""Whatever the programs refuse, hausctl knows a way out of."""

from __future__ import annotations

import pytest

from hausctl.advice import ADVICE, advised
from hausctl.client import Refused
from hausd.core.programs.idl import PROGRAMS, idl


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_error_of_a_program_has_its_advice(program: str) -> None:
    assert {error.name for error in idl(program).errors.values()} <= set(ADVICE)


def test_advice_stands_before_what_was_paid() -> None:
    found = advised(Refused("SoldOut", "Not so many are left.", "nothing was sent or paid"))
    assert found.hint.splitlines() == [ADVICE["SoldOut"], "nothing was sent or paid"]
    assert advised(Refused("other", "?", "hint")).hint == "hint"

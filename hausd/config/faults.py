"""What is wrong with a configuration: where, which key, why, and what would be right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from hausd.config.units import Wrong, shown

_QUOTED = re.compile("'([^']*)'")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. ``place`` is ``FILE:LINE``, a variable, or ``--set …``."""

    place: str
    key: str
    problem: str
    right: str = ""

    def __str__(self) -> str:
        named = self.key and not self.place.endswith(f" {self.key}")
        said = f"{self.key}: {self.problem}" if named else self.problem
        return f"{self.place}: {said}" + (f"; {self.right}" if self.right else "")


class ConfigError(Exception):
    """A configuration that can't be used, with every fault in it. ``str()`` is for the user."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


def nearest(untrusted_name: str, names: Iterable[str]) -> str | None:
    """The right name that a wrong one was probably meant to be."""
    found = difflib.get_close_matches(untrusted_name[:80].lower(), list(names), n=1, cutoff=0.6)
    return found[0] if found else None


def words(error: ErrorDetails) -> tuple[str, str]:
    """What pydantic found wrong with a value, as (problem, what would be right)."""
    context: Mapping[str, Any] = error.get("ctx") or {}
    value = shown(error["input"])
    cause = context.get("error")
    if isinstance(cause, Wrong):
        return cause.problem, cause.right
    match error["type"]:
        case "bool_type" | "bool_parsing":
            return f"{value} is neither true nor false", "write true or false"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{value} is not a whole number", "write it without quotes, as in 10"
        case "float_type" | "float_parsing" | "finite_number":
            return f"{value} is not a number", "write it without quotes, as in 0.4"
        case "string_type":
            return f"{value} is not text", 'write it in quotes, as in "…"'
        case "string_too_long":
            return "the text is too long", f"at most {context['max_length']} characters"
        case "literal_error":
            near = nearest(str(error["input"]), _QUOTED.findall(str(context["expected"])))
            hint = f"did you mean {near!r}? " if near and isinstance(error["input"], str) else ""
            return f"{value} is not one of the choices", f"{hint}choose {context['expected']}"
        case "greater_than_equal":
            return f"{value} is too little", f"at least {_number(context['ge'])}"
        case "less_than_equal":
            return f"{value} is too much", f"at most {_number(context['le'])}"
        case _:
            return f"{value} can't be used", error["msg"]


def _number(bound: float) -> str:
    """A bound as one writes it: no exponent, and no fraction that isn't there."""
    return f"{bound:.0f}" if bound == int(bound) else f"{bound:g}"

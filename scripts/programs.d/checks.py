"""Finds the checks in Rust sources as rustfmt leaves them, and puts each behind a switch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SWITCH = """
/// For `scripts/programs mutate`: the number of the check that is off.
#[repr(C)]
pub struct Switch {{
    magic: [u8; 16],
    number: u16,
}}

#[used]
pub static SWITCH: Switch = Switch {{
    magic: *b"{magic}",
    number: u16::MAX,
}};

#[inline(always)]
pub fn off(number: u16) -> bool {{
    // SAFETY: it is there; volatile, since it is changed in what was built.
    unsafe {{ core::ptr::read_volatile(core::ptr::addr_of!(SWITCH.number)) == number }}
}}
"""
_OPEN, _CLOSE = "([{", ")]}"
_HIDDEN = re.compile(r'//[^\n]*|b?"(?:[^"\\]|\\.)*"')
_STATEMENT = re.compile(
    r"^ +(?P<check>(?:return )?require\w*\(|nothing\(|check::<T>\(|core::str::from_utf8\("
    r"|(?:\w+|Reader::new\(data\))\.end\(\))",
    re.M,
)
_IF = re.compile(r"\bif (?!let |unsafe )")
_PROGRAM = re.compile(r"\bif (?P<check>\w+\.executable\(\)) \{")
_GUARD = re.compile(r"^ +[A-Z]\w*\([^\n]*\) if (?P<guard>[^\n]*) => ", re.M)
_CHECKED = re.compile(
    r"(?P<of>[\w.]+(?:\[\w+\])?)\s*\.checked_(?P<what>add|sub)\((?P<by>[^()]*)\)\s*\.ok_or\([^()]*\)\?"
)


@dataclass(frozen=True)
class Check:
    file: Path
    line: int
    function: str
    words: str

    @property
    def folder(self) -> str:
        return self.file.parts[0]

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is called, wherever it stands then."""
        return str(self.file), self.function, self.words

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.function}: {self.words}"


@dataclass(frozen=True)
class _Place:
    """From ``start`` to ``end``, with what is written before and behind; ``N`` is the number."""

    start: int
    end: int
    before: str
    behind: str


def instrumented(source: str, file: Path, first: int, crate: str) -> tuple[str, list[Check]]:
    """The source with its checks behind switches that are numbered from ``first`` on."""
    code = _HIDDEN.sub(lambda found: " " * len(found[0]), source)
    places = sorted(set(_places(code)), key=lambda place: (place.start, -place.end))
    checks, edits = [], list[tuple[int, int, int, str]]()
    for number, place in enumerate(places, first):
        line = source.count("\n", 0, place.start) + 1
        function = re.findall(r"\bfn (\w+)", code[: place.start])[-1]
        words = " ".join(source[place.start : place.end].split())
        checks.append(Check(file, line, function, words))
        off = f"{crate}::off({number})"
        length = place.end - place.start
        # at one place what ends there comes first, the shorter before the longer
        edits.append((place.start, 1, -length, place.before.replace("N", off)))
        edits.append((place.end, 0, length, place.behind))
    out, at = [], 0
    for position, _, _, text in sorted(edits):
        out += [source[at:position], text]
        at = position
    return "".join([*out, source[at:]]), checks


def _places(code: str) -> Iterator[_Place]:
    yield from _statements(code)
    yield from _conditions(code)
    yield from _conjuncts(code)
    for found in _GUARD.finditer(code):
        yield _Place(*found.span("guard"), "N || (", ")")
    for found in _PROGRAM.finditer(code):
        yield _Place(*found.span("check"), "(!N && ", ")")
    for found in _CHECKED.finditer(code):
        unchecked = f"{found['of']}.wrapping_{found['what']}({found['by']})"
        yield _Place(*found.span(), f"(if N {{ {unchecked} }} else {{ ", " })")


def _statements(code: str) -> Iterator[_Place]:
    for found in _STATEMENT.finditer(code):
        start = found.start("check")
        end = _end(code, start, ";")
        text = code[start:end]
        if " && " in text:
            continue  # its parts are tried
        if text.startswith("return "):
            start += len("return ")
            yield _Place(start, end, "if N { Ok(()) } else { ", " }")
        elif code[end] == ";":
            yield _Place(start, end + 1, "if !N { ", " }")
        else:
            yield _Place(start, len(text.rstrip()) + start, "if N { Ok(()) } else { ", " }")


def _conditions(code: str) -> Iterator[_Place]:
    for found in _IF.finditer(code):
        start = found.end()
        end = _end(code, start, "{")
        body = code[end + 1 :].lstrip()
        end = start + len(code[start:end].rstrip())
        if body.startswith("return Err"):
            for part in _split(code, start, end, "||"):
                yield _Place(*part, "(!N && (", "))")
        elif re.match(r"Ok\(\(\)\)\s*\} else \{\s*Err", body) and " && " not in code[start:end]:
            yield _Place(start, end, "N || (", ")")


def _conjuncts(code: str) -> Iterator[_Place]:
    for found in re.finditer(r"\s&& ", code):
        at = found.start()
        start, end = _start(code, at), _end(code, found.end(), ",;{", "&&", "||")
        yield _trimmed(code, start, at)
        yield _trimmed(code, found.end(), end)


def _trimmed(code: str, start: int, end: int) -> _Place:
    text = code[start:end]
    start += len(text) - len(text.lstrip())
    return _Place(start, start + len(text.strip()), "(N || (", "))")


def _split(code: str, start: int, end: int, by: str) -> list[tuple[int, int]]:
    """The parts between ``by``, outside of brackets."""
    parts, depth, at = [], 0, start
    for index in range(start, end):
        depth += (code[index] in _OPEN) - (code[index] in _CLOSE)
        if depth == 0 and code.startswith(by, index):
            parts.append((at, len(code[:index].rstrip())))
            at = index + len(by) + 1
    return [*parts, (at, end)]


def _end(code: str, start: int, ends: str, *words: str) -> int:
    """Where what begins at ``start`` ends: at one of these, or at a bracket that closes."""
    depth, index = 0, start
    while index < len(code):
        letter = code[index]
        if depth == 0 and (letter in ends or any(code.startswith(w, index) for w in words)):
            return index
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if depth < 0:
            return index
        index += 1
    return index


def _start(code: str, end: int) -> int:
    """Where the part of an ``&&`` begins that ends at ``end``."""
    depth, index = 0, end - 1
    while index >= 0:
        letter = code[index]
        if depth == 0:
            if letter in ",;{}" or code[index - 1 : index + 1] in ("&&", "||", "=>"):
                return index + 1
            if code[index - 1 : index + 2] in (" = ",) or code[index - 2 : index + 1] == "if ":
                return index + 1
        depth += (letter in _CLOSE) - (letter in _OPEN)
        if depth < 0:
            return index + 1
        index -= 1
    return 0

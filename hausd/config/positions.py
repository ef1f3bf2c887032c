"""Where each key of a TOML document stands, so that a fault can name its line.

``tomllib`` gives values without places. This walks the same text once more, statement by
statement, and only for documents that ``tomllib`` has accepted; for anything odd it merely
finds fewer places. Source: https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Key = tuple[str, ...]

_HEADER = re.compile(r"\[\[?([^\n]*)")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_KEY_PART = re.compile(r"[ \t]*(?:([A-Za-z0-9_-]+)|\"((?:[^\"\\\n]|\\.)*)\"|'([^'\n]*)')[ \t]*")


def key_lines(text: str) -> Mapping[Key, int]:
    """Line numbers (from 1) of every table header and key, by dotted path.

    Keys inside inline tables are not looked at: ask for their longest known prefix.
    """
    found: dict[Key, int] = {}
    table: Key = ()
    for line, statement in _statements(text.replace("\r\n", "\n")):
        header = _HEADER.match(statement)
        if header:
            table = _dotted(header[1])
            path = table
        else:
            path = table + _dotted(statement)
        for length in range(1, len(path) + 1):
            found.setdefault(path[:length], line)
    return found


def _dotted(text: str) -> Key:
    """The parts of the dotted key that the text begins with."""
    parts: list[str] = []
    at = 0
    while match := _KEY_PART.match(text, at):
        parts.append(match[1] or match[2] or match[3] or "")
        at = match.end()
        if text[at : at + 1] != ".":
            break
        at += 1
    return tuple(parts)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each header or ``key = value`` (which may span lines), with the line it begins on."""
    at, line = 0, 1
    begin, begin_line, depth = -1, 1, 0
    while at < len(text):
        char = text[at]
        if char == "\n":
            if begin >= 0 and depth == 0:
                yield begin_line, text[begin:at]
                begin = -1
            line += 1
            at += 1
            continue
        if char == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        if begin < 0 and char not in " \t\r":
            begin, begin_line, depth = at, line, 0
        if char in "\"'" and (match := _STRING.match(text, at)):
            line += match[0].count("\n")
            at = match.end()
            continue
        if char in "[{":
            depth += 1
        elif char in "]}":
            depth = max(0, depth - 1)
        at += 1
    if begin >= 0:
        yield begin_line, text[begin:]

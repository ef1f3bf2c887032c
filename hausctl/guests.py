"""The guest list: addresses, and how many tickets each is to have."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import typer

from hausctl.client import Refused

MAX_GUESTS = 10_000
_MAX_FILE_BYTES = 1_000_000
_MOST = 65_535


def read_guests(file: str, count: int) -> dict[str, int]:
    """Guests of a file: an address on a line, and behind a comma how many tickets (``count``, where
    nothing stands there). ``#`` begins a remark; ``-`` is standard input. Raises Refused."""
    text = _text(file)
    guests: dict[str, int] = {}
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    for number, fields in enumerate(csv.reader(lines), 1):
        if not any(fields):
            continue
        where = f"{file}, line {number}"
        who, many = fields[0].strip(), fields[1].strip() if len(fields) > 1 else str(count)
        if not many.isascii() or not many.isdigit() or not 0 < int(many) <= _MOST:
            right = "write ADDRESS,COUNT; a count is 1 to 65535"
            raise Refused("bad-guest", f"{where}: {many!r} is no count", right)
        if who in guests:
            raise Refused("bad-guest", f"{where}: {who} stands there already", "name each once")
        guests[checked(who, where)] = int(many)
        if len(guests) > MAX_GUESTS:
            raise Refused("bad-guest", f"{where}: more than {MAX_GUESTS:,} guests", "split it")
    if not guests:
        raise Refused("bad-guest", f"{file} names nobody", "write an address on each line")
    return guests


def checked(untrusted: str, where: str) -> str:
    """An address. Raises Refused, with ``where`` it stands."""
    from hausctl.paying import address

    try:
        return str(address(untrusted))
    except typer.BadParameter as fault:
        raise Refused("bad-guest", f"{where}: {fault.message}") from None


def _text(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read(_MAX_FILE_BYTES)
        with Path(file).expanduser().open(encoding="utf-8") as opened:
            return opened.read(_MAX_FILE_BYTES)
    except OSError as fault:
        raise Refused("bad-guest", f"{file} can't be read ({fault.strerror})") from None
    except UnicodeDecodeError:
        raise Refused("bad-guest", f"{file} is no text (UTF-8)") from None

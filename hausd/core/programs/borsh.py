"""Borsh, as far as the programs' interface descriptions (IDLs) use it: fixed sizes and strings.

Source: https://borsh.io and the types of a legacy Anchor IDL. Accounts are packed, little-endian.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

MAX_TEXT_BYTES = 4096
"""Longest string or byte vector that is read or written: a transaction has 1,232 bytes."""
_ADDRESS_BYTES = 32
_INTEGERS = {
    f"{sign}{bits}": (bits // 8, sign == "i") for sign in "ui" for bits in (8, 16, 32, 64, 128)
}

Value = Any
"""int, bool, str, bytes, Pubkey, a tuple of such, or a dict of them by name."""


class BorshError(ValueError):
    """Bytes or a value are not of the type; the message says of which."""


class Reader:
    """Bytes from outside, read from the front. Raises BorshError."""

    def __init__(self, untrusted: bytes) -> None:
        self._untrusted = untrusted
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._untrusted):
            raise BorshError(f"{len(self._untrusted)} bytes are too few")
        taken = self._untrusted[self._at : end]
        self._at = end
        return taken

    @property
    def left(self) -> int:
        return len(self._untrusted) - self._at


@dataclass(frozen=True, slots=True)
class Form:
    """A type: how it is written and read; ``size`` in bytes, None where it varies."""

    size: int | None
    write: Callable[[Value], bytes]
    read: Callable[[Reader], Value]


def form_of(spec: object, named: Mapping[str, Form]) -> Form:
    """The form of a type as an IDL writes it. Raises BorshError for one that is not known."""
    match spec:
        case "bool":
            return Form(1, _write_bool, _read_bool)
        case "publicKey" | "pubkey":
            return Form(_ADDRESS_BYTES, bytes, lambda reader: Pubkey(reader.take(_ADDRESS_BYTES)))
        case "string":
            return Form(None, _write_text, _read_text)
        case "bytes":
            return Form(None, _write_bytes, _read_bytes)
        case str() if spec in _INTEGERS:
            return _integer(spec, *_INTEGERS[spec])
        case {"defined": str(name)} if name in named:
            return named[name]
        case {"array": ["u8", int(count)]}:
            return _fixed_bytes(count)
        case {"array": [element, int(count)]}:
            return _array(form_of(element, named), count)
        case {"vec": element}:
            return _vector(form_of(element, named))
    raise BorshError(f"{spec!r} is not a type that is known here")


def struct_form(fields: Sequence[tuple[str, Form]]) -> Form:
    """Named fields one after the other; the value is a dict."""

    def write(value: Value) -> bytes:
        unknown = set(value) - {name for name, _ in fields}
        missing = {name for name, _ in fields} - set(value)
        if unknown or missing:
            raise BorshError(f"fields missing: {sorted(missing)}, unknown: {sorted(unknown)}")
        return b"".join(_named(name, form, value[name]) for name, form in fields)

    def read(reader: Reader) -> Value:
        return {name: form.read(reader) for name, form in fields}

    return Form(_total([form.size for _, form in fields]), write, read)


def _named(name: str, form: Form, value: Value) -> bytes:
    try:
        return form.write(value)
    except (BorshError, TypeError, ValueError) as fault:
        raise BorshError(f"{name}: {fault}") from None


def _total(sizes: Sequence[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _integer(name: str, size: int, signed: bool) -> Form:
    def write(value: Value) -> bytes:
        if type(value) is not int:
            raise BorshError(f"{value!r} is not an integer")
        try:
            return value.to_bytes(size, "little", signed=signed)
        except OverflowError:
            raise BorshError(f"{value} does not fit into {name}") from None

    return Form(
        size, write, lambda reader: int.from_bytes(reader.take(size), "little", signed=signed)
    )


def _fixed_bytes(count: int) -> Form:
    def write(value: Value) -> bytes:
        if not isinstance(value, bytes) or len(value) != count:
            raise BorshError(f"{count} bytes are needed")
        return value

    return Form(count, write, lambda reader: reader.take(count))


def _array(element: Form, count: int) -> Form:
    def write(value: Value) -> bytes:
        if len(value) != count:
            raise BorshError(f"{count} values are needed, there are {len(value)}")
        return b"".join(element.write(each) for each in value)

    size = None if element.size is None else element.size * count
    return Form(size, write, lambda reader: tuple(element.read(reader) for _ in range(count)))


def _vector(element: Form) -> Form:
    def write(value: Value) -> bytes:
        return len(value).to_bytes(4, "little") + b"".join(element.write(each) for each in value)

    def read(reader: Reader) -> Value:
        count = int.from_bytes(reader.take(4), "little")
        if count > reader.left or count > MAX_TEXT_BYTES:
            raise BorshError(f"a vector of {count} values is too long")
        return tuple(element.read(reader) for _ in range(count))

    return Form(None, write, read)


def _write_bool(value: Value) -> bytes:
    if type(value) is not bool:
        raise BorshError(f"{value!r} is neither true nor false")
    return bytes((value,))


def _read_bool(reader: Reader) -> bool:
    (byte,) = reader.take(1)
    if byte > 1:
        raise BorshError(f"{byte} is neither true nor false")
    return bool(byte)


def _write_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes) or len(value) > MAX_TEXT_BYTES:
        raise BorshError(f"at most {MAX_TEXT_BYTES} bytes are needed")
    return len(value).to_bytes(4, "little") + value


def _read_bytes(reader: Reader) -> bytes:
    count = int.from_bytes(reader.take(4), "little")
    if count > MAX_TEXT_BYTES:
        raise BorshError(f"{count} bytes are too many")
    return reader.take(count)


def _write_text(value: Value) -> bytes:
    return _write_bytes(value.encode())


def _read_text(reader: Reader) -> str:
    try:
        return _read_bytes(reader).decode()
    except UnicodeDecodeError:
        raise BorshError("a string is not UTF-8") from None

"""Reading and writing the small DAG-CBOR maps that signed and stored forms are made of.

``Fields`` checks what came from outside field by field; every field is asked for exactly once
and a field that nobody asked for is refused, so that a form has one meaning only.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TypeGuard

from hausd.core.cid import CID, Codec
from hausd.core.dagcbor import Value
from hausd.core.ids import RoomId, SessionId, parse_room_id
from hausd.core.media import Kind, Rendition

MAX_INT = 2**53 - 1
"""Largest integer in a form (but a session's nonce): what every language reads exactly."""
MAX_RENDITIONS = 16
"""Most renditions that a room may have."""

MAX_TIME_MS = 253_402_300_799_000
"""The last second of the year 9999: what a date in a playlist can say."""
MAX_SEGMENT = 10**12 - 1
"""Largest number of an archive segment: 12 digits, which stores have for a file's name."""
RENDITION_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
"""Lower case only: it names a folder, also where a file system does not tell the cases apart."""

# Codec strings go into playlists, so nothing that could end a quoted string.
_CODECS = re.compile(r"[A-Za-z0-9.,_-]{0,64}")


def is_uint(value: object, least: int = 0, most: int = MAX_INT) -> TypeGuard[int]:
    """Whether this is an integer within the bounds (True and False are none)."""
    return type(value) is int and least <= value <= most


class FormError(ValueError):
    """A form is not what its schema says; the message names form and field."""


class Fields:
    """A map from outside, read field by field; every method raises FormError."""

    def __init__(self, untrusted: Value, what: str) -> None:
        if not isinstance(untrusted, dict):
            raise FormError(f"{what} is not a map")
        self._left = dict(untrusted)
        self._what = what

    def fault(self, name: str, right: str) -> FormError:
        """What to raise for a field: ``right`` says what it would have to be."""
        return FormError(f"{self._what}.{name} is not {right}")

    def take(self, name: str) -> Value:
        """A field of any kind."""
        if name not in self._left:
            raise FormError(f"{self._what} has no {name}")
        return self._left.pop(name)

    def has(self, name: str) -> bool:
        """Whether an optional field is there and was not taken yet."""
        return name in self._left

    def uint(self, name: str, least: int = 0, most: int = MAX_INT) -> int:
        """An integer within the bounds given."""
        value = self.take(name)
        if not is_uint(value, least, most):
            raise self.fault(name, f"an integer from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.take(name)
        if not isinstance(value, bool):
            raise self.fault(name, "true or false")
        return value

    def blob(self, name: str, size: int) -> bytes:
        """Exactly ``size`` bytes."""
        value = self.take(name)
        if not isinstance(value, bytes) or len(value) != size:
            raise self.fault(name, f"a byte string of {size}")
        return value

    def text(self, name: str, form: re.Pattern[str]) -> str:
        """Text that has the form given as a whole."""
        value = self.take(name)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise self.fault(name, f"text like {form.pattern}")
        return value

    def link(self, name: str, codec: Codec | None = None) -> CID:
        """A CID, of blocks of the codec given."""
        value = self.take(name)
        if not isinstance(value, CID) or (codec is not None and value.codec is not codec):
            raise self.fault(name, "a link" if codec is None else f"a link to a {codec.name} block")
        return value

    def items(self, name: str, most: int, least: int = 0) -> list[Value]:
        """A list within the length given."""
        value = self.take(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise self.fault(name, f"a list of {least} to {most}")
        return value

    def version(self) -> None:
        """The field ``v``, which is 1."""
        if not is_uint(self.take("v"), 1, 1):
            raise FormError(f"{self._what} is of a version that is not known here")

    def room(self) -> RoomId:
        """The field ``room``."""
        value = self.take("room")
        try:
            return parse_room_id(value if isinstance(value, str) else "")
        except ValueError:
            raise self.fault("room", "a room id") from None

    def segment(self, name: str) -> int:
        """The number of an archive segment, which is also a file's name."""
        return self.uint(name, 0, MAX_SEGMENT)

    def rendition_name(self, name: str = "rendition") -> str:
        """The name of a rendition, which is also a folder's name and part of URLs."""
        return self.text(name, RENDITION_NAME)

    def session(self, name: str = "session") -> SessionId:
        """A session, ``[counter, nonce]``."""
        return read_session(self.take(name), f"{self._what}.{name}")

    def done(self) -> None:
        """Refuses what is left."""
        if self._left:
            raise FormError(f"{self._what} has a field {min(self._left)!r} that is not known here")


def session_form(session: SessionId) -> list[int]:
    """A session as it is stored and signed."""
    return [session.counter, session.nonce]


def read_session(untrusted: Value, what: str) -> SessionId:
    """Reads a session; raises FormError."""
    if isinstance(untrusted, list) and len(untrusted) == 2:
        counter, nonce = untrusted
        if is_uint(counter) and is_uint(nonce, most=2**64 - 1):
            return SessionId(counter, nonce)
    raise FormError(f"{what} is not a session, [counter, 64-bit nonce]")


def rendition_form(rendition: Rendition) -> dict[str, object]:
    """A rendition as it is stored and signed. Fields that say nothing are left out."""
    form: dict[str, object] = {
        "name": rendition.name,
        "kind": rendition.kind.value,
        "codecs": rendition.codecs,
        "timescale": rendition.timescale,
    }
    optional = {
        "bandwidth": rendition.bandwidth_bps,
        "width": rendition.width,
        "height": rendition.height,
        "sampleRate": rendition.sample_rate_hz,
        "channels": rendition.channels,
        "captions": rendition.closed_captions,
    }
    form |= {name: value for name, value in optional.items() if value}
    if rendition.frame_rate is not None:
        form["frameRate"] = [rendition.frame_rate.numerator, rendition.frame_rate.denominator]
    return form


def read_rendition(untrusted: Value, what: str = "rendition") -> Rendition:
    """Reads a rendition; raises FormError."""
    fields = Fields(untrusted, what)
    made = Rendition(
        name=fields.rendition_name("name"),
        kind=Kind(fields.text("kind", _KIND)),
        codecs=fields.text("codecs", _CODECS),
        timescale=fields.uint("timescale", 1, 1 << 32),
        bandwidth_bps=_optional(fields, "bandwidth", 1 << 40),
        width=_optional(fields, "width", 1 << 16),
        height=_optional(fields, "height", 1 << 16),
        frame_rate=_frame_rate(fields),
        sample_rate_hz=_optional(fields, "sampleRate", 1 << 24),
        channels=_optional(fields, "channels", 1 << 8),
        closed_captions=fields.has("captions") and _captions(fields),
    )
    fields.done()
    return made


_KIND = re.compile("|".join(kind.value for kind in Kind))


def _optional(fields: Fields, name: str, most: int) -> int:
    return fields.uint(name, 1, most) if fields.has(name) else 0


def _captions(fields: Fields) -> bool:
    if not fields.flag("captions"):
        raise fields.fault("captions", "true, or left out")
    return True


def _frame_rate(fields: Fields) -> Fraction | None:
    if not fields.has("frameRate"):
        return None
    match fields.take("frameRate"):
        case [int(above), int(below)] if is_uint(above, 1, 2**32) and is_uint(below, 1, 2**32):
            rate = Fraction(above, below)
            if rate.denominator == below:
                return rate
    raise fields.fault("frameRate", "a fraction in lowest terms, [numerator, denominator]")

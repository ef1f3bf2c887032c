"""Bits of what codecs say of themselves."""

from __future__ import annotations


class BadRecord(ValueError):
    """A codec's configuration record makes no sense; the message says where."""


class Bits:
    """Reads bits, most significant first; raises BadRecord at the end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = len(data) * 8

    def bits(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise BadRecord("a parameter set is cut short")
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        return bool(self.bits(1))

    def ue(self) -> int:
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > 32:
                raise BadRecord("a parameter set has a number of more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros) if zeros else 0

    def se(self) -> int:
        value = self.ue()
        return (value + 1) // 2 if value & 1 else -(value // 2)

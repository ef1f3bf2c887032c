"""What own events' stream authorities have left to pay checkpoints with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from solders.pubkey import Pubkey

from hausd.chain.metrics import BUDGET
from hausd.chain.service import ChainService
from hausd.core.event_shapes import BudgetShape
from hausd.core.ids import RoomId
from hausd.core.programs.messages import LAMPORTS_PER_SIGNATURE
from hausd.rooms.origin_room import OriginRoom

_LITTLE = 50
"""Checkpoints that are left when the artist is told."""
_KEPT = 890_880
"""Lamports that an account has to keep. Source: Solana's rent exemption of an empty account."""


@dataclass(slots=True)
class _Purse:
    authority: Pubkey
    lamports: int
    fee: int = LAMPORTS_PER_SIGNATURE

    @property
    def checkpoints(self) -> int:
        return max(0, self.lamports - _KEPT) // max(1, self.fee)


@dataclass(slots=True)
class Budgets:
    """By room. What was read last counts until it is read again."""

    chain: ChainService
    _purses: dict[RoomId, _Purse] = field(default_factory=dict)
    _short: set[RoomId] = field(default_factory=set)

    async def look(self, rooms: Sequence[OriginRoom]) -> None:
        """Reads those of these rooms. Raises Problem; then what is not read stays as it was."""
        for room in rooms:
            if room.event is None:
                continue
            authority = Pubkey.from_bytes(room.event.authority.raw)
            lamports = await self.chain.balance(authority)
            fee = self._purses[room.id].fee if room.id in self._purses else LAMPORTS_PER_SIGNATURE
            self._purses[room.id] = purse = _Purse(authority, lamports, fee)
            self._tell(room, purse)
        for gone in self._purses.keys() - {room.id for room in rooms}:
            del self._purses[gone]
            self._short.discard(gone)
        BUDGET.set(min((purse.checkpoints for purse in self._purses.values()), default=math.inf))

    def paid(self, room: RoomId, fee: int | None) -> None:
        """Something was told the chain at this fee, in lamports."""
        purse = self._purses.get(room)
        if purse is not None and fee:
            purse.lamports, purse.fee = purse.lamports - fee, fee

    def left(self, room: RoomId) -> int | None:
        """Checkpoints that a room's budget still pays; None where that is not known."""
        purse = self._purses.get(room)
        return purse.checkpoints if purse is not None else None

    def shapes(self) -> list[BudgetShape]:
        """As the operator is shown them."""
        return [
            BudgetShape(
                room=room,
                authority=str(purse.authority),
                lamports=str(purse.lamports),
                checkpoints=purse.checkpoints,
            )
            for room, purse in self._purses.items()
        ]

    def _tell(self, room: OriginRoom, purse: _Purse) -> None:
        if purse.checkpoints > _LITTLE:
            self._short.discard(room.id)
        elif room.id not in self._short:
            self._short.add(room.id)
            room.notice(
                "checkpoint-budget",
                f"The budget pays {purse.checkpoints} more checkpoints. "
                f"Send some SOL to {purse.authority}, which signs and pays for them.",
            )

"""What is left of a budget is said when it is little, once."""

from __future__ import annotations

from dataclasses import dataclass, field

from solders.pubkey import Pubkey

from hausd.budgets import Budgets
from hausd.core.events import EventState, RoomEvent
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey

KEPT, FEE = 890_880, 5_000
KEY = SigningKey(bytes(range(32))).public
EVENT = RoomEvent(RoomId("x"), b"", 1, EventState.LIVE, "A show", "an artist", KEY, 1, 0, 0)


@dataclass
class Purse:
    """A chain on which one account has so much."""

    lamports: int

    async def balance(self, at: Pubkey) -> int:
        assert bytes(at) == KEY.raw
        return self.lamports


@dataclass
class Room:
    id: RoomId = EVENT.room
    event: RoomEvent | None = EVENT
    told: list[str] = field(default_factory=list)

    def notice(self, code: str, text: str) -> None:
        self.told.append(text)


async def test_what_an_account_has_to_keep_pays_no_checkpoint() -> None:
    chain, room = Purse(KEPT + 100 * FEE), Room()
    budgets = Budgets(chain)  # type: ignore[arg-type] # all that it asks of a chain
    assert budgets.left(room.id) is None
    await budgets.look([room])  # type: ignore[list-item] # all that it asks of a room
    assert budgets.left(room.id) == 100
    budgets.paid(room.id, 2 * FEE)
    assert budgets.left(room.id) == 49, "the next cost what the last did"
    assert not room.told


async def test_who_has_little_left_is_told_so_once_until_there_is_more() -> None:
    chain, room = Purse(KEPT + 20 * FEE), Room()
    budgets = Budgets(chain)  # type: ignore[arg-type] # all that it asks of a chain
    for lamports in (20, 10, 5):
        chain.lamports = KEPT + lamports * FEE
        await budgets.look([room])  # type: ignore[list-item] # all that it asks of a room
    assert len(room.told) == 1
    assert "20 more checkpoints" in room.told[0]
    for lamports in (100, 3):
        chain.lamports = KEPT + lamports * FEE
        await budgets.look([room])  # type: ignore[list-item] # all that it asks of a room
    assert len(room.told) == 2
    (shape,) = budgets.shapes()
    assert (shape.checkpoints, shape.lamports) == (3, str(KEPT + 3 * FEE))
    await budgets.look([])
    assert budgets.shapes() == []

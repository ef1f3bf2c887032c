"""What the exchange needs of the node's rooms, as Protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hausd.core.cid import CID
from hausd.core.following import Ask, Told
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.policy.uploads import ORIGIN_COPIES


class SharedRoom(Protocol):
    """A room, as far as other nodes may have it."""

    @property
    def state(self) -> RoomState: ...

    @property
    def is_origin(self) -> bool:
        """Whether the stream begins here."""

    @property
    def premium(self) -> bool:
        """Whether it goes before others."""

    @property
    def most_bytes_per_s(self) -> float | None:
        """What may be sent of it; None where only the node's budget bounds it."""

    @property
    def copy_bytes_per_s(self) -> float:
        """What sending all renditions once takes, measured."""

    @property
    def card(self) -> bytes | None:
        """Its newest card as its authority signed it."""

    def tell(self, ask: Ask) -> Told:
        """The statements that were asked for, as they are signed."""

    async def leaf(self, cid: CID, *, may_wait: bool) -> bytes | memoryview | None:
        """A block's bytes; None where it is not here. ``may_wait``: nor on its way here.

        The caller owns the deadline.
        """


class Shared(Protocol):
    """The rooms that this node takes part in."""

    def shared(self, room: RoomId) -> SharedRoom | None: ...


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """What may be sent, in bytes a second, all rooms together.

    ``copies``: the most of a room that begins here; of others as many as the bytes allow.
    """

    bytes_per_s: float = 125_000_000.0
    copies: float = ORIGIN_COPIES

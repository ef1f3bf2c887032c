"""What ingest needs of the rest of the node, as Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from hausd.core.ids import RoomId
from hausd.core.publishing import FeedOver, Publisher, Refused
from hausd.wire.flv import Tag

__all__ = ["Feed", "FeedOver", "Publisher", "Publishing", "Refused"]


class Feed(Protocol):
    """One publisher's way into a room."""

    @property
    def next_tag_ms(self) -> int | None:
        """Time of the tag that the room waits for: those before it are in no hurry. May be asked
        by any thread; None where every tag is wanted as it comes."""

    def offer(self, tags: Sequence[Tag]) -> bool:
        """Hands tags on without waiting, from any thread; False where none of them was taken.

        One thread at a time, and never beside ``send``, which is for those not taken. Raises
        FeedOver.
        """

    async def send(self, tags: Sequence[Tag]) -> None:
        """Hands tags on, in order; waits while the room is busy. Raises FeedOver."""

    async def wait_over(self) -> str:
        """Returns when the room wants this publisher gone (superseded, closed), with the reason."""

    def close_because(self, reason: str) -> None:
        """Notes why the publisher is about to leave; ``rooms show`` tells it."""


class Publishing(Protocol):
    """The rooms, as a publisher sees them."""

    def admit(self, untrusted_key: str) -> RoomId | Refused:
        """Finds the room a stream key belongs to; compares in constant time."""

    def publish(self, room: RoomId, publisher: Publisher) -> AbstractAsyncContextManager[Feed]:
        """Takes the room over for this publisher, ending a session that was there."""

"""What the admin socket needs of the chain, as a Protocol. Every method may raise Problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hausd.core.chain_shapes import (
    AirdropShape,
    ChainShape,
    EventShape,
    MetadataShape,
    MintShape,
    NewEventShape,
    NewStreamShape,
    PlanShape,
    PlatformShape,
    SentShape,
    TicketShape,
    TipperShape,
    TipShape,
    WalletShape,
)
from hausd.core.ids import RoomId


class ChainPort(Protocol):
    """The configured chain. Wallets never come here: who has one signs elsewhere."""

    async def chain(self) -> ChainShape: ...

    async def platform(self) -> PlatformShape:
        """The configuration of the programs."""

    async def plan(self, untrusted_message: str, sizes: Sequence[int]) -> PlanShape:
        """Rehearses an unsigned message (base64); says what to sign it with, and its cost."""

    async def send(
        self, untrusted_transaction: str, last_valid_block_height: int, *, resumed: bool
    ) -> SentShape:
        """Sends a signed transaction (base64) until its fate is known."""

    async def airdrop(self, to: str, lamports: int) -> AirdropShape:
        """Gives from the embedded chain's faucet."""

    async def mint(self, untrusted: str) -> MintShape: ...

    async def wallet(self, untrusted: str) -> WalletShape:
        """What an address has: SOL, and tokens of every kind."""

    async def events(self, artist: str) -> Sequence[EventShape]:
        """Events, newest first; with their pots only when asked for one by one."""

    async def event(self, room: RoomId) -> EventShape: ...

    async def new_event(
        self, room: RoomId, title: str, description: str, starts: int, ends: int
    ) -> NewEventShape:
        """Makes the room and the metadata of an event that is about to be created."""

    async def new_stream(self, room: RoomId, title: str) -> NewStreamShape:
        """Makes the room of an event that is to be streamed from here."""

    async def metadata(
        self, room: RoomId, title: str, description: str, starts: int, ends: int, *, keep: bool
    ) -> MetadataShape:
        """The metadata of an event that is there, stored where it is to be kept."""

    async def tickets(self, room: str, holder: str) -> Sequence[TicketShape]: ...

    async def tipper(self, room: RoomId, tipper: str) -> TipperShape | None: ...

    async def tips(self, room: RoomId, limit: int) -> Sequence[TipShape]: ...

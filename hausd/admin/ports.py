"""What the admin socket needs of the rest of the node, as Protocols.

Every method may raise ``core.errors.Problem``; it becomes the answer's error.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from hausd.admin.chain_ports import ChainPort
from hausd.admin.keys import KeysPort
from hausd.core.ids import RoomId
from hausd.core.shapes import (
    CardShape,
    CheckShape,
    DiskShape,
    ExportShape,
    GcShape,
    OptionShape,
    PeerShape,
    PinShape,
    ReloadShape,
    RemotePinShape,
    RoomShape,
    StatusShape,
    VerifyShape,
    WatchShape,
)
from hausd.telemetry.progress import Progress

ExportFormat = Literal["unixfs", "car", "mp4"]


class NodeControl(Protocol):
    """The node, as its operator sees and steers it. Cancelling a call abandons its work."""

    @property
    def chain(self) -> ChainPort | None:
        """The chain; None where none is configured."""

    @property
    def keys(self) -> KeysPort | None:
        """Keys of gated rooms; None while the node starts."""

    async def status(self) -> StatusShape: ...

    async def rooms(self) -> Sequence[RoomShape]:
        """Every room, newest first, without stream keys."""

    async def room(self, room: RoomId) -> RoomShape:
        """One room with its stream key. Problem ``not-found``."""

    async def create_room(self, title: str, *, gated: bool = False) -> RoomShape:
        """A new room without an event, with its stream key."""

    async def free_room(
        self, room: RoomId, first_s: int | None, rendition: str | None, finalized: bool | None
    ) -> RoomShape:
        """Changes what of a gated room takes no ticket; None: stays as it is."""

    async def close_room(self, room: RoomId) -> RoomShape:
        """Ends a room for good; its publisher is let go."""

    async def follow_room(self, room: RoomId, peer: str, last_s: float | None) -> RoomShape:
        """Begins to follow another node's room; ``peer``: a multiaddr to connect with first.

        ``last_s``: of its recording, only the newest so many seconds are fetched.
        """

    async def watch_room(self, room: RoomId) -> WatchShape:
        """Where a room is watched here; opened, these URLs have the node join it."""

    async def unfollow_room(self, room: RoomId) -> RoomShape:
        """Follows a room no more."""

    async def peers(self) -> Sequence[PeerShape]:
        """The nodes that are connected."""

    async def cards(self, search: str) -> Sequence[CardShape]:
        """Rooms of other nodes that were heard of and have these words; live ones first."""

    async def connect_peer(self, address: str) -> PeerShape:
        """Connects with the node at a multiaddr with ``/p2p/ID``."""

    async def ban_peer(self, peer: str, for_s: float) -> None:
        """Disconnects a node and refuses it for a while."""

    async def export_room(
        self, room: RoomId, form: ExportFormat, path: Path | None, progress: Progress
    ) -> ExportShape:
        """A finished room in one piece; ``path`` (absolute) is where a CAR or MP4 is written."""

    async def pins(self) -> Sequence[PinShape]: ...

    async def add_pin(self, target: str, last_s: float | None, until: datetime | None) -> PinShape:
        """Pins a room or a CID, given as text that is not checked yet.

        ``last_s``: of a room, only its newest so many seconds. ``until``: when the pin ends.
        """

    async def remove_pin(self, target: str) -> None:
        """Problem ``not-found`` where nothing of that name is pinned."""

    async def push_pin(self, room: RoomId, to: str) -> Sequence[RemotePinShape]:
        """Has a finished room pinned elsewhere: at ``to``, or everywhere where that is empty."""

    async def remove_remote_pin(self, target: str, from_: str) -> None:
        """Has a room, or a CID, removed from a place that is not this node."""

    async def verify_pins(self, progress: Progress) -> VerifyShape:
        """Reads every pinned block again."""

    async def store_usage(self) -> DiskShape: ...

    async def store_verify(self, progress: Progress) -> VerifyShape:
        """Reads every block again; mends the index where files tell more."""

    async def store_gc(self, progress: Progress) -> GcShape:
        """Removes what is neither pinned nor in use."""

    async def config(self) -> Sequence[OptionShape]:
        """Every option as it is in force, secrets left out (``config.show.shown`` makes it)."""

    async def reload_config(self) -> ReloadShape:
        """Reads the configuration anew. Problem ``bad-config`` names every fault."""

    async def doctor(self) -> Sequence[CheckShape]:
        """What only the node itself can tell: its limits, listeners, sandbox, store."""

"""What HTTP needs of the rest of the node, as Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from hausd.core.cid import CID
from hausd.core.gating import Withheld
from hausd.core.ids import RoomId
from hausd.core.live import (
    ArchivePlaylist,
    FileRange,
    LivePlaylist,
    Media,
    RoomState,
    Variant,
)
from hausd.core.release import SignedIn
from hausd.core.shapes import RoomShape
from hausd.policy.playback import TurnedAway


class LiveView(Protocol):
    """The live edge of one rendition."""

    def playlist(self) -> LivePlaylist:
        """The newest snapshot; the same object until something changes."""

    async def changed(self, version: int) -> None:
        """Returns as soon as the playlist's version is not ``version`` any more."""

    def part(self, session: int, msn: int, part: int) -> Media | None:
        """A part that is in the window, by session counter, media sequence number and index."""

    def segment(self, session: int, msn: int) -> Media | None:
        """A complete live segment that is in the window."""

    def init(self, session: int, run: int) -> Media | None:
        """The init segment of a run."""


class Freedom(Protocol):
    """Of a gated room, whether anything takes no ticket."""

    @property
    def all(self) -> bool:
        """The recording is for everybody, for good."""

    def __bool__(self) -> bool: ...


class RoomView(Protocol):
    """One room, to be read."""

    @property
    def id(self) -> RoomId: ...

    @property
    def title(self) -> str: ...

    @property
    def state(self) -> RoomState: ...

    @property
    def recording(self) -> CID | None:
        """The finished recording's directory, as the room's event names it; None where it is not
        for everyone."""

    @property
    def gated(self) -> bool:
        """Whether watching takes a ticket, so that no answer may be kept or shared."""

    def withheld(self) -> Withheld | None:
        """Why what is live can't be watched at this node; None where it can."""

    @property
    def free(self) -> Freedom:
        """What of a gated room takes no ticket."""

    def free_now(self) -> frozenset[str]:
        """The renditions whose live edge is for everybody, in a gated room."""

    def free_recorded(self) -> frozenset[str]:
        """The renditions whose recording begins or ends with what is for everybody."""

    async def archive_withheld(self) -> Withheld | None:
        """Why neither begin nor end of some recorded rendition can be watched at this node; keys
        that are not here are asked for."""

    def shape(self) -> RoomShape:
        """As the API shows it to anyone: no stream key, no publisher's address."""

    def variants(self) -> Sequence[Variant]:
        """The renditions that can be played now; videos from best to least, then audio."""

    def live(self, rendition: str) -> LiveView | None: ...

    def archive_opened(self) -> bool:
        """Somebody asks for a playlist of the recording. Gives whether its beginning is on its way
        here only now."""

    def archive_variants(self) -> Sequence[Variant]: ...

    def archive(self, rendition: str) -> ArchivePlaylist | None: ...

    def archive_media(self, rendition: str, cid: CID) -> Media | None:
        """A segment or init of the archive by its CID."""

    def poster(self) -> Media | None:
        """Newest JPEG poster."""

    def storyboard(self) -> str | None:
        """WebVTT whose cues name sprites relative to ``/archive/<room>/storyboard.vtt``."""

    def sprite(self, name: str) -> Media | None: ...

    async def changed(self) -> None:
        """Returns at the next change of state or variants."""


class Catalog(Protocol):
    """Every room of this node."""

    def room(self, room: RoomId) -> RoomView | None: ...

    def rooms(self) -> Sequence[RoomView]: ...


class OnDemand(Protocol):
    """Rooms of other nodes, joined when they are asked for."""

    def admits(self, room: RoomId, untrusted_token: str) -> bool:
        """Whether the token is the one that lets this room be joined."""

    def missed(self, room: RoomId) -> bool:
        """Whether it was looked for just now, and nobody had it."""

    def full(self, room: RoomId) -> bool:
        """Whether no further room can be joined now."""

    async def join(self, room: RoomId) -> None:
        """Returns when the room is in the catalog, or nobody has it. May be cancelled."""


class Playback(Protocol):
    """Who watches gated rooms from elsewhere. Every ``async`` method may raise Problem."""

    @property
    def node(self) -> str:
        """What tells this node's cookies from those of others on the same host: a few letters and
        digits, always the same."""

    def owns(self, room: RoomId, untrusted_token: str) -> bool:
        """Whether the token is the one in the room's watch URL, which the node's owner has."""

    def look(
        self, room: RoomId, untrusted_token: str, address: str, agent: str
    ) -> TurnedAway | None:
        """Whether a playback token opens a room to a player at an address; None: it does."""

    async def checked(self, room: RoomId, untrusted_token: str) -> None:
        """Returns when the ticket behind a token has been looked up."""

    async def challenge(self, untrusted_room: str, wallet: str, address: str, host: str) -> str:
        """The text that a wallet is to sign; ``host`` as the Host field names this node."""

    async def sign_in(
        self, untrusted_text: str, untrusted_signature: str, address: str, host: str
    ) -> SignedIn:
        """A token for who signed; ``untrusted_signature`` is base58."""

    async def renew(self, room: RoomId, untrusted_token: str, address: str, agent: str) -> SignedIn:
        """A newer token in the place of one that still opens the room."""

    async def leave(self, room: RoomId, untrusted_token: str, address: str) -> None:
        """Signs out: the token, and all that were made from it, open nothing any more."""


class BlockReader(Protocol):
    """The block store, to be read."""

    def has(self, cid: CID) -> bool: ...

    def locate(self, cid: CID) -> FileRange | None:
        """Where a raw block, or the content of a UnixFS file, lies in one piece; else None."""

    async def block(self, cid: CID) -> bytes | None:
        """A block's verified bytes, or None where it is not here."""


class Audience(Protocol):
    """Is told what left the node, to count viewers and bytes."""

    def served(self, room: RoomId, viewer: str, size: int) -> None:
        """``viewer`` tells one player from another (address and user agent, hashed).

        It is empty where having sent this makes nobody a viewer (media, which caches fetch too).
        """

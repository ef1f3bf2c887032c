"""Opens what a gated room is made of, for who may watch at this node.

Ciphertext is what rooms hold, store and send; clear bytes are made when they are asked for, and a
few of them are kept in memory (``Opened``), never anywhere else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.gating import Epoch, EpochId, EpochKey, ObjectSeal, Withheld
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import ArchiveSegment, FileRange, Media, Sealed
from hausd.core.unixfs import BlockMissing, UnixFsError, spans
from hausd.rooms.metrics import SEALS_BROKEN
from hausd.rooms.packing import Leaf
from hausd.rooms.ports import BlockStore, Keyring
from hausd.wire.leafseal import (
    LeafCipher,
    ObjectCipher,
    ObjectClass,
    SealBroken,
    Stream,
    clear_size,
)

log = structlog.get_logger("hausd.rooms")

MAX_OPENED_BYTES = 32 * 1024 * 1024
"""Clear bytes kept, of all rooms of a node: some 40 s at 6 Mbit/s."""
_MAX_CIPHERS = 64
_ASK_S = 5.0
"""How long a request waits for a key that is asked for."""

_GONE = Withheld("not-here", "what is asked for is not in the store any more")
_BROKEN = Withheld("broken", "it does not open with the room's key: it is not what was sealed here")


class Opened:
    """The clear bytes that were asked for last, by the CID of what they were sealed in."""

    def __init__(self, max_bytes: int = MAX_OPENED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[tuple[RoomId, CID], bytes] = OrderedDict()
        self._bytes = 0

    def get(self, room: RoomId, cid: CID) -> bytes | None:
        """What was opened, if it is still here."""
        found = self._held.get((room, cid))
        if found is not None:
            self._held.move_to_end((room, cid))
        return found

    def put(self, room: RoomId, cid: CID, clear: bytes) -> None:
        """Keeps clear bytes until others need their place."""
        before = self._held.pop((room, cid), None)
        self._bytes += len(clear) - (len(before) if before is not None else 0)
        self._held[room, cid] = clear
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._held.popitem(last=False)[1])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed part is: its first leaf is number ``leaf`` of this archive segment."""

    epoch: EpochId
    segment: int
    leaf: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A sealed part, and where its bytes are."""

    place: Place
    size: int
    body: bytes | FileRange


@dataclass(slots=True)
class Opener:
    """One room's. ``epochs``: what was announced of them, so that keys can be checked."""

    room: RoomId
    store: BlockStore
    keyring: Keyring
    opened: Opened
    _epochs: OrderedDict[EpochId, Epoch] = field(default_factory=OrderedDict)
    _ciphers: OrderedDict[Stream, LeafCipher] = field(default_factory=OrderedDict)

    def learn(self, *epochs: Epoch) -> None:
        """Takes note of epochs that a signed statement or manifest names."""
        for epoch in epochs:
            self._epochs[epoch.id] = epoch
            self._epochs.move_to_end(epoch.id)
        while len(self._epochs) > _MAX_CIPHERS:
            self._epochs.popitem(last=False)

    # -- the live edge --

    def parts(
        self, cid: CID, kind: str, session: SessionId, rendition: str, pieces: Sequence[Piece]
    ) -> Media:
        """A part, or a live segment of several, opened at once where that takes no I/O."""
        size = sum(clear_size(piece.size) for piece in pieces)
        held = self.opened.get(self.room, cid)
        if held is not None:
            return Media(cid, kind, size, (held,))
        ids = {piece.place.epoch for piece in pieces}
        keys = {id_: key for id_ in ids if (key := self.keyring.get(self.room, id_)) is not None}
        in_memory = all(isinstance(piece.body, bytes) for piece in pieces)
        if in_memory and len(keys) == len(ids):
            bodies = [piece.body for piece in pieces if isinstance(piece.body, bytes)]
            clear = self._open_parts(session, rendition, pieces, bodies, keys)
            if isinstance(clear, bytes):
                self.opened.put(self.room, cid, clear)
                return Media(cid, kind, size, (clear,))

        async def open_() -> bytes | Withheld:
            keys = await self._keys(ids)
            if isinstance(keys, Withheld):
                return keys
            bodies = [await self._read(piece.body) for piece in pieces]
            found = [body for body in bodies if body is not None]
            if len(found) < len(bodies):
                return _GONE
            clear = await trio.to_thread.run_sync(
                self._open_parts, session, rendition, pieces, found, keys
            )
            if isinstance(clear, bytes):
                self.opened.put(self.room, cid, clear)
            return clear

        return Media(cid, kind, size, Sealed(open_))

    def _open_parts(
        self,
        session: SessionId,
        rendition: str,
        pieces: Sequence[Piece],
        bodies: Sequence[bytes],
        keys: dict[EpochId, EpochKey],
    ) -> bytes | Withheld:
        try:
            return b"".join(
                self._cipher(session, rendition, piece.place.epoch, keys).open(
                    piece.place.segment, piece.place.leaf, body
                )
                for piece, body in zip(pieces, bodies, strict=True)
            )
        except SealBroken:
            return self._broken(rendition)

    # -- the recording --

    def segment(
        self, kind: str, rendition: str, segment: ArchiveSegment, place: FileRange
    ) -> Media:
        """A recorded segment, which lies at ``place``."""
        seal = segment.seal
        assert seal is not None  # the room is gated
        self.learn(seal.epoch)
        held = self.opened.get(self.room, segment.cid)
        if held is not None:
            return Media(segment.cid, kind, len(held), (held,))
        id_ = seal.epoch.id

        async def open_() -> bytes | Withheld:
            keys = await self._keys({id_})
            if isinstance(keys, Withheld):
                return keys
            sizes = await self._leaf_sizes(segment.cid, place.length)
            content = await self._read(place)
            if content is None or sizes is None or sum(sizes) != len(content):
                return _GONE
            clear = await trio.to_thread.run_sync(
                self._open_leaves, rendition, segment, id_, sizes, content, keys
            )
            if isinstance(clear, bytes):
                self.opened.put(self.room, segment.cid, clear)
            return clear

        return Media(segment.cid, kind, segment.size, Sealed(open_))

    def _open_leaves(
        self,
        rendition: str,
        segment: ArchiveSegment,
        epoch: EpochId,
        sizes: Sequence[int],
        content: bytes,
        keys: dict[EpochId, EpochKey],
    ) -> bytes | Withheld:
        cipher, view = self._cipher(segment.session, rendition, epoch, keys), memoryview(content)
        clear: list[bytes] = []
        at = 0
        try:
            for leaf, size in enumerate(sizes):
                clear.append(cipher.open(segment.number, leaf, view[at : at + size]))
                at += size
        except SealBroken:
            return self._broken(rendition)
        return b"".join(clear)

    async def leaves(
        self, rendition: str, segment: ArchiveSegment, leaves: Sequence[Leaf]
    ) -> bytes | Withheld:
        """The clear bytes of a segment's first leaves."""
        seal = segment.seal
        assert seal is not None  # the room is gated
        self.learn(seal.epoch)
        keys = await self._keys({seal.epoch.id})
        if isinstance(keys, Withheld):
            return keys
        sizes = [len(leaf) for _, leaf in leaves]
        content = b"".join(leaf for _, leaf in leaves)
        return self._open_leaves(rendition, segment, seal.epoch.id, sizes, content, keys)

    async def _leaf_sizes(self, cid: CID, size: int) -> list[int] | None:
        """Of a segment's leaves, in order: parts begin anew with each."""
        try:
            return [span.size async for span in spans(cid, self.store.block)]
        except (UnixFsError, BlockMissing):
            return None

    # -- objects --

    def object(
        self, cid: CID, kind: str, of: ObjectClass, seal: ObjectSeal, body: bytes | FileRange
    ) -> Media:
        """An init or image; opened at once where that takes no I/O."""
        self.learn(seal.epoch)
        size = clear_size(len(body) if isinstance(body, bytes) else body.length)
        held = self.opened.get(self.room, cid)
        if held is not None:
            return Media(cid, kind, size, (held,))

        async def open_() -> bytes | Withheld:
            held = self.opened.get(self.room, cid)
            if held is not None:
                return held
            keys = await self._keys({seal.epoch.id})
            if isinstance(keys, Withheld):
                return keys
            content = await self._read(body)
            return self._open_object(cid, of, seal, content, keys) if content else _GONE

        return Media(cid, kind, size, Sealed(open_))

    def _open_object(
        self,
        cid: CID,
        of: ObjectClass,
        seal: ObjectSeal,
        content: bytes,
        keys: dict[EpochId, EpochKey],
    ) -> bytes | Withheld:
        id_ = seal.epoch.id
        try:
            clear = ObjectCipher(keys[id_], self.room, id_, of).open(seal.n, content)
        except SealBroken:
            return self._broken(of.value)
        self.opened.put(self.room, cid, clear)
        return clear

    # -- details --

    async def _read(self, body: bytes | FileRange) -> bytes | None:
        if isinstance(body, bytes):
            return body
        try:
            return await self.store.read_range(body)
        except OSError:
            return None

    async def _keys(self, ids: set[EpochId]) -> dict[EpochId, EpochKey] | Withheld:
        """The keys of these epochs, asked for where they are not here."""
        found: dict[EpochId, EpochKey] = {}
        for id_ in ids:
            key = self.keyring.get(self.room, id_)
            if key is None:
                epoch = self._epochs.get(id_)
                if epoch is None:
                    return Withheld("unknown-epoch", "no statement names the epoch that it is of")
                answer: EpochKey | Withheld = Withheld(
                    "try-later", "no key holder answered in time"
                )
                with trio.move_on_after(_ASK_S):
                    answer = await self.keyring.ask(self.room, epoch)
                if isinstance(answer, Withheld):
                    return answer
                key = answer
            found[id_] = key
        return found

    def _cipher(
        self, session: SessionId, rendition: str, epoch: EpochId, keys: dict[EpochId, EpochKey]
    ) -> LeafCipher:
        stream = Stream(self.room, session, rendition, epoch)
        cipher = self._ciphers.get(stream)
        if cipher is None:
            cipher = self._ciphers[stream] = LeafCipher(keys[epoch], stream)
            while len(self._ciphers) > _MAX_CIPHERS:
                self._ciphers.popitem(last=False)
        return cipher

    def _broken(self, what: str) -> Withheld:
        SEALS_BROKEN.inc()
        log.warning("seal-broken", room=self.room, of=what)
        return _BROKEN

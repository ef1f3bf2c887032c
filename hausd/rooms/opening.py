"""Opens what a gated room is made of, for who may watch at this node.

Ciphertext is what rooms hold, store and send; clear bytes are made when they are asked for, and a
few of them are kept in memory (``Opened``), never anywhere else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.gating import Epoch, EpochId, EpochKey, ObjectSeal, Use, UseKey, Withheld
from hausd.core.ids import RoomId, SessionId
from hausd.core.live import ArchiveSegment, FileRange, Flow, Media, Sealed
from hausd.core.media import LEAF_BYTES
from hausd.core.unixfs import BlockMissing, UnixFsError, spans
from hausd.rooms.flowing import Layout, NotOpened, Opening, flow, layout, look
from hausd.rooms.free import FreeKeys
from hausd.rooms.metrics import SEALS_BROKEN
from hausd.rooms.opened import Clear, Opened, size_of
from hausd.rooms.packing import Leaf
from hausd.rooms.ports import BlockStore, Keyring
from hausd.wire.leafseal import (
    SEAL_BYTES,
    LeafCipher,
    ObjectCipher,
    ObjectClass,
    SealBroken,
    Stream,
    clear_size,
    object_use,
    rendition_use,
)

log = structlog.get_logger("hausd.rooms")

_MAX_CIPHERS = 64
_MAX_LAYOUTS = 64
"""Segments whose leaves' sizes are kept in mind."""
_ASK_S = 5.0
"""How long a request waits for a key that is asked for."""

Keys = dict[EpochId, EpochKey | UseKey]

_GONE = Withheld("not-here", "what is asked for is not in the store any more")
_BROKEN = Withheld("broken", "it does not open with the room's key: it is not what was sealed here")


def _open_leaves(cipher: LeafCipher, segment: int, sizes: Sequence[int], content: bytes) -> Clear:
    """A segment's first leaves; empty where one does not open. May run in any thread."""
    view, at = memoryview(content), 0
    clear: list[bytes] = []
    try:
        for leaf, size in enumerate(sizes):
            clear += cipher.open_leaves(segment, leaf, view[at : at + size])
            at += size
    except SealBroken:
        return ()
    return tuple(clear)


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
    """One room's. ``epochs``: what was announced of them, so that keys can be checked. ``free``:
    the keys that are for everybody."""

    room: RoomId
    store: BlockStore
    keyring: Keyring
    opened: Opened
    free: FreeKeys = field(default_factory=FreeKeys)
    _epochs: OrderedDict[EpochId, Epoch] = field(default_factory=OrderedDict)
    _ciphers: OrderedDict[tuple[Stream, bool], tuple[EpochKey | UseKey, LeafCipher]] = field(
        default_factory=OrderedDict
    )
    _layouts: OrderedDict[CID, Layout] = field(default_factory=OrderedDict)

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
        ids, use = {piece.place.epoch for piece in pieces}, rendition_use(rendition)
        is_free = self._freedom(ids, use)
        held = self.opened.get(self.room, cid)
        if held is not None:
            return Media(cid, kind, size, held, is_free)
        keys = {id_: key for id_ in ids if (key := self._key(id_, use)) is not None}
        bodies = [piece.body for piece in pieces if isinstance(piece.body, bytes)]

        def opened(bodies: Sequence[bytes], keys: Keys) -> Clear:
            clear: list[bytes] = []
            for piece, body in zip(pieces, bodies, strict=True):
                at = piece.place
                cipher = self._cipher(session, rendition, at.epoch, keys)
                clear += cipher.open_leaves(at.segment, at.leaf, body)
            return tuple(clear)

        if len(bodies) == len(pieces) and len(keys) == len(ids):
            clear = self._kept(cid, rendition, lambda: opened(bodies, keys))
            if not isinstance(clear, Withheld):
                return Media(cid, kind, size, clear, is_free)

        async def open_(keys: Keys) -> Clear | Withheld:
            found = [body for piece in pieces if (body := await self._read(piece.body)) is not None]
            if len(found) < len(pieces):
                return _GONE
            return self._kept(cid, rendition, lambda: opened(found, keys))

        return Media(cid, kind, size, self._sealed(cid, ids, use, open_), is_free)

    # -- the recording --

    def segment(
        self, kind: str, rendition: str, segment: ArchiveSegment, place: FileRange
    ) -> Media:
        """A recorded segment, which lies at ``place``."""
        seal, cid = segment.seal, segment.cid
        assert seal is not None  # the room is gated
        self.learn(seal.epoch)
        ids, use = {seal.epoch.id}, rendition_use(rendition)
        is_free = self._freedom(ids, use)
        held = self.opened.get(self.room, cid)
        if held is not None:
            return Media(cid, kind, size_of(held), held, is_free)

        read, buffers = partial(self.store.reading, place), self.opened.buffers

        def flowing(keys: Keys, how: Layout) -> tuple[Opening, Flow]:
            cipher = self._cipher(segment.session, rendition, seal.epoch.id, keys)
            leaves = partial(cipher.open_into, segment.number)
            return leaves, flow(read, leaves, how, buffers, partial(self._broken, rendition))

        known, key = self._layouts.get(cid), self._key(seal.epoch.id, use)
        if (
            known is not None
            and key is not None
            and known.sealed == place.length
            and not self.opened.keeps(self.room, cid, known.clear)
        ):  # it opened before: nothing has to be waited for
            made = flowing({seal.epoch.id: key}, known)[1]
            return Media(cid, kind, known.clear, made, is_free)

        async def open_(keys: Keys) -> Clear | Flow | Withheld:
            how = known or await self._layout(cid)
            if how is None or how.sealed != place.length:
                return _GONE
            leaves, made = flowing(keys, how)
            try:
                if known is None:
                    await look(read, leaves, how, buffers)
                    self._know(cid, how)
                if not self.opened.keeps(self.room, cid, how.clear):
                    return made
                async with self.opened.alone(self.room, cid):
                    held = self.opened.get(self.room, cid)
                    if held is not None:
                        return held
                    clear = await made.whole()
                    self.opened.put(self.room, cid, clear)
                    return clear
            except SealBroken:
                return self._broken(rendition)
            except NotOpened:
                return _BROKEN
            except OSError:
                return _GONE

        sealed = self._sealed(cid, ids, use, open_)
        return Media(cid, kind, segment.size, sealed, is_free)

    async def leaves(
        self, rendition: str, segment: ArchiveSegment, leaves: Sequence[Leaf]
    ) -> bytes | Withheld:
        """The clear bytes of a segment's first leaves."""
        seal = segment.seal
        assert seal is not None  # the room is gated
        self.learn(seal.epoch)
        keys = await self._keys({seal.epoch.id}, rendition_use(rendition))
        if isinstance(keys, Withheld):
            return keys
        sizes = [len(leaf) for _, leaf in leaves]
        content = b"".join(leaf for _, leaf in leaves)
        cipher = self._cipher(segment.session, rendition, seal.epoch.id, keys)
        clear = _open_leaves(cipher, segment.number, sizes, content)
        return b"".join(clear) if clear else self._broken(rendition)

    async def _layout(self, cid: CID) -> Layout | None:
        """Of a segment's leaves: parts begin anew with each."""
        try:
            sizes = [span.size async for span in spans(cid, self.store.block)]
        except (UnixFsError, BlockMissing):
            return None
        if not sizes or not all(SEAL_BYTES <= size <= LEAF_BYTES for size in sizes):
            return None  # a gated segment never has others
        return layout(sizes)

    def _know(self, cid: CID, how: Layout) -> None:
        self._layouts[cid] = how
        if len(self._layouts) > _MAX_LAYOUTS:
            self._layouts.popitem(last=False)

    async def withheld(self, rendition: str, epoch: Epoch) -> Withheld | None:
        """Why a rendition does not open in an epoch, whose key is asked for; None: it does."""
        self.learn(epoch)
        keys = await self._keys({epoch.id}, rendition_use(rendition))
        return keys if isinstance(keys, Withheld) else None

    # -- objects --

    def object(
        self, cid: CID, kind: str, of: ObjectClass, seal: ObjectSeal, body: bytes | FileRange
    ) -> Media:
        """An init or image, opened when it is asked for."""
        self.learn(seal.epoch)
        id_, use = seal.epoch.id, object_use(of)
        size = clear_size(len(body) if isinstance(body, bytes) else body.length)

        async def open_(keys: Keys) -> Clear | Withheld:
            content = await self._read(body)
            if content is None:
                return _GONE
            cipher = ObjectCipher(keys[id_], self.room, id_, of)
            return self._kept(cid, of.value, lambda: (cipher.open(seal.n, content),))

        sealed = self._sealed(cid, {id_}, use, open_)
        return Media(cid, kind, size, sealed, self._freedom({id_}, use))

    # -- details --

    def _sealed(
        self,
        cid: CID,
        ids: set[EpochId],
        use: Use,
        open_: Callable[[Keys], Awaitable[Clear | Flow | Withheld]],
    ) -> Sealed:
        async def opened() -> Clear | Flow | Withheld:
            held = self.opened.get(self.room, cid)
            if held is not None:
                return held
            keys = await self._keys(ids, use)
            if isinstance(keys, Withheld):
                return keys
            async with self.opened.slots:
                return self.opened.get(self.room, cid) or await open_(keys)

        return Sealed(opened)

    def _kept(self, cid: CID, what: str, opened: Callable[[], Clear]) -> Clear | Withheld:
        try:
            clear = opened()
        except SealBroken:
            return self._broken(what)
        self.opened.put(self.room, cid, clear)
        return clear

    async def _read(self, body: bytes | FileRange) -> bytes | None:
        if isinstance(body, bytes):
            return body
        try:
            return await self.store.read_range(body)
        except OSError:
            return None

    def _freedom(self, ids: set[EpochId], use: Use) -> Callable[[], bool]:
        """Whether everybody may open what is sealed in these epochs, whenever that is asked."""
        return lambda: all(self._is_free(id_, use) for id_ in ids)

    def _is_free(self, id_: EpochId, use: Use) -> bool:
        if not self.free.opens(id_, use):
            return False
        own = self._held(id_)
        return own is None or self.free.agrees(self.room, id_, use, own)

    def _key(self, id_: EpochId, use: Use) -> EpochKey | UseKey | None:
        """A key that is here."""
        key = self._held(id_)
        return key if key is not None else self.free.key(self.room, id_, use, self._epochs.get(id_))

    def _held(self, id_: EpochId) -> EpochKey | None:
        """A key of the room's that is here; the epoch's, as far as that is known."""
        epoch = self._epochs.get(id_)
        if epoch is None:
            return self.keyring.get(self.room, id_)
        return self.keyring.held(self.room, epoch)

    async def _keys(self, ids: set[EpochId], use: Use) -> Keys | Withheld:
        """The keys of these epochs, asked for where they are not here."""
        found: Keys = {}
        for id_ in ids:
            key = self._key(id_, use)
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

    def _cipher(self, session: SessionId, rendition: str, epoch: EpochId, keys: Keys) -> LeafCipher:
        stream = Stream(self.room, session, rendition, epoch)
        key = keys[epoch]
        at = stream, isinstance(key, UseKey)
        made, cipher = self._ciphers.get(at, (None, None))
        if cipher is None or made != key:  # a wrong one was imported, and made way
            cipher = LeafCipher(key, stream)
            self._ciphers[at] = key, cipher
            while len(self._ciphers) > _MAX_CIPHERS:
                self._ciphers.popitem(last=False)
        return cipher

    def _broken(self, what: str) -> Withheld:
        SEALS_BROKEN.inc()
        log.warning("seal-broken", room=self.room, of=what)
        return _BROKEN

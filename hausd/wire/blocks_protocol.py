"""``/haus/blocks/1``: pipelined requests for blocks on one stream, sans-IO, both sides.

The asker opens the stream and writes wants and cancels; the answerer writes blocks, *none* and
*busy*. Requests may overlap, and their blocks are answered in any order, each as soon as it is
there. **Every block asked for is answered exactly once**, unless it was cancelled; so either side
knows at any time what is open, and a peer that answers what nobody asked is found out at once.

A want may *wait*: the answerer holds it until the block is there or the time is over. Whether it
does is decided by ``policy.hops``, which needs to know how far from the origin the asker is. The
bytes are in ``schema.cddl``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hausd.core.cid import CID, CIDError, Codec
from hausd.core.dagcbor import MAX_BLOCK_BYTES, Value
from hausd.core.following import Priority as Priority
from hausd.core.forms import is_uint
from hausd.core.ids import RoomId, parse_room_id
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import GIVES_NOTHING, MAX_GIVES, MAX_HOPS, Gives, PeerAddress
from hausd.wire.frames import FrameReader, ProtocolError, frame
from hausd.wire.naming import peers_form, read_peers

PROTOCOL = "/haus/blocks/1"
MAX_BLOCKS = 64
"""Most blocks of one want: 8 MiB of leaves."""
MAX_OPEN_WANTS = 64
MAX_OPEN_BLOCKS = 256
"""Most unanswered wants, and blocks of them, on one stream."""
MAX_WAIT_MS = 10_000
MAX_WANT_BYTES = 4096
MAX_ANSWER_BYTES = 12 * 1024

_CID_BYTES = 36


@dataclass(frozen=True, slots=True)
class Want:
    """Asks for blocks. ``wait_ms`` 0: answer at once with what is here.

    ``hops``: how far from the origin the asker would be with the answerer as its parent.
    ``gives``: what the asker can send on of this room.
    """

    room: RoomId
    cids: tuple[CID, ...]
    wait_ms: int = 0
    hops: int = MAX_HOPS
    priority: Priority = Priority.LIVE
    gives: Gives = GIVES_NOTHING


# ---- what the answerer gets ----


@dataclass(frozen=True, slots=True)
class Wanted:
    """A want came; it has this number on its stream."""

    id: int
    want: Want


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The asker has no more use for these blocks of a want: they must not be answered any more.

    ``reply`` is to be written, before anything else is.
    """

    id: int
    indexes: tuple[int, ...]
    reply: bytes


# ---- what the asker gets ----


@dataclass(frozen=True, slots=True)
class Block:
    """A block, its bytes checked against its CID. ``hops``: the answerer's from the origin."""

    id: int
    cid: CID
    data: bytes
    hops: int


@dataclass(frozen=True, slots=True)
class Wrong:
    """The peer sent bytes that are not the block's: it lies, or its disk does."""

    id: int
    cid: CID


@dataclass(frozen=True, slots=True)
class NotHave:
    """The block is not there, or was not in time. ``hops``: the answerer's from the origin."""

    id: int
    cid: CID
    hops: int


@dataclass(frozen=True, slots=True)
class Busy:
    """No upload to spare for these blocks. ``untrusted_peers`` have, it says, had it from it."""

    id: int
    cids: tuple[CID, ...]
    untrusted_peers: tuple[PeerAddress, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """Cancelled blocks of this want will not come any more."""

    id: int


Answer = Block | Wrong | NotHave | Busy | Gone


@dataclass(slots=True)
class _Open:
    """A want that is not answered in full. ``left``: its unanswered blocks by index."""

    cids: tuple[CID, ...]
    left: set[int]
    cancelled: set[int] = field(default_factory=set)
    """Asker only: cancelled, and the answerer has not said yet that it knows."""
    cancels: int = 0


class BlocksAsker:
    """The side that opened the stream."""

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_ANSWER_BYTES, MAX_BLOCK_BYTES)
        self._open: dict[int, _Open] = {}
        self._next = 0
        self._blocks = 0

    @property
    def open_blocks(self) -> int:
        """How many blocks are asked for and not answered, cancelled ones among them."""
        return self._blocks

    def is_open(self, number: int) -> bool:
        """Whether answers to this want can still come."""
        return number in self._open

    def room_for(self, blocks: int) -> bool:
        """Whether a want of so many blocks may be sent now."""
        return (
            0 < blocks <= MAX_BLOCKS
            and len(self._open) < MAX_OPEN_WANTS
            and self._blocks + blocks <= MAX_OPEN_BLOCKS
        )

    def want(self, want: Want) -> tuple[int, bytes]:
        """The number and the bytes of a want; raises ValueError where ``room_for`` says no."""
        if not self.room_for(len(want.cids)) or not 0 <= want.wait_ms <= MAX_WAIT_MS:
            raise ValueError("too many blocks are open on this stream, or too long a wait")
        number = self._next
        self._next += 1
        self._open[number] = _Open(want.cids, set(range(len(want.cids))))
        self._blocks += len(want.cids)
        gives = want.gives
        head: list[object] = [
            "want",
            number,
            want.room,
            int(want.priority),
            want.wait_ms,
            min(want.hops, MAX_HOPS),
            [min(each, MAX_GIVES) for each in (gives.slots, gives.free, gives.taken)],
            b"".join(map(bytes, want.cids)),
        ]
        return number, frame(head)

    def cancel(self, number: int, cids: Sequence[CID] | None = None) -> bytes:
        """Withdraws blocks of a want, all where none are named; nothing where none is open."""
        one = self._open.get(number)
        if one is None:
            return b""
        withdrawn = sorted(
            at for at in one.left - one.cancelled if cids is None or one.cids[at] in cids
        )
        if not withdrawn:
            return b""
        one.cancelled.update(withdrawn)
        one.cancels += 1
        return frame(["cancel", number, withdrawn])

    def feed(self, untrusted: bytes | bytearray | memoryview) -> Iterator[Answer]:
        """Takes bytes, gives every whole answer; raises ProtocolError."""
        for head, body in self._frames.feed(untrusted):
            match head:
                case ["block", number, index, hops] if is_uint(hops, most=MAX_HOPS):
                    number, cid, quiet = self._answered(number, index)
                    if len(body) > (LEAF_BYTES if cid.codec is Codec.RAW else MAX_BLOCK_BYTES):
                        raise ProtocolError(f"a block of {len(body)} bytes is too large")
                    if quiet:
                        continue
                    if cid.matches(body):
                        yield Block(number, cid, body, hops)
                    else:
                        yield Wrong(number, cid)
                    continue
                case ["none", number, index, hops] if is_uint(hops, most=MAX_HOPS):
                    number, cid, quiet = self._answered(number, index)
                    if not quiet:
                        yield NotHave(number, cid, hops)
                case ["busy", number, indexes, peers]:
                    named = read_peers(peers)
                    told = [self._answered(number, index) for index in _read_indexes(indexes)]
                    cids = tuple(cid for _, cid, quiet in told if not quiet)
                    if cids:
                        yield Busy(told[0][0], cids, named)
                case ["gone", number]:
                    yield self._gone(number)
                case _:
                    raise ProtocolError("not an answer of a kind that is known here")
            if body:
                raise ProtocolError("only a block has a body")

    def finish(self) -> None:
        """The peer closed its side; raises ProtocolError in the middle of a frame."""
        self._frames.finish()

    def _answered(self, number: Value, index: Value) -> tuple[int, CID, bool]:
        """Notes an answer: the want's number, the CID, and whether it was cancelled meanwhile."""
        one = self._open.get(number) if is_uint(number) else None
        if one is None or not is_uint(number) or not is_uint(index) or index not in one.left:
            raise ProtocolError("an answer to what was not asked, or was answered")
        one.left.discard(index)
        self._blocks -= 1
        quiet = index in one.cancelled
        one.cancelled.discard(index)
        self._close(number, one)
        return number, one.cids[index], quiet

    def _gone(self, number: Value) -> Gone:
        one = self._open.get(number) if is_uint(number) else None
        if one is None or not is_uint(number) or not one.cancels:
            raise ProtocolError("a cancel is confirmed that was not sent")
        one.cancels -= 1
        if not one.cancels:
            # What is answered crossed the cancel; what is left never will be. With more cancels
            # on their way it is not known which, so the last confirmation clears them all.
            self._blocks -= len(one.cancelled)
            one.left -= one.cancelled
            one.cancelled.clear()
        self._close(number, one)
        return Gone(number)

    def _close(self, number: int, one: _Open) -> None:
        if not one.left and not one.cancels:
            del self._open[number]


class BlocksAnswerer:
    """The side that the stream was opened to.

    ``block``, ``none`` and ``busy`` raise KeyError for what is not open: whoever works on a want
    forgets blocks that ``Cancelled`` names.
    """

    def __init__(self) -> None:
        self._frames = FrameReader(MAX_WANT_BYTES)
        self._open: dict[int, _Open] = {}
        self._next = 0
        self._blocks = 0

    @property
    def open_blocks(self) -> int:
        """How many blocks are asked for and not answered."""
        return self._blocks

    def is_open(self, number: int, index: int) -> bool:
        """Whether this block still is to be answered."""
        one = self._open.get(number)
        return one is not None and index in one.left

    def feed(self, untrusted: bytes | bytearray | memoryview) -> Iterator[Wanted | Cancelled]:
        """Takes bytes, gives every whole request; raises ProtocolError."""
        for head, _ in self._frames.feed(untrusted):
            match head:
                case ["want", number, room, priority, wait_ms, hops, gives, cids]:
                    want = _read_want(room, priority, wait_ms, hops, gives, cids)
                    if number != self._next or not is_uint(number):
                        raise ProtocolError("wants are numbered from 0 on, without holes")
                    if (
                        len(self._open) >= MAX_OPEN_WANTS
                        or self._blocks + len(want.cids) > MAX_OPEN_BLOCKS
                    ):
                        raise ProtocolError("more is open on this stream than may be")
                    self._next += 1
                    self._open[number] = _Open(want.cids, set(range(len(want.cids))))
                    self._blocks += len(want.cids)
                    yield Wanted(number, want)
                case ["cancel", number, indexes] if is_uint(number, most=self._next - 1):
                    yield self._cancel(number, _read_indexes(indexes))
                case _:
                    raise ProtocolError("not a request of a kind that is known here")

    def finish(self) -> None:
        """The peer closed its side; raises ProtocolError in the middle of a frame."""
        self._frames.finish()

    def block(
        self, number: int, index: int, data: bytes | memoryview, hops: int
    ) -> tuple[bytes, bytes | memoryview]:
        """What to write for a block: the frame's head, then ``data`` itself."""
        self._answer(number, index)
        return frame(["block", number, index, min(hops, MAX_HOPS)], len(data)), data

    def none(self, number: int, index: int, hops: int) -> bytes:
        """What to write for a block that is not here."""
        self._answer(number, index)
        return frame(["none", number, index, min(hops, MAX_HOPS)])

    def busy(self, number: int, indexes: Sequence[int], peers: Sequence[PeerAddress]) -> bytes:
        """What to write for blocks that others shall be asked for; names MAX_NAMED at most."""
        for index in indexes:
            self._answer(number, index)
        return frame(["busy", number, sorted(indexes), peers_form(peers)])

    def _answer(self, number: int, index: int) -> None:
        one = self._open[number]
        one.left.remove(index)
        self._blocks -= 1
        if not one.left:
            del self._open[number]

    def _cancel(self, number: int, indexes: list[int]) -> Cancelled:
        one = self._open.get(number)
        withdrawn = tuple(at for at in indexes if one is not None and at in one.left)
        for at in withdrawn:
            self._answer(number, at)
        return Cancelled(number, withdrawn, frame(["gone", number]))


def _read_want(
    room: Value, priority: Value, wait_ms: Value, hops: Value, gives: Value, cids: Value
) -> Want:
    match gives:
        case [int(slots), int(free), int(taken)] if all(is_uint(n, most=MAX_GIVES) for n in gives):
            given = Gives(slots, free, taken)
        case _:
            raise ProtocolError("what a peer gives is [slots, free, taken]")
    if not is_uint(priority, most=max(Priority)):
        raise ProtocolError("not a priority that is known here")
    if not is_uint(wait_ms, most=MAX_WAIT_MS) or not is_uint(hops, most=MAX_HOPS):
        raise ProtocolError("a wait or a number of hops is out of bounds")
    if not isinstance(cids, bytes) or len(cids) % _CID_BYTES:
        raise ProtocolError("a want lists CIDs, end to end")
    if not 1 <= len(cids) // _CID_BYTES <= MAX_BLOCKS:
        raise ProtocolError(f"a want is for 1 to {MAX_BLOCKS} blocks")
    try:
        listed = tuple(
            CID.from_bytes(cids[at : at + _CID_BYTES]) for at in range(0, len(cids), _CID_BYTES)
        )
        named = parse_room_id(room if isinstance(room, str) else "")
    except (CIDError, ValueError) as fault:
        raise ProtocolError(str(fault)) from None
    return Want(named, listed, wait_ms, hops, Priority(priority), given)


def _read_indexes(untrusted: Value) -> list[int]:
    """Ascending indexes of a want's blocks."""
    if not isinstance(untrusted, list) or not 1 <= len(untrusted) <= MAX_BLOCKS:
        raise ProtocolError(f"a list of 1 to {MAX_BLOCKS} indexes was expected")
    found: list[int] = []
    for index in untrusted:
        if not is_uint(index, found[-1] + 1 if found else 0, MAX_BLOCKS - 1):
            raise ProtocolError("indexes ascend")
        found.append(index)
    return found

"""Asking for blocks: a conversation is what both sides think it is, whatever crosses on the way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support.content import OTHER_ROOM, ROOM, content
from support.peers import address, pieces

from hausd.core.cid import CID, Codec
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import MAX_HOPS, Gives, PeerAddress
from hausd.wire.blocks_protocol import (
    MAX_BLOCKS,
    MAX_OPEN_BLOCKS,
    MAX_OPEN_WANTS,
    MAX_WAIT_MS,
    Block,
    BlocksAnswerer,
    BlocksAsker,
    Busy,
    Cancelled,
    Gone,
    NotHave,
    Priority,
    Want,
    Wanted,
    Wrong,
)
from hausd.wire.frames import PREFIX, ProtocolError, frame
from hausd.wire.naming import MAX_NAMED

LEAVES = [content(n, size) for n, size in enumerate((LEAF_BYTES, LEAF_BYTES, 77, 0, 1))]
CIDS = tuple(map(CID.of, LEAVES))


def wanted(answerer: BlocksAnswerer, data: bytes) -> Wanted:
    (event,) = answerer.feed(data)
    assert isinstance(event, Wanted)
    return event


def asked(cids: tuple[CID, ...] = CIDS) -> tuple[BlocksAsker, BlocksAnswerer, int]:
    """Two sides between which one want is open."""
    asker, answerer = BlocksAsker(), BlocksAnswerer()
    number, data = asker.want(Want(ROOM, cids))
    wanted(answerer, data)
    return asker, answerer, number


@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_blocks_come_out_of_order_and_in_any_pieces(piece: int) -> None:
    asker, answerer = BlocksAsker(), BlocksAnswerer()
    first = Want(ROOM, CIDS[:3], 4_000, 3, Priority.LIVE, Gives(3, 2))
    second = Want(OTHER_ROOM, CIDS[3:], priority=Priority.ARCHIVE)
    data = b"".join(asker.want(want)[1] for want in (first, second))
    heard = [event for one in pieces(data, piece) for event in answerer.feed(one)]
    assert heard == [Wanted(0, first), Wanted(1, second)]
    said = b""
    for number, index in ((1, 1), (0, 2), (0, 0), (1, 0)):
        head, block = answerer.block(number, index, memoryview(LEAVES[index + 3 * number]), 2)
        said += head + block
    said += answerer.none(0, 1, 2)
    got = [answer for one in pieces(said, piece) for answer in asker.feed(one)]
    assert got == [
        Block(1, CIDS[4], LEAVES[4], 2),
        Block(0, CIDS[2], LEAVES[2], 2),
        Block(0, CIDS[0], LEAVES[0], 2),
        Block(1, CIDS[3], LEAVES[3], 2),
        NotHave(0, CIDS[1], 2),
    ]
    assert asker.open_blocks == answerer.open_blocks == 0
    asker.finish()
    answerer.finish()


def test_busy_names_others_for_what_is_left() -> None:
    asker, answerer, number = asked()
    peers = [address(n) for n in range(MAX_NAMED + 3)]
    data = b"".join(answerer.block(number, 1, LEAVES[1], 0)) + answerer.busy(
        number, [0, 2, 3, 4], peers
    )
    *_, busy = asker.feed(data)
    assert busy == Busy(number, (CIDS[0], *CIDS[2:]), tuple(peers[:MAX_NAMED]))
    assert asker.open_blocks == 0


def test_addresses_that_are_none_are_left_out() -> None:
    asker, answerer, number = asked()
    odd = PeerAddress(address(1).peer, ("/ip4/192.0.2.1/tcp/1", "no multiaddr", "/" + "x" * 300))
    (busy,) = asker.feed(answerer.busy(number, range(5), [odd]))
    assert isinstance(busy, Busy)
    assert busy.untrusted_peers == (PeerAddress(odd.peer, odd.addresses[:1]),)


def test_wrong_bytes_are_found_before_anyone_sees_them() -> None:
    asker, answerer, number = asked()
    (answer,) = asker.feed(b"".join(answerer.block(number, 2, b"lies", 1)))
    assert answer == Wrong(number, CIDS[2])


def test_a_cancel_that_crosses_the_answer_is_nobodys_fault() -> None:
    asker, answerer, number = asked()
    cancel = asker.cancel(number, [CIDS[0], CIDS[1]])
    crossing = b"".join(answerer.block(number, 0, LEAVES[0], 1))
    (cancelled,) = answerer.feed(cancel)
    assert isinstance(cancelled, Cancelled)
    assert cancelled.indexes == (1,)
    assert not answerer.is_open(number, 1)
    with pytest.raises(KeyError):
        answerer.none(number, 1, 1)
    assert list(asker.feed(crossing)) == [], "it was cancelled: nobody is told"
    assert list(asker.feed(cancelled.reply)) == [Gone(number)]
    assert asker.open_blocks == answerer.open_blocks == 3
    assert asker.cancel(number, [CIDS[0]]) == b"", "there is nothing left of it"


def test_all_of_a_want_is_cancelled_and_its_number_is_free_of_memory() -> None:
    asker, answerer, number = asked()
    (cancelled,) = answerer.feed(asker.cancel(number))
    assert isinstance(cancelled, Cancelled)
    assert cancelled.indexes == (0, 1, 2, 3, 4)
    list(asker.feed(cancelled.reply))
    assert asker.open_blocks == answerer.open_blocks == 0
    assert asker.cancel(number) == b""
    with pytest.raises(ProtocolError):
        list(asker.feed(cancelled.reply))


def test_no_more_is_open_than_may_be() -> None:
    asker, answerer = BlocksAsker(), BlocksAnswerer()
    for _ in range(MAX_OPEN_BLOCKS // MAX_BLOCKS):
        wanted(answerer, asker.want(Want(ROOM, CIDS[:1] * MAX_BLOCKS))[1])
    assert not asker.room_for(1)
    with pytest.raises(ValueError, match="too many"):
        asker.want(Want(ROOM, CIDS[:1]))
    other = BlocksAsker()
    for number in range(MAX_OPEN_WANTS):
        assert other.room_for(1), number
        other.want(Want(ROOM, CIDS[:1]))
    assert not other.room_for(1)


def test_a_peer_that_asks_for_more_than_may_be_open_is_found_out() -> None:
    answerer = BlocksAnswerer()
    askers = [BlocksAsker() for _ in range(2)]
    said = [asker.want(Want(ROOM, CIDS[:1]))[1] for asker in askers]
    wanted(answerer, said[0])
    with pytest.raises(ProtocolError, match="numbered"):
        list(answerer.feed(said[1]))
    answerer = BlocksAnswerer()
    cids = b"".join(map(bytes, CIDS[:1] * MAX_BLOCKS))
    flood = [
        frame(["want", number, ROOM, 0, 0, 0, [0, 0, 0], cids])
        for number in range(MAX_OPEN_BLOCKS // MAX_BLOCKS + 1)
    ]
    assert len(list(answerer.feed(b"".join(flood[:-1])))) == len(flood) - 1
    with pytest.raises(ProtocolError, match="more is open"):
        list(answerer.feed(flood[-1]))


WANT = ["want", 0, ROOM, 0, 0, 0, [0, 0, 0], bytes(CIDS[0])]


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, "ask"),
        (1, True),
        (1, 1),
        (2, "a/b"),
        (2, None),
        (3, 3),
        (4, MAX_WAIT_MS + 1),
        (4, -1),
        (5, MAX_HOPS + 1),
        (6, [0, 0]),
        (6, [0, 1 << 20, 0]),
        (6, [0, 0, -1]),
        (6, [0, True, 0]),
        (7, b""),
        (7, bytes(36)),
        (7, bytes(CIDS[0])[:-1]),
        (7, bytes(CIDS[0]) * (MAX_BLOCKS + 1)),
        (7, "text"),
    ],
)
def test_a_malformed_want_is_refused(at: int, value: object) -> None:
    assert wanted(BlocksAnswerer(), frame(WANT)).want == Want(ROOM, CIDS[:1], hops=0)
    with pytest.raises(ProtocolError):
        list(BlocksAnswerer().feed(frame([*WANT[:at], value, *WANT[at + 1 :]])))


PEER = [address(1).peer, ["/ip4/192.0.2.1/tcp/1"]]


@pytest.mark.parametrize(
    "head",
    [
        ["block", 0, 5, 0],
        ["block", 1, 0, 0],
        ["block", 0, 0, MAX_HOPS + 1],
        ["block", 0, True, 0],
        ["block", [], 0, 0],
        ["none", 0, 7, 0],
        ["none", 0, 0],
        ["busy", 0, [], []],
        ["busy", 0, [1, 1], []],
        ["busy", 0, [64], []],
        ["busy", 0, 0, []],
        ["busy", 0, [0], [PEER] * (MAX_NAMED + 1)],
        ["busy", 0, [0], [[PEER[0], ["192.0.2.1"]]]],
        ["busy", 0, [0], [[PEER[0], PEER[1] * 5]]],
        ["busy", 0, [0], [["short", []]]],
        ["busy", 0, [0], [{}]],
        ["gone", 0],
        ["what", 0],
        [1],
        [],
    ],
)
def test_a_malformed_or_unasked_answer_is_refused(head: list[object]) -> None:
    asker, _, _ = asked()
    with pytest.raises(ProtocolError):
        list(asker.feed(frame(head)))


def test_sizes_are_refused_before_they_are_read() -> None:
    for side in (asked()[0], BlocksAnswerer()):
        with pytest.raises(ProtocolError, match="over the limit"):
            list(side.feed(PREFIX.pack(65_535, 0)))
        with pytest.raises(ProtocolError, match="over the limit"):
            list(side.feed(PREFIX.pack(1, 1 << 30)))


def test_only_nodes_of_a_tree_may_be_larger_than_a_leaf() -> None:
    large = content(0, LEAF_BYTES + 1)
    for codec in (Codec.DAG_PB, Codec.RAW):
        asker, answerer, number = asked((CID.of(large, codec),))
        data = b"".join(answerer.block(number, 0, large, 0))
        if codec is Codec.DAG_PB:
            assert len(list(asker.feed(data))) == 1
        else:
            with pytest.raises(ProtocolError, match="too large"):
                list(asker.feed(data))


def test_a_stream_that_stops_in_the_middle_of_a_frame_is_told_from_one_that_ends() -> None:
    asker, answerer, number = asked()
    data = b"".join(answerer.block(number, 0, LEAVES[0], 0))
    list(asker.feed(data[:-1]))
    with pytest.raises(ProtocolError, match="middle"):
        asker.finish()


class Conversation(RuleBasedStateMachine):
    """Two sides, bytes on their way in both directions, and the truth about what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.asker, self.answerer = BlocksAsker(), BlocksAnswerer()
        self.up, self.down = bytearray(), bytearray()
        self.work: list[tuple[int, int, CID]] = []
        self.waiting: dict[tuple[int, CID], int] = {}

    @precondition(lambda self: self.asker.room_for(5))
    @rule(count=st.integers(1, 5), wait=st.sampled_from([0, MAX_WAIT_MS]))
    def ask(self, count: int, wait: int) -> None:
        number, data = self.asker.want(Want(ROOM, CIDS[:count], wait))
        self.up += data
        for cid in CIDS[:count]:
            self.waiting[number, cid] = 1

    @precondition(lambda self: self.waiting)
    @rule(pick=st.randoms())
    def cancel(self, pick: object) -> None:
        number, cid = pick.choice(sorted(self.waiting))  # type: ignore[attr-defined]
        data = self.asker.cancel(number, [cid])
        assert data
        self.up += data
        del self.waiting[number, cid]

    @precondition(lambda self: self.work)
    @rule(pick=st.randoms(), how=st.sampled_from(["block", "none", "busy"]))
    def answer(self, pick: object, how: str) -> None:
        one = pick.choice(self.work)  # type: ignore[attr-defined]
        self.work.remove(one)
        number, index, cid = one
        if how == "block":
            head, block = self.answerer.block(number, index, LEAVES[CIDS.index(cid)], 1)
            self.down += head + block
        elif how == "none":
            self.down += self.answerer.none(number, index, 1)
        else:
            self.down += self.answerer.busy(number, [index], [address(1)])

    @rule(count=st.integers(1, 300_000))
    def carry_up(self, count: int) -> None:
        for event in self.answerer.feed(bytes(self.up[:count])):
            match event:
                case Wanted(number, want):
                    self.work += [(number, at, cid) for at, cid in enumerate(want.cids)]
                case Cancelled(number, indexes, reply):
                    self.work = [
                        one for one in self.work if not (one[0] == number and one[1] in indexes)
                    ]
                    self.down += reply
        del self.up[:count]

    @rule(count=st.integers(1, 300_000))
    def carry_down(self, count: int) -> None:
        for answer in self.asker.feed(bytes(self.down[:count])):
            match answer:
                case Block(number, cid, data):
                    assert data == LEAVES[CIDS.index(cid)]
                    del self.waiting[number, cid]
                case NotHave(number, cid):
                    del self.waiting[number, cid]
                case Busy(number, cids):
                    for cid in cids:
                        del self.waiting[number, cid]
                case Wrong():
                    raise AssertionError("nobody lied")
        del self.down[:count]

    @invariant()
    def what_is_open_is_bounded_and_known(self) -> None:
        assert len(self.waiting) <= self.asker.open_blocks <= MAX_OPEN_BLOCKS
        assert self.answerer.open_blocks == len(self.work)

    def teardown(self) -> None:
        rest: Callable[[int], None] = self.carry_up
        rest(1 << 30)
        while self.work:
            number, index, _ = self.work.pop()
            self.down += self.answerer.none(number, index, 0)
        self.carry_down(1 << 30)
        assert not self.waiting
        assert self.asker.open_blocks == self.answerer.open_blocks == 0
        assert self.asker.room_for(MAX_BLOCKS)


TestConversation = Conversation.TestCase


@given(st.lists(st.integers(0, 4), min_size=1, max_size=MAX_BLOCKS), st.integers(0, MAX_HOPS))
def test_a_want_is_read_as_it_was_written(picked: list[int], hops: int) -> None:
    want = Want(ROOM, tuple(CIDS[at] for at in picked), hops=hops)
    assert wanted(BlocksAnswerer(), BlocksAsker().want(want)[1]).want == want

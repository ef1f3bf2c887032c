"""yamux: two ends joined in memory, and what a peer that breaks the rules gets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.wire import yamux
from hausd.wire.yamux import Ended, Opened, Ponged, Received, WasReset, Widened, Yamux, YamuxError

SYN, ACK, FIN, RST = 1, 2, 4, 8


def frame(kind: int, flags: int, stream: int, length: int, data: bytes = b"") -> bytes:
    return struct.pack("!BBHII", 0, kind, flags, stream, length) + data


def pair() -> tuple[Yamux, Yamux]:
    return Yamux(initiator=True), Yamux(initiator=False)


def exchange(one: Yamux, other: Yamux) -> tuple[list[yamux.Event], list[yamux.Event]]:
    at_one: list[yamux.Event] = []
    at_other: list[yamux.Event] = []
    while one.has_control or other.has_control:
        at_other += other.receive(one.control())
        at_one += one.receive(other.control())
    return at_one, at_other


def test_bytes_go_both_ways_and_both_ends_close() -> None:
    one, other = pair()
    number = one.open()
    assert exchange(one, other) == ([], [Opened(number)])
    assert other.receive(one.data(number, memoryview(b"ask"))) == [Received(number, b"ask")]
    assert other.receive(one.end(number)) == [Ended(number)]
    assert one.receive(other.data(number, memoryview(b"answer"))) == [Received(number, b"answer")]
    assert one.receive(other.end(number)) == [Ended(number)]
    assert one.streams == other.streams == 0


@given(st.lists(st.integers(1, 200_000), max_size=12), st.integers(20_000, 70_000))
def test_windows_never_overflow_and_never_starve(reads: list[int], cut: int) -> None:
    one, other = pair()
    number = one.open()
    exchange(one, other)
    held = 0
    for read in [*reads, *[100_000] * 8]:
        while room := one.room(number):
            size = min(room, cut)
            (event,) = other.receive(one.data(number, memoryview(bytes(size))))
            assert isinstance(event, Received)
            held += len(event.data)
        assert 0 < held <= 4 * 1024 * 1024
        taken = min(read, held)
        held -= taken
        other.consumed(number, taken, widen=True)
        exchange(one, other)
        if 2 * held < yamux.INITIAL_WINDOW_BYTES:
            assert one.room(number) > 0


def test_windows_are_topped_up_at_half_not_at_every_read() -> None:
    one, other = pair()
    number = one.open()
    exchange(one, other)
    other.receive(one.data(number, memoryview(bytes(60_000))))
    other.consumed(number, 60_000)
    assert not other.has_control
    for _ in range(2):
        other.receive(one.data(number, memoryview(bytes(40_000))))
        other.consumed(number, 40_000)
    assert one.receive(other.control()) == [Widened(number)]


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (frame(0, SYN, 1, 3, b"abc") + frame(0, 0, 1, 256 * 1024 - 2), "window"),
        (frame(0, SYN, 2, 0), "own numbers"),
        (frame(0, SYN, 1, 0) + frame(0, SYN, 1, 0), "twice"),
        (frame(0, 0, 0, 0), "connection itself"),
        (frame(9, 0, 1, 0), "type 9"),
        (b"\x01" + bytes(11), "version 1"),
        (frame(0, SYN, 1, 2_000_000), "window"),
        (frame(0, SYN | FIN, 1, 0) + frame(0, 0, 1, 1, b"x"), "after the end"),
        (frame(1, SYN, 1, 0xFFFFFFFF) * 1, "4 GiB"),
        (frame(2, SYN, 0, 7) * 2000, "reads no answers"),
        (b"".join(frame(1, SYN | RST, 1, 0) for _ in range(2000)), "reads no answers"),
    ],
)
def test_a_peer_that_breaks_the_rules_is_found_out(sent: bytes, fault: str) -> None:
    with pytest.raises(YamuxError, match=fault):
        Yamux(initiator=False).receive(sent)


def test_overrunning_the_window_is_found_out_before_the_bytes_are_held() -> None:
    machine = Yamux(initiator=False)
    machine.receive(frame(0, SYN, 1, 0))
    with pytest.raises(YamuxError, match="window"):
        machine.receive(frame(0, 0, 1, 256 * 1024 + 1))


def test_a_frame_as_long_as_the_window_is_handed_on_as_it_comes() -> None:
    machine = Yamux(initiator=False)
    assert machine.receive(frame(0, SYN | FIN, 1, 256 * 1024, b"abc")) == [
        Opened(1),
        Received(1, b"abc"),
    ]
    assert machine.receive(b"def") == [Received(1, b"def")]
    rest = bytes(256 * 1024 - 6)
    assert machine.receive(rest) == [Received(1, rest), Ended(1)]


def test_streams_beyond_the_bound_are_refused_and_others_live_on() -> None:
    one, other = Yamux(initiator=True), Yamux(initiator=False, max_streams=2)
    numbers = [one.open() for _ in range(3)]
    at_one, at_other = exchange(one, other)
    assert at_other == [Opened(numbers[0]), Opened(numbers[1])]
    assert at_one == [WasReset(numbers[2])]
    assert other.refused == 1
    one.reset(numbers[0])
    exchange(one, other)
    number = one.open()
    assert exchange(one, other) == ([], [Opened(number)])


def test_all_windows_together_stay_within_the_memory_of_a_peer() -> None:
    one = Yamux(initiator=True)
    other = Yamux(initiator=False, max_streams=100, max_unread_bytes=4 * 256 * 1024)
    for _ in range(10):
        one.open()
    at_one, _ = exchange(one, other)
    assert len(at_one) == 6
    assert other.streams == 4


def test_a_ping_comes_back() -> None:
    one, other = pair()
    one.ping(77)
    assert exchange(one, other) == ([Ponged(77)], [])


def test_what_was_under_way_when_we_reset_is_dropped() -> None:
    one, other = pair()
    number = one.open()
    exchange(one, other)
    late = one.data(number, memoryview(b"late"))
    other.reset(number)
    assert other.receive(late) == []
    assert one.receive(other.control()) == [WasReset(number)]
    assert one.room(number) == 0


@given(st.binary(max_size=300), st.integers(1, 50))
def test_cut_anywhere_the_same_bytes_give_the_same(sent: bytes, cut: int) -> None:
    sent = frame(0, SYN, 1, 5, b"hello") + frame(1, 0, 1, 9) + sent

    def outcome(pieces: list[bytes]) -> tuple[list[yamux.Event], bytes, str]:
        machine, events, data = Yamux(initiator=False), list[yamux.Event](), b""
        try:
            for piece in pieces:
                for event in machine.receive(piece):
                    if isinstance(event, Received):
                        data += event.data
                    else:
                        events.append(event)
        except YamuxError as error:
            return [], b"", str(error)
        return events, data, ""

    pieces = [sent[at : at + cut] for at in range(0, len(sent), cut)]
    assert outcome([sent]) == outcome(pieces)

"""Sound may wait for the picture after it; pictures, farewells and silence never do."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from hausd.ingest.reader import LEARNING_READS, LOW_WATER_BYTES, SocketReader
from hausd.wire.rtmp_chunks import Begun


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection: ours, and the encoder's side."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with ours, theirs:
        yield ours, theirs


def low(ours: socket.socket) -> int:
    return ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


def test_small_messages_gather_and_a_glance_lets_through_what_is_last(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    with SocketReader(ours.fileno()) as reader:
        for _ in range(LEARNING_READS):
            reader.came(None)
            assert low(ours) == 1, "how it sends is not known yet"
        reader.came(None)
        assert low(ours) == LOW_WATER_BYTES
        theirs.sendall(b"farewell")
        assert reader.read() == b"farewell"
        assert reader.read() is None
    assert low(ours) == 1, "whoever reads next is woken by every byte"


def test_a_message_that_was_begun_is_waited_for_to_its_last_byte_and_no_longer(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    with SocketReader(ours.fileno()) as reader:
        reader.came(Begun(9, 10_000, 4_000))
        assert low(ours) == 4_000
        theirs.sendall(bytes(4_000))
        assert reader.read() == bytes(4_000)


def test_a_sender_of_headers_apart_wakes_us_with_every_byte(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = ends
    with SocketReader(ours.fileno()) as reader:
        reader.came(Begun(8, 340, 340))
        for _ in range(LEARNING_READS + 1):
            reader.came(None)
        assert low(ours) == 1


def test_the_end_and_a_break_are_told_apart(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    with SocketReader(ours.fileno()) as reader:
        theirs.sendall(b"x")
        theirs.shutdown(socket.SHUT_WR)
        assert reader.read() == b"x"
        with pytest.raises(EOFError):
            reader.read()
        ours.sendall(b"unread")
        linger = (1).to_bytes(4, "little") + bytes(4)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    with SocketReader(ours.fileno()) as reader:
        theirs.close()
        with pytest.raises((EOFError, OSError)):
            reader.read()


def test_an_encoder_that_reads_no_answer_holds_up_nothing_and_is_found_out(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with SocketReader(ours.fileno()) as reader:
        answers = 0
        while reader.send(bytes(1000)):
            answers += 1
            assert answers < 10_000
        assert answers >= 64


def test_the_socket_stays_ours_when_the_loop_closes_its_own(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = ends
    with SocketReader(ours.fileno()) as reader:
        ours.close()
        theirs.sendall(b"still here")
        assert reader.read() == b"still here"

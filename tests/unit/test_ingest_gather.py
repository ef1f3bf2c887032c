"""Sound may wait for the picture after it; pictures, farewells and silence never do."""

from __future__ import annotations

import socket

import trio
import trio.testing

from hausd.ingest.gather import LOW_WATER_BYTES, Gathering
from hausd.wire.rtmp_chunks import Begun


async def pair() -> tuple[trio.SocketStream, socket.socket]:
    """A TCP connection: ours, and the encoder's side."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return trio.SocketStream(trio.socket.from_stdlib_socket(ours)), theirs


def low(stream: trio.SocketStream) -> int:
    return int(stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))


async def test_small_messages_gather_and_a_glance_lets_through_what_is_last() -> None:
    stream, theirs = await pair()
    async with stream, trio.open_nursery() as nursery:
        gathering = Gathering(stream)
        nursery.start_soon(gathering.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        gathering.came(None)
        assert low(stream) == LOW_WATER_BYTES
        theirs.sendall(b"farewell")
        with trio.fail_after(5):
            assert await stream.receive_some() == b"farewell"
        nursery.cancel_scope.cancel()
    theirs.close()


async def test_a_message_that_was_begun_is_waited_for_to_its_last_byte_and_no_longer() -> None:
    stream, theirs = await pair()
    async with stream, trio.open_nursery() as nursery:
        gathering = Gathering(stream)
        nursery.start_soon(gathering.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        gathering.came(Begun(9, 10_000, 4_000))
        assert low(stream) == 4_000
        theirs.sendall(bytes(4_000))
        with trio.fail_after(5):
            assert len(await stream.receive_some(65536)) == 4_000
        nursery.cancel_scope.cancel()
    theirs.close()


async def test_a_sender_of_headers_apart_is_read_byte_by_byte() -> None:
    stream, theirs = await pair()
    async with stream, trio.open_nursery() as nursery:
        gathering = Gathering(stream)
        nursery.start_soon(gathering.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        gathering.came(Begun(8, 340, 340))
        gathering.came(None)
        assert low(stream) == 1
        theirs.sendall(b"x")
        await trio.sleep(0.01)
        assert gathering.more(100) == b"x"
        assert gathering.more(100) == b""
        nursery.cancel_scope.cancel()
    assert gathering.more(100) == b""
    theirs.close()

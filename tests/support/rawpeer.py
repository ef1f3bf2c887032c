"""A peer that says what it likes: frames, tokens and RPCs byte by byte."""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from hausd.core.keys import SigningKey
from hausd.core.peers import parse_endpoint
from hausd.p2p.channel import ChannelBroken, SecureChannel
from hausd.p2p.noise import Noise
from hausd.p2p.upgrade import UpgradeFailed, upgrade
from hausd.wire.multistream import HEADER, lengthened, token

SYN, ACK, FIN, RST = 1, 2, 4, 8
DATA, WINDOW, PING = 0, 1, 2


def frame(kind: int, flags: int, stream: int, length: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHII", 0, kind, flags, stream, length) + body


@dataclass
class RawPeer:
    """A secured connection to a victim, without any manners."""

    channel: SecureChannel
    tcp: trio.SocketStream

    async def open(self, stream: int, *protocols: str, more: bytes = b"") -> None:
        """Opens a stream and says all of it at once, without waiting for answers."""
        opening = token(HEADER) + b"".join(map(token, protocols)) + more
        await self.send(stream, opening, flags=SYN)

    async def send(self, stream: int, body: bytes, flags: int = 0) -> None:
        await self.channel.send(frame(DATA, flags, stream, len(body), body))

    async def drained(self, for_s: float) -> bool:
        """Reads what comes for a while; whether the victim closed the connection."""
        with trio.move_on_after(for_s):
            try:
                while await self.channel.receive():
                    pass
            except ChannelBroken:
                return True
            return True
        return False


@asynccontextmanager
async def raw_peer(address: str, seed: bytes | None = None) -> AsyncIterator[RawPeer]:
    """Connects to a victim, under a fresh key or that of the seed."""
    endpoint = parse_endpoint(address)
    tcp = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    async with tcp:
        with trio.fail_after(10):
            key = SigningKey(seed or os.urandom(32))
            _, channel = await upgrade(tcp, Noise(key), endpoint.peer)
        yield RawPeer(channel, tcp)


async def lives(address: str) -> bool:
    """Whether a node still takes a connection, and echoes on ``/echo/1``."""
    answer = b""
    try:
        with trio.fail_after(5):
            async with raw_peer(address) as peer:
                await peer.open(1, "/echo/1", more=b"are you there?")
                while b"are you there?" not in answer:
                    received = await peer.channel.receive()
                    if not received:
                        return False
                    answer += received
    except (OSError, trio.TooSlowError, ChannelBroken, UpgradeFailed):
        return False
    return True


def rpc(body: bytes) -> bytes:
    return lengthened(body)

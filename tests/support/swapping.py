"""Nodes that give each other blocks by Bitswap, and a peer whose every message a test writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from support.hosts import LOOPBACK, host

from hausd.core.cid import CID
from hausd.core.following import Providers
from hausd.core.peers import Multiaddr, PeerAddress, PeerId, PeerStream
from hausd.p2p import Host
from hausd.p2p.bitswap import Bitswap, open_bitswap
from hausd.p2p.uploading import UploadLine
from hausd.wire.bitswap import PROTOCOLS, Message, MessageReader, encode


@dataclass
class Blocks:
    """A store that counts how often it is read."""

    held: dict[CID, bytes] = field(default_factory=dict)
    read: int = 0

    def has(self, cid: CID) -> bool:
        return cid in self.held

    async def block(self, cid: CID) -> bytes | None:
        await trio.lowlevel.checkpoint()
        self.read += 1
        return self.held.get(cid)


@dataclass
class Said:
    """Somebody who says of every block that these peers have it."""

    peers: Sequence[PeerAddress] = ()
    asked: list[CID] = field(default_factory=list)

    async def find(self, cid: CID, at_most: int, *, deadline_s: float) -> Sequence[PeerAddress]:
        await trio.lowlevel.checkpoint()
        self.asked.append(cid)
        return self.peers


@dataclass
class Peer:
    """A node that speaks Bitswap."""

    host: Host
    bitswap: Bitswap
    blocks: Blocks

    async def get(self, cid: CID, size: int = 2**21, within_s: float = 10) -> bytes:
        return await self.bitswap.source.fetch(cid, size, deadline_s=trio.current_time() + within_s)

    @property
    def address(self) -> Multiaddr:
        return self.host.addresses[0]

    @property
    def named(self) -> PeerAddress:
        return PeerAddress(self.host.peer_id, tuple(self.host.addresses))


@asynccontextmanager
async def swapping(
    name: str,
    held: dict[CID, bytes] | None = None,
    providers: Providers | None = None,
    upload_bytes_per_s: float = 0,
    listen: str = LOOPBACK[0],
) -> AsyncIterator[Peer]:
    """A node on loopback."""
    line = UploadLine(upload_bytes_per_s)
    blocks = Blocks(held or {})
    async with (
        host(name, listen=(Multiaddr(listen),)) as own,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(line.run)
        async with open_bitswap(own, blocks, line, providers) as bitswap:
            yield Peer(own, bitswap, blocks)
        nursery.cancel_scope.cancel()


@dataclass
class Script:
    """A peer that does nothing by itself. ``heard``: what it was told, in order."""

    host: Host
    protocols: Sequence[str]
    heard: list[Message] = field(default_factory=list)
    stirred: trio.Event = field(default_factory=trio.Event)

    async def listen(self, stream: PeerStream) -> None:
        reader = MessageReader()
        while data := await stream.receive_some():
            self.heard += reader.feed(data)
            self.stirred.set()
            self.stirred = trio.Event()

    async def hears(self, messages: int = 1) -> None:
        while len(self.heard) < messages:
            await self.stirred.wait()

    async def say(self, peer: PeerId, message: Message) -> None:
        stream, protocol = await self.host.open_any_stream(peer, self.protocols)
        await stream.send_all(b"".join(encode(message, PROTOCOLS[protocol])))
        await stream.aclose()


@asynccontextmanager
async def scripted(name: str, protocols: Sequence[str] = tuple(PROTOCOLS)) -> AsyncIterator[Script]:
    """A peer on loopback."""
    async with host(name) as own:
        script = Script(own, protocols)
        for protocol in protocols:
            own.handle(protocol, script.listen)
        yield script

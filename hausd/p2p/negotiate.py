"""Agreeing on a protocol over a stream, by multistream-select. Callers set the deadline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hausd.core.peers import ProtocolRefused, StreamBroken
from hausd.wire import multistream

_MAX_PROPOSALS = 16
"""More than any honest peer tries on one stream."""


class Bytes(Protocol):
    """What is negotiated over."""

    async def receive_some(self, max_bytes: int) -> bytes: ...

    async def send_all(self, data: bytes) -> None: ...


async def propose(stream: Bytes, protocols: Sequence[str]) -> str:
    """Proposes protocols, best first; gives the one that was taken.

    Raises ProtocolRefused, StreamBroken, MultistreamError.
    """
    # the first proposal goes with the header: one round trip instead of two
    opening = multistream.token(multistream.HEADER) + multistream.token(protocols[0])
    await stream.send_all(opening)
    if await read_token(stream) != multistream.HEADER:
        raise multistream.MultistreamError("another version of multistream-select")
    for index, protocol in enumerate(protocols):
        if index:
            await stream.send_all(multistream.token(protocol))
        answer = await read_token(stream)
        if answer == protocol:
            return protocol
        if answer != multistream.NOT_AVAILABLE:
            raise multistream.MultistreamError("an answer to something else")
    raise ProtocolRefused(f"the peer does not speak {' or '.join(protocols)}")


async def agree(stream: Bytes, speaks: Callable[[str], bool]) -> str:
    """Answers proposals until one is spoken here. Raises StreamBroken, MultistreamError."""
    if await read_token(stream) != multistream.HEADER:
        raise multistream.MultistreamError("another version of multistream-select")
    await stream.send_all(multistream.token(multistream.HEADER))
    for _ in range(_MAX_PROPOSALS):
        protocol = await read_token(stream)
        if speaks(protocol):
            await stream.send_all(multistream.token(protocol))
            return protocol
        await stream.send_all(multistream.token(multistream.NOT_AVAILABLE))
    raise multistream.MultistreamError("too many proposals")


async def read_token(stream: Bytes) -> str:
    """One token and no byte behind it; raises StreamBroken, MultistreamError."""
    untrusted = b""
    while wanted := multistream.missing(untrusted):
        received = await stream.receive_some(wanted)
        if not received:
            raise StreamBroken("it ended while a protocol was agreed on")
        untrusted += received
    return multistream.text(untrusted)

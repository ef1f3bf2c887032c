"""From a TCP connection to one that is secured and carries streams."""

from __future__ import annotations

import trio

from hausd.core.peers import PeerId, ProtocolRefused, StreamBroken
from hausd.p2p import negotiate
from hausd.p2p.channel import ChannelBroken, SecureChannel
from hausd.p2p.noise import HandshakeFailed, Noise, RawBytes
from hausd.wire.multistream import MultistreamError
from hausd.wire.noise import PROTOCOL as NOISE

YAMUX = "/yamux/1.0.0"


class UpgradeFailed(Exception):
    """The two ends found no common ground; ``args[0]`` says where."""


async def upgrade(
    stream: trio.abc.Stream, noise: Noise, expected: PeerId | None
) -> tuple[PeerId, SecureChannel]:
    """Secures a connection; ``expected`` is whom we dial, None where we were dialled.

    Raises UpgradeFailed. The caller sets the deadline and closes the stream.
    """
    try:
        await _agree(RawBytes(stream), NOISE, dialled=expected is not None)
        peer, channel = await noise.secure(stream, expected)
        inside = _Inside(channel)
        await _agree(inside, YAMUX, dialled=expected is not None)
        channel.push_back(inside.left)
        return peer, channel
    except (
        ChannelBroken,
        HandshakeFailed,
        MultistreamError,
        ProtocolRefused,
        StreamBroken,
    ) as error:
        raise UpgradeFailed(str(error)) from error


async def _agree(stream: negotiate.Bytes, protocol: str, *, dialled: bool) -> None:
    if dialled:
        await negotiate.propose(stream, (protocol,))
    else:
        await negotiate.agree(stream, lambda proposed: proposed == protocol)


class _Inside:
    """A secured channel as negotiation sees it; what was read too much is ``left``."""

    def __init__(self, channel: SecureChannel) -> None:
        self._channel = channel
        self.left = b""

    async def receive_some(self, max_bytes: int) -> bytes:
        if not self.left:
            self.left = await self._channel.receive()
        taken, self.left = self.left[:max_bytes], self.left[max_bytes:]
        return taken

    async def send_all(self, data: bytes) -> None:
        await self._channel.send(data)

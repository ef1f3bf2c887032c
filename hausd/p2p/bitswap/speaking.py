"""What one peer is told: messages on a stream of our own, as Bitswap has it.

Kubo and Helia read no answers on the streams that they opened themselves.
"""

from __future__ import annotations

import trio

from hausd.core.peers import PeerId, PeerStream, StreamBroken
from hausd.p2p.host import Host
from hausd.wire.bitswap import PROTOCOLS, Message, Version, encode

IDLE_S = 2.0
"""A stream that is not used is closed after so long: Helia gives idle ones up after 5 s."""
_OPEN_S = 10.0


class Speaker:
    """One task sends. The stream is opened when it is needed and closed when it is idle."""

    def __init__(self, host: Host, peer: PeerId) -> None:
        self._host = host
        self._peer = peer
        self._stream: PeerStream | None = None
        self._version = Version.V1_2
        self._used_s = 0.0

    async def send(self, message: Message) -> None:
        """Sends as much of a message as the peer understands, waiting for the peer to read.

        Raises PeerUnreachable, ProtocolRefused, StreamBroken.
        """
        if self._stream is not None and trio.current_time() - self._used_s > IDLE_S:
            await self.close()
        stream = self._stream or await self._open()
        if fitted := message.fitted(self._version):
            await stream.send_all(*encode(fitted, self._version))
        self._used_s = trio.current_time()

    async def close(self) -> None:
        """Closes the stream, if there is one; what was sent still arrives."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    def abandon(self) -> None:
        """Gives the stream up at once."""
        if self._stream is not None:
            self._stream.reset()
            self._stream = None

    async def _open(self) -> PeerStream:
        try:
            with trio.fail_after(_OPEN_S):
                self._stream, protocol = await self._host.open_any_stream(self._peer, PROTOCOLS)
        except trio.TooSlowError:
            raise StreamBroken(f"it took no stream within {_OPEN_S:g} s") from None
        self._version = PROTOCOLS[protocol]
        return self._stream

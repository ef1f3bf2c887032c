"""Streams over a secured connection: the tasks around ``hausd.wire.yamux``.

Three tasks own a connection: one reads and never waits for a write (two ends that both send would
else wait for each other forever), one writes, one pings. A writer waits as long as its peer
lives: who stalls is the caller's business, who is dead is the ping's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from hausd.core.peers import PeerId, PeerUnreachable
from hausd.p2p.channel import MAX_PLAINTEXT_BYTES, ChannelBroken, SecureChannel
from hausd.p2p.muxstream import MuxStream
from hausd.p2p.rate import Bucket
from hausd.wire import yamux

LINGER_S = 60.0
"""A stream that was closed here waits so long for the peer's end."""
_FRAMES_AT_ONCE = 5
"""Of one stream, and in one write: fewer turns of the loop for bulk, and a block of 256 KiB with
its head is not cut in two; so much goes before others."""
_MANY_PIECES, _PIECES_PER_S = 1000, 50_000
"""Messages and frames that came at once, most of a kind that is small."""
_GO_AWAY_PROTOCOL_ERROR = 1


class Mux:
    """A connection to a peer. ``run`` owns it and closes it; until then it may be used."""

    def __init__(
        self,
        channel: SecureChannel,
        peer: PeerId,
        machine: yamux.Yamux,
        *,
        max_streams: int,
        ping_interval_s: float,
        receive_rate: Bucket | None = None,
        send_rate: Bucket | None = None,
    ) -> None:
        self.peer = peer
        self.received_bytes = 0
        self.sent_bytes = 0
        self.rtt_s: float | None = None
        self.ended_by = ""
        """Why it ended, in plain words."""
        self._channel = channel
        self._machine = machine
        self._max_streams = max_streams
        self._ping_interval_s = ping_interval_s
        self._receive_rate = receive_rate
        self._send_rate = send_rate
        self._streams: dict[int, MuxStream] = {}
        self._outgoing: deque[tuple[bytes, trio.Event | None]] = deque()
        self._wake = trio.Event()
        self._ponged = trio.Event()
        self._scope = trio.CancelScope()
        self.closed = trio.Event()

    # -- for its owner --

    async def run(self, accept: Callable[[MuxStream], None]) -> None:
        """Serves the connection until it breaks, is silent too long, or ``close`` is called.

        ``accept`` gets each stream that the peer opens, and must not wait.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._ping)
                    await self._read(accept)
                    nursery.cancel_scope.cancel()
        except* (ChannelBroken, yamux.YamuxError) as errors:
            error = errors.exceptions[0]
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            self._end(str(error))
            if isinstance(error, yamux.YamuxError):
                await self._say_protocol_error()
        finally:
            self._end("it was closed")
            self.closed.set()
            for stream in list(self._streams.values()):
                stream.broke(f"the connection is gone: {self.ended_by}")
            while self._outgoing:
                self._done(self._outgoing.popleft()[1])
            with trio.CancelScope(shield=True):
                await self._channel.aclose()

    def close(self, why: str) -> None:
        """Ends the connection; ``run`` returns."""
        self._end(why)
        self._scope.cancel()

    @property
    def streams(self) -> int:
        return len(self._streams)

    def open_stream(self) -> MuxStream:
        """A new stream; the peer may still refuse it, which breaks it. Raises PeerUnreachable."""
        if self.ended_by:
            raise PeerUnreachable(f"the connection is gone: {self.ended_by}")
        own = sum(1 for number in self._streams if self._machine.is_own(number))
        if own >= self._max_streams:
            raise PeerUnreachable(f"{own} streams to this peer are open already")
        try:
            stream = MuxStream(self, self._machine.open())
        except yamux.YamuxError as error:
            raise PeerUnreachable(str(error)) from error
        self._streams[stream.number] = stream
        self._wake.set()
        return stream

    # -- for its streams --

    def room(self, number: int) -> int:
        return self._machine.room(number)

    async def send_data(self, number: int, payload: deque[memoryview]) -> None:
        """Sends as much as there is room for, a few frames at most; takes it from ``payload``.

        Returns when they are on their way. May be cancelled.
        """
        sent = trio.Event()
        for _ in range(_FRAMES_AT_ONCE):
            pieces = _taken(payload, self._machine.room(number))
            if not pieces:
                break
            self.sent_bytes += sum(map(len, pieces))
            self._outgoing.append((self._machine.data(number, *pieces), sent))
        self._wake.set()
        await sent.wait()

    def send_end(self, number: int) -> None:
        # behind the data, not before it
        frame = self._machine.end(number)
        if frame:
            self._outgoing.append((frame, None))
            self._wake.set()

    def consumed(self, number: int, count: int, *, widen: bool = False) -> None:
        self._machine.consumed(number, count, widen=widen)
        if self._machine.has_control:
            self._wake.set()

    def reset(self, number: int) -> None:
        self._machine.reset(number)
        self._wake.set()

    def forget(self, number: int) -> None:
        self._streams.pop(number, None)

    # -- its tasks --

    async def _read(self, accept: Callable[[MuxStream], None]) -> None:
        paid = 0
        while data := await self._channel.receive():
            self.received_bytes += len(data)
            for event in self._machine.receive(data):
                self._on(event, accept)
            pieces = self._channel.messages + self._machine.frames
            if pieces - paid > _MANY_PIECES:
                # bytes cut very fine cost CPU: who does it waits, and others are served
                await trio.sleep((pieces - paid) / _PIECES_PER_S)
                paid = pieces
            elif not self._channel.has_more:
                paid = pieces
            if self._machine.has_control:
                self._wake.set()
            # what isn't read fills the peer's TCP window: it is slowed, not cut off
            await _pause(self._receive_rate, len(data))
        self._end("the peer closed it")

    def _on(self, event: yamux.Event, accept: Callable[[MuxStream], None]) -> None:
        match event:
            case yamux.Opened(number):
                stream = self._streams[number] = MuxStream(self, number)
                accept(stream)
            case yamux.Received(number, data):
                if stream_or_none := self._streams.get(number):
                    stream_or_none.received(data)
            case yamux.Ended(number):
                if stream_or_none := self._streams.get(number):
                    stream_or_none.ended()
            case yamux.WasReset(number):
                if stream_or_none := self._streams.get(number):
                    stream_or_none.broke("the peer reset it")
            case yamux.Widened(number):
                if stream_or_none := self._streams.get(number):
                    stream_or_none.widened()
            case yamux.Ponged():
                self._ponged.set()
            case yamux.Left():
                self.close("the peer left")

    async def _write(self) -> None:
        while True:
            if not self._outgoing and not self._machine.has_control:
                self._wake = trio.Event()
                await self._wake.wait()
            messages, done = self._batch()
            try:
                await self._channel.send(*messages)
            finally:
                for event in done:
                    event.set()
            await _pause(self._send_rate, sum(map(len, messages)))

    def _batch(self) -> tuple[list[bytes], list[trio.Event]]:
        """What goes out next: a few messages, and who waits for them to be on their way.

        Small frames share a message; a full one is a message of its own.
        """
        messages, done = list[bytes](), list[trio.Event]()
        control = self._machine.control()
        frames, size = ([control], len(control)) if control else ([], 0)
        while self._outgoing:
            if size and size + len(self._outgoing[0][0]) > MAX_PLAINTEXT_BYTES:
                messages.append(frames[0] if len(frames) == 1 else b"".join(frames))
                frames, size = [], 0
                if len(messages) == _FRAMES_AT_ONCE:
                    return messages, done
            frame, event = self._outgoing.popleft()
            frames.append(frame)
            size += len(frame)
            if event is not None:
                done.append(event)
        if frames:
            messages.append(frames[0] if len(frames) == 1 else b"".join(frames))
        return messages, done

    async def _ping(self) -> None:
        value = 0
        while True:
            self._ponged = trio.Event()
            began = trio.current_time()
            self._machine.ping(value)
            self._wake.set()
            value = (value + 1) & 0xFFFFFFFF
            with trio.move_on_after(2 * self._ping_interval_s) as waited:
                await self._ponged.wait()
            if waited.cancelled_caught:
                raise ChannelBroken("it gave no sign of life")
            self._sweep()
            rtt_s = trio.current_time() - began
            # 1/4 of the newest: steady, and still follows a route that changed within a minute
            self.rtt_s = rtt_s if self.rtt_s is None else 0.75 * self.rtt_s + 0.25 * rtt_s
            await trio.sleep(self._ping_interval_s)

    def _sweep(self) -> None:
        """Resets streams that we closed and the peer never did."""
        now = trio.current_time()
        for stream in list(self._streams.values()):
            if stream.closed_s is not None and now - stream.closed_s > LINGER_S:
                stream.reset()

    async def _say_protocol_error(self) -> None:
        with trio.move_on_after(1, shield=True):
            self._machine.leave(_GO_AWAY_PROTOCOL_ERROR)
            try:
                await self._channel.send(self._machine.control())
            except ChannelBroken:
                return

    def _end(self, why: str) -> None:
        self.ended_by = self.ended_by or why

    @staticmethod
    def _done(event: trio.Event | None) -> None:
        if event is not None:
            event.set()


async def _pause(rate: Bucket | None, size: int) -> None:
    """Waits for as long as a rate wants; no turn of the loop where it wants none."""
    if rate is not None and (wait_s := rate.take(size, trio.current_time())):
        await trio.sleep(wait_s)


def _taken(payload: deque[memoryview], most: int) -> list[memoryview]:
    """What comes first, at most so many bytes."""
    pieces: list[memoryview] = []
    while payload and most:
        piece = payload[0][:most]
        pieces.append(piece)
        most -= len(piece)
        if len(piece) == len(payload[0]):
            payload.popleft()
        else:
            payload[0] = payload[0][len(piece) :]
    return pieces

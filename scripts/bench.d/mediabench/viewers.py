"""Many LL-HLS viewers in one small process: ``main`` is a program.

Each has a connection of its own, reloads its playlist blocking, and reads every part. What it
reads it throws away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

import httpx
import trio

from mediabench.watcher import read_playlist

_READ_BYTES = 256 * 1024
_JOIN_OVER_S = 3.0


class _Viewer:
    """One viewer; counts what it read."""

    def __init__(self, stream: trio.SocketStream, host: str) -> None:
        self._stream = stream
        self._host = host
        self._rest = b""

    async def get(self, url: str) -> tuple[int, bytes]:
        """Status and body of one request on the kept-alive connection."""
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        await self._stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        while b"\r\n\r\n" not in self._rest:
            await self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        values = {name.lower(): value for name, _, value in (f.partition(":") for f in fields)}
        size = int(values.get("content-length", "0"))
        pieces = [self._rest[:size]]
        left = size - len(self._rest)
        self._rest = self._rest[size:]
        while left > 0:
            data = await self._stream.receive_some(_READ_BYTES)
            if not data:
                raise EOFError
            pieces.append(data[:left])
            self._rest = bytes(data[left:])
            left -= len(data)
        return int(status.split()[1]), b"".join(pieces)

    async def _more(self) -> None:
        data = await self._stream.receive_some(_READ_BYTES)
        if not data:
            raise EOFError
        self._rest += data


async def watch(media: str, late_s: float) -> None:
    """One viewer of a media playlist, until cancelled or refused."""
    await trio.sleep(late_s)
    parts = urlsplit(media)
    stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
    async with stream:
        viewer = _Viewer(stream, parts.netloc)
        status, body = await viewer.get(media)
        known: set[str] | None = None
        while status == 200:
            playlist = read_playlist(body.decode(), media)
            fresh = [part.url for part in playlist.parts if known is not None]
            for url in fresh:
                if url not in (known or ()):
                    await viewer.get(url)
            known = {part.url for part in playlist.parts}
            wanted = f"?_HLS_msn={playlist.next_msn}&_HLS_part={playlist.next_part}"
            status, body = await viewer.get(media + wanted)


def main(arguments: Sequence[str]) -> None:
    """A multivariant playlist's URL and a number of viewers; says when all have joined."""
    multivariant, count = arguments
    lines = httpx.get(multivariant, timeout=30).text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("#EXT-X-STREAM-INF"))
    trio.run(_all, urljoin(multivariant, lines[at + 1]), int(count))


async def _all(media: str, count: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(watch, media, random.uniform(0, _JOIN_OVER_S))
        await trio.sleep(_JOIN_OVER_S)
        print("joined", flush=True)

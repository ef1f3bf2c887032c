"""Faults of hypercorn 0.18 that clients can bring about, mended. Imported for its effect.

Each has a test that fails on the stock version (``test_http_tls``). hypercorn is pinned to 0.18.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import hypercorn.protocol
from hypercorn.protocol.h2 import H2Protocol

if not version("hypercorn").startswith("0.18."):
    raise ImportError("these mends were made for hypercorn 0.18: look at each again")


class _Over:
    """Takes what still comes for a stream whose answer is out."""

    async def handle(self, event: object) -> None:
        pass


class _Streams(dict[int, Any]):
    def __missing__(self, stream_id: int) -> _Over:
        return _Over()


class MendedH2Protocol(H2Protocol):
    """DATA for a stream that was answered early (a body refused) raised KeyError, and all other
    streams of the connection died with it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.streams = _Streams()


hypercorn.protocol.H2Protocol = MendedH2Protocol  # type: ignore[misc]  # that is the mend

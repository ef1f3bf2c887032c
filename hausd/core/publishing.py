"""What ingest and rooms say to each other of a publisher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes: address without port, ``rtmp`` or ``rtmps``, what the encoder calls itself."""

    address: str
    protocol: str
    encoder: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a key may not publish, in words for the artist."""

    code: str
    message: str


class FeedOver(Exception):
    """The room takes no more from this publisher; ``args[0]`` is the reason in plain words."""

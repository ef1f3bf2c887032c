"""Hosts on loopback for tests, several in one process."""

from __future__ import annotations

import hashlib
import random
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from hausd.core.keys import SigningKey
from hausd.core.peers import HostSettings, parse_multiaddr
from hausd.p2p import Host, PeerBook, open_host

LOOPBACK = (parse_multiaddr("/ip4/127.0.0.1/tcp/0"),)


def seed_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def host(
    name: str,
    settings: HostSettings | None = None,
    book: PeerBook | None = None,
    **changes: object,
) -> AbstractAsyncContextManager[Host]:
    """A host on a port of its own, whose key follows from its name."""
    settings = settings or HostSettings(listen=LOOPBACK, heartbeat_s=0.2)
    settings = replace(settings, **changes)  # type: ignore[arg-type]
    key = SigningKey(seed_of(name))
    return open_host(settings, key, book or PeerBook(), rng=random.Random(name))

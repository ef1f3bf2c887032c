"""Peers that this node has been connected to, kept in a file of its home."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from hausd.core.peers import Multiaddr, PeerId, parse_endpoint, parse_peer_id
from hausd.policy.reach import Reach, may_dial

log = structlog.get_logger("hausd.p2p")

MAX_PEERS = 512
MAX_ADDRESSES = 8
_MAX_FILE_BYTES = 2 * 1024 * 1024
_FORGET_AFTER_MS = 30 * 24 * 3600 * 1000


class _Entry(msgspec.Struct):
    id: str
    addresses: list[str]
    seen_ms: int


class _File(msgspec.Struct):
    version: int
    peers: list[_Entry]


@dataclass(frozen=True, slots=True)
class Known:
    """Where a peer was dialled, or said it can be; and when it was last connected."""

    addresses: tuple[Multiaddr, ...]
    seen_ms: int


class PeerBook:
    """At most 512 peers with 8 addresses each; beyond it, who was seen longest ago is forgotten.

    The file is only a hint: what is broken in it is left out, and a lost one does no harm.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Without a path nothing is kept."""
        self._path = path
        self._peers: OrderedDict[PeerId, Known] = OrderedDict()
        self.changed = False

    @classmethod
    def read(cls, path: Path, now_ms: int) -> PeerBook:
        """The book in a file; empty where there is none, or it can't be read."""
        book = cls(path)
        try:
            with path.open("rb") as file:
                untrusted = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return book
        except OSError as fault:
            log.warning("peer-book-unread", because=fault.strerror)
            return book
        for peer, known in decode(untrusted, now_ms):
            book._peers[peer] = known
        return book

    def known(self, peer: PeerId) -> Known | None:
        return self._peers.get(peer)

    def latest(self) -> list[PeerId]:
        """All of them, who was seen last first."""
        return list(reversed(self._peers))

    def seen(
        self, peer: PeerId, addresses: Iterable[Multiaddr], now_ms: int, *, dialled: bool = True
    ) -> None:
        """A peer is connected; without any address to dial there is nothing to keep.

        ``dialled``: by us. Who came by itself only claims its addresses, and takes nobody's place.
        """
        kept = tuple(dict.fromkeys(addresses))[:MAX_ADDRESSES]
        full = peer not in self._peers and len(self._peers) >= MAX_PEERS
        if not kept or (full and not dialled):
            return
        self._peers.pop(peer, None)
        self._peers[peer] = Known(kept, now_ms)
        if len(self._peers) > MAX_PEERS:
            self._peers.popitem(last=False)
        self.changed = True

    def forget(self, peer: PeerId) -> None:
        """A peer that nobody finds any more, or who is banned."""
        self.changed |= self._peers.pop(peer, None) is not None

    def encode(self) -> bytes:
        """The file's bytes."""
        self.changed = False
        entries = [
            _Entry(peer, list(known.addresses), known.seen_ms)
            for peer, known in self._peers.items()
        ]
        return msgspec.json.encode(_File(1, entries))

    def write(self, encoded: bytes) -> None:
        """Replaces the file at once; raises OSError. May run in another thread."""
        if self._path is None:
            return
        new = self._path.with_name(self._path.name + ".new")
        try:
            with open(new, "wb", opener=_private) as file:
                file.write(encoded)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()
            raise


def decode(untrusted: bytes, now_ms: int) -> list[tuple[PeerId, Known]]:
    """What a book's bytes say, the oldest first; whatever is broken is left out."""
    if len(untrusted) > _MAX_FILE_BYTES:
        return []
    try:
        file = msgspec.json.decode(untrusted, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    if file.version != 1:
        return []
    peers: list[tuple[PeerId, Known]] = []
    for entry in sorted(file.peers, key=lambda each: each.seen_ms):
        seen_ms = min(entry.seen_ms, now_ms)  # a clock that was ahead keeps nobody for ever
        if seen_ms < now_ms - _FORGET_AFTER_MS:
            continue
        try:
            peer = parse_peer_id(entry.id)
            ends = [parse_endpoint(each) for each in entry.addresses[:MAX_ADDRESSES]]
        except ValueError:
            continue
        addresses = tuple(
            end.multiaddr for end in ends if end.peer == peer and may_dial(end, peer, Reach.MACHINE)
        )
        if addresses:
            peers.append((peer, Known(addresses, seen_ms)))
    return peers[-MAX_PEERS:]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

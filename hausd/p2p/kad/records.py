"""What this node keeps of the DHT for others: who provides what, and where names point.

Bounded in all directions; at a bound the oldest goes, so a flood costs others at most what is
republished within the day. Times are ``trio.current_time``'s, passed in.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass

from hausd.core.peers import PeerId
from hausd.wire.ipns import IpnsRecord
from hausd.wire.kad import Contact

PROVIDER_S = 48 * 3600.0
"""A provider record is kept so long. Source: the kad-dht specification."""
VALUE_S = 48 * 3600.0
MAX_PROVIDERS = 50_000
MAX_PROVIDERS_OF_KEY = 128
MAX_PROVIDERS_BY_PEER = 2_048
"""Keys that one peer may be a provider of here."""
MAX_VALUES = 2_048
"""Of 10 KiB at most, and of some 400 bytes as a rule."""


@dataclass(frozen=True, slots=True)
class _Provider:
    contact: Contact
    until_s: float


class ProviderStore:
    """Who said of itself that it has what a key names; the newest MAX_PROVIDERS."""

    def __init__(self) -> None:
        self._records: OrderedDict[tuple[bytes, PeerId], _Provider] = OrderedDict()
        self._of_key: dict[bytes, OrderedDict[PeerId, None]] = {}
        self._by_peer: Counter[PeerId] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def add(self, key: bytes, contact: Contact, now_s: float) -> bool:
        """Keeps a record, anew where it is kept already; False where the peer has too many."""
        peer = contact.peer
        if (key, peer) in self._records:
            self._drop(key, peer)
        self._expire(now_s)
        if self._by_peer[peer] >= MAX_PROVIDERS_BY_PEER:
            return False
        of_key = self._of_key.get(key)
        if of_key is not None and len(of_key) >= MAX_PROVIDERS_OF_KEY:
            self._drop(key, next(iter(of_key)))
        if len(self._records) >= MAX_PROVIDERS:
            self._drop(*next(iter(self._records)))
        self._records[key, peer] = _Provider(contact, now_s + PROVIDER_S)
        self._of_key.setdefault(key, OrderedDict())[peer] = None
        self._by_peer[peer] += 1
        return True

    def of(self, key: bytes, now_s: float) -> list[Contact]:
        """Who provides it, the newest first."""
        self._expire(now_s)
        return [self._records[key, peer].contact for peer in reversed(self._of_key.get(key, {}))]

    def remove(self, key: bytes, peer: PeerId) -> None:
        """Forgets a record, if it is here."""
        if (key, peer) in self._records:
            self._drop(key, peer)

    def _expire(self, now_s: float) -> None:
        while self._records:
            (key, peer), oldest = next(iter(self._records.items()))
            if oldest.until_s > now_s:
                return
            self._drop(key, peer)

    def _drop(self, key: bytes, peer: PeerId) -> None:
        del self._records[key, peer]
        del self._of_key[key][peer]
        if not self._of_key[key]:
            del self._of_key[key]
        self._by_peer[peer] -= 1
        if not self._by_peer[peer]:
            del self._by_peer[peer]


class ValueStore:
    """The newest record of each name that was told lately."""

    def __init__(self) -> None:
        self._records: OrderedDict[PeerId, tuple[IpnsRecord, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def put(self, name: PeerId, record: IpnsRecord, now_s: float) -> bool:
        """Keeps a record, unless a newer one is here: then False."""
        kept = self.get(name, now_s)
        if kept is not None and record < kept:
            return False
        self._records.pop(name, None)
        if len(self._records) >= MAX_VALUES:
            self._records.popitem(last=False)
        self._records[name] = (record, now_s + VALUE_S)
        return True

    def get(self, name: PeerId, now_s: float) -> IpnsRecord | None:
        """The newest that is not too old to be believed. Whether it is over is in the record."""
        while self._records:
            oldest, (_, until_s) = next(iter(self._records.items()))
            if until_s > now_s:
                break
            del self._records[oldest]
        found = self._records.get(name)
        return found[0] if found is not None else None

"""What other nodes send on a followed room's topic, judged before it is passed on.

Size, schema, signature, authority, rate, in that order of cost; only what is at hand is read. What
is found good is kept parsed for a moment, so that it is verified once.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import trio

from hausd.core.forms import MAX_TIME_MS
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import PublicKey
from hausd.core.peers import PeerId, Verdict
from hausd.rooms.leaftable import LeafTable
from hausd.rooms.metrics import MESSAGES
from hausd.wire.announce import AnnounceError, Signed, contradict, unpack, verify
from hausd.wire.follow import TickChain
from hausd.wire.statements import End, Head, Statement, Tick, Track

_MESSAGES_PER_S = 20.0
_BURST = 200.0
"""An honest origin sends some 4 messages a second; after a partition many come at once."""
_SEEN = 512
_PARSED = 256
_REMEMBERED = 64
"""Tracks and heads that are kept to notice when an authority contradicts itself."""
_MAX_DURATION_TICKS = 2**42
_MAX_TARGET_S = 60
_MAX_WINDOW_MS = 600_000
"""What may be configured at an origin."""

Contradiction = Callable[[Signed[Statement], Signed[Statement]], None]
K = TypeVar("K")
V = TypeVar("V")


class Door:
    """Judges messages of one room against its authority and what is known of it."""

    def __init__(
        self,
        room: RoomId,
        authority: PublicKey,
        chain: TickChain,
        table: LeafTable,
        on_contradiction: Contradiction,
    ) -> None:
        self._room = room
        self._authority = authority
        self._chain = chain
        self._table = table
        self._on_contradiction = on_contradiction
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._parsed: OrderedDict[bytes, tuple[Signed[Statement], ...]] = OrderedDict()
        self._said: OrderedDict[tuple[type, SessionId, int], Signed[Statement]] = OrderedDict()
        self._tokens = _BURST
        self._tokens_at_s = 0.0

    def judge(self, peer: PeerId, untrusted: bytes) -> Verdict:
        """The topic's validator (``core.peers.Validator``)."""
        verdict = self._judge(untrusted)
        MESSAGES.labels(verdict.value).inc()
        return verdict

    def take(self, message: bytes) -> tuple[Signed[Statement], ...]:
        """The statements of a message that was accepted, newest first."""
        found = self._parsed.pop(hashlib.sha256(message).digest(), None)
        if found is not None:
            return found
        try:  # it waited so long that it is not kept parsed any more
            return unpack(message, self._authority, self._room, self._chain)
        except AnnounceError:
            return ()

    def verified(self, untrusted: bytes) -> Signed[Statement] | None:
        """A statement that was told on request; None where it is not this authority's."""
        try:
            signed = verify(untrusted, self._authority, self._room)
        except AnnounceError:
            return None
        return signed if plausible(signed.statement) else None

    def remember(self, signed: Signed[Statement]) -> bool:
        """Whether a track or head is new here. One that contradicts another is not."""
        said = signed.statement
        place = (type(said), said.session, said.n)
        other = self._said.get(place)
        if other is None:
            _keep(self._said, place, signed, _REMEMBERED)
            return True
        if contradict(other, signed):
            self._on_contradiction(other, signed)
        return False

    def head_at(self, session: SessionId, n: int) -> Head | None:
        """A head that was signed, as long as it is remembered."""
        said = self._said.get((Head, session, n))
        found = said.statement if said is not None else None
        return found if isinstance(found, Head) else None

    def _judge(self, untrusted: bytes) -> Verdict:
        digest = hashlib.sha256(untrusted).digest()
        if digest in self._seen:
            return Verdict.IGNORE
        try:
            found = unpack(untrusted, self._authority, self._room, self._chain)
        except AnnounceError:
            return Verdict.REJECT
        if not all(plausible(signed.statement) for signed in found):
            return Verdict.REJECT
        _keep(self._seen, digest, None, _SEEN)
        if not self._is_new(found[0]) or not self._within_rate():
            return Verdict.IGNORE
        _keep(self._parsed, digest, found, _PARSED)
        for signed in found:
            match signed.statement:
                case Tick(gops=gops):
                    for gop in gops:
                        for part in gop.parts:
                            self._table.expect(part.leaves)
                case Track(init=init):
                    self._table.expect((init,))
        return Verdict.ACCEPT

    def _is_new(self, signed: Signed[Statement]) -> bool:
        said = signed.statement
        if isinstance(said, Track | Head):
            other = self._said.get((type(said), said.session, said.n))
            if other is None:
                return True
            if contradict(other, signed):
                self._on_contradiction(other, signed)
            return False
        chain = self._chain
        if chain.session is None:
            return True
        if said.session != chain.session:
            return chain.follows(said)
        for near in chain.recent(max(0, said.n - 1), said.n + 1):
            if near.digest == signed.digest:
                return False
            if contradict(near, signed):
                self._on_contradiction(near, signed)
                return False
        return said.n >= chain.next and not chain.ended

    def _within_rate(self) -> bool:
        """An authority whose key is stolen must not flood the network."""
        now = trio.current_time()
        self._tokens = min(_BURST, self._tokens + (now - self._tokens_at_s) * _MESSAGES_PER_S)
        self._tokens_at_s = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def plausible(said: Statement) -> bool:
    """Whether playlists can be made of a statement: an authority may sign any number."""
    match said:
        case Track():
            return said.target_s <= _MAX_TARGET_S and said.window_ms <= _MAX_WINDOW_MS
        case Tick():
            times = [gap.program_time_ms for gap in said.gaps]
            times += [part.program_time_ms for gop in said.gops for part in gop.parts]
            durations = [gap.duration for gap in said.gaps]
            durations += [part.duration for gop in said.gops for part in gop.parts]
            return max(times, default=0) <= MAX_TIME_MS and max(durations, default=0) <= (
                _MAX_DURATION_TICKS
            )
        case Head() | End():
            return True


def _keep(held: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    held[key] = value
    if len(held) > most:
        held.popitem(last=False)

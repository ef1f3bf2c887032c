"""Gets blocks from IPFS peers, and from nodes of ours that are asked as such.

``policy.seeking`` decides whom to ask what; here are the streams, the clock and who waits.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.following import LeafMissing, Providers
from hausd.core.peers import (
    PeerAddress,
    PeerId,
    PeerUnreachable,
    ProtocolRefused,
    StreamBroken,
)
from hausd.p2p import metrics
from hausd.p2p.bitswap.dialling import Dialling
from hausd.p2p.bitswap.line import Line
from hausd.p2p.host import Host
from hausd.policy.seeking import AskBlock, AskHave, FindProviders, Givers, Lost, Seek, Step
from hausd.telemetry import count_swallowed
from hausd.wire.bitswap import Kind, Message, Payload

log = structlog.get_logger("hausd.p2p")

WRONG_BAN_S = 600.0
MAX_SOUGHT = 128
"""Blocks at once; who wants more waits."""
_MAX_ASKED_LATELY = 16_384
_MAX_REFUSING = 1024
_NOBODY_S = 0.1
"""Where there is nobody to ask, who asks again and again must not keep the loop busy."""
_LOOK_S = 0.25
_MAX_PROVIDERS = 8
_FIND_S = 15.0


@dataclass(slots=True, eq=False)
class _Sought:
    """A block that somebody here waits for."""

    cid: CID
    seek: Seek
    deadline_s: float
    takers: int = 0
    data: bytes | None = None
    told: set[PeerId] = field(default_factory=set)
    """Whom it was asked of, in whatever way."""
    finding: trio.CancelScope = field(default_factory=trio.CancelScope)
    done: trio.Event = field(default_factory=trio.Event)


class Asking:
    """All blocks that are sought. ``nursery`` owns the peers' tasks; ``run`` is the clock.

    Implements ``core.following.BlockSource``.
    """

    name = "bitswap"

    def __init__(self, host: Host, providers: Providers | None, nursery: trio.Nursery) -> None:
        self._host = host
        self._providers = providers
        self._nursery = nursery
        self._dialling = Dialling(host)
        self._givers = Givers()
        self._places = trio.CapacityLimiter(MAX_SOUGHT)
        self._sought: dict[bytes, _Sought] = {}
        """By digest: that is all that bytes can be compared with."""
        self._asked_lately: OrderedDict[bytes, None] = OrderedDict()
        self._lines: dict[PeerId, Line] = {}
        self._load: dict[PeerId, int] = {}
        self._heard_s: dict[PeerId, float] = {}
        self._refusing: OrderedDict[PeerId, None] = OrderedDict()
        """Connected peers that don't speak Bitswap."""
        self._stirred = trio.Event()

    async def fetch(self, cid: CID, max_bytes: int, *, deadline_s: float) -> bytes:
        """See ``core.following.BlockSource``."""
        with trio.move_on_at(deadline_s):
            async with self._places:
                sought = self._sought.get(cid.digest) or self._begin(cid, max_bytes, deadline_s)
                sought.deadline_s = max(sought.deadline_s, deadline_s)
                sought.takers += 1
                try:
                    await sought.done.wait()
                finally:
                    sought.takers -= 1
                    if not sought.takers:
                        self._end(sought)
                if sought.data is not None and len(sought.data) <= max_bytes:
                    return sought.data
                if not sought.told:
                    await trio.sleep(_NOBODY_S)
        metrics.BITSWAP_LOST.inc()
        raise LeafMissing(cid)

    async def run(self) -> None:
        """Looks now and then who is late, until cancelled."""
        while True:
            if self._sought:
                await trio.sleep(_LOOK_S)
            else:
                self._stirred = trio.Event()
                await self._stirred.wait()
            now_s = trio.current_time()
            for sought in list(self._sought.values()):
                late = len(sought.seek.late)
                steps = sought.seek.due(self._last_heard, self._givers.estimates, now_s)
                metrics.BITSWAP_LATE.inc(len(sought.seek.late) - late)
                self._act(sought, steps)

    def close(self) -> None:
        """Nothing is sought any more."""
        for sought in list(self._sought.values()):
            self._end(sought)

    # -- what the other side says --

    def heard_bytes(self, peer: PeerId) -> None:
        """A peer sends something; it is not silent."""
        self._heard_s[peer] = trio.current_time()

    def heard(self, peer: PeerId, message: Message) -> None:
        """Blocks, and who has which. Bytes of no block that was asked for get a peer banned."""
        now_s = trio.current_time()
        for presence in message.presences:
            sought = self._sought.get(presence.cid.digest) if presence.cid is not None else None
            if sought is None or peer not in sought.told:
                continue
            if presence.have:
                self._givers.gave(peer, now_s)
                self._act(sought, sought.seek.has(peer, now_s))
            else:
                self._act(sought, sought.seek.has_not(peer, now_s))
        for block in message.payload:
            self._got(peer, block, now_s)

    def came(self, peer: PeerId) -> None:
        """A peer is connected from now on: it may have what nobody else has."""
        now_s = trio.current_time()
        for sought in list(self._sought.values()):
            self._act(sought, sought.seek.came(peer, now_s))

    def gone(self, peer: PeerId) -> None:
        """A peer is not connected any more."""
        self._heard_s.pop(peer, None)
        self._refusing.pop(peer, None)
        self._givers.gone(peer)
        self._given_up(peer)

    def _got(self, peer: PeerId, block: Payload, now_s: float) -> None:
        cid = block.cid()
        sought = self._sought.get(cid.digest) if cid is not None else None
        if sought is None:
            if cid is None or cid.digest not in self._asked_lately:
                log.warning("wrong-bytes", peer=peer, protocol="bitswap")
                metrics.BITSWAP_WRONG.inc()
                self._host.ban(peer, WRONG_BAN_S, "sent bytes of no block that was asked for")
            else:
                metrics.BITSWAP_TWICE.inc()
            return
        metrics.BITSWAP_GOT.inc()
        metrics.BITSWAP_BYTES_GOT.inc(len(block.data))
        self._givers.gave(peer, now_s)
        asked_s = sought.seek.open.get(peer, now_s)
        self._givers.estimates.carried(peer, len(block.data), now_s - asked_s, waited=False)
        line = self._lines.get(peer)
        if line is not None:
            line.given(sought.cid)
        sought.data = block.data
        self._end(sought)

    def _last_heard(self, peer: PeerId) -> float:
        return self._heard_s.get(peer, -inf)

    # -- one block --

    def _begin(self, cid: CID, max_bytes: int, deadline_s: float) -> _Sought:
        now_s = trio.current_time()
        able = [peer for peer in self._host.connected() if peer not in self._refusing]
        seek, steps = self._givers.begin(
            max_bytes, able, lambda peer: self._load.get(peer, 0), now_s
        )
        sought = self._sought[cid.digest] = _Sought(cid, seek, deadline_s)
        self._asked_lately[cid.digest] = None
        self._asked_lately.move_to_end(cid.digest)
        if len(self._asked_lately) > _MAX_ASKED_LATELY:
            self._asked_lately.popitem(last=False)
        self._act(sought, steps)
        self._stirred.set()
        return sought

    def _end(self, sought: _Sought) -> None:
        """The block came, nobody has it, or nobody waits for it any more."""
        if self._sought.get(sought.cid.digest) is not sought:
            return
        del self._sought[sought.cid.digest]
        sought.finding.cancel()
        for peer in sought.told:
            self._loaded(peer, -1)
            line = self._lines.get(peer)
            if line is not None:
                line.cancel(sought.cid)
        sought.done.set()

    def _act(self, sought: _Sought, steps: list[Step]) -> None:
        for step in steps:
            match step:
                case AskHave(peers):
                    for peer in peers:
                        self._tell(sought, peer, Kind.HAVE)
                case AskBlock(peer):
                    self._tell(sought, peer, Kind.BLOCK)
                case FindProviders():
                    self._nursery.start_soon(self._find, sought)
                case Lost():
                    self._end(sought)

    def _tell(self, sought: _Sought, peer: PeerId, kind: Kind) -> None:
        metrics.BITSWAP_ASKED.labels(kind.name.lower()).inc()
        if peer not in sought.told:
            sought.told.add(peer)
            self._loaded(peer, 1)
        line = self._lines.get(peer)
        if line is None:
            line = self._lines[peer] = Line(self._host, peer)
            self._nursery.start_soon(self._run_line, line)
        line.ask(sought.cid, kind)

    def _loaded(self, peer: PeerId, change: int) -> None:
        load = self._load.get(peer, 0) + change
        if load > 0:
            self._load[peer] = load
        else:
            self._load.pop(peer, None)

    async def _find(self, sought: _Sought) -> None:
        """Connects with those that are said to have it."""
        try:
            with sought.finding:
                await self._ask_providers(sought)
        except Exception as fault:  # the door of a search's task
            count_swallowed("bitswap-finding", fault)
            log.exception("bitswap-finding-failed")
        if self._is_sought(sought):
            self._act(sought, sought.seek.found_all(trio.current_time()))

    async def _ask_providers(self, sought: _Sought) -> None:
        if self._providers is None:
            return
        deadline_s = min(sought.deadline_s, trio.current_time() + _FIND_S)
        with trio.move_on_at(deadline_s):
            named = await self._providers.find(sought.cid, _MAX_PROVIDERS, deadline_s=deadline_s)
            async with trio.open_nursery() as nursery:
                for one in named[:_MAX_PROVIDERS]:
                    nursery.start_soon(self._meet, sought, one)

    async def _meet(self, sought: _Sought, provider: PeerAddress) -> None:
        if await self._dialling.reach(provider) and self._is_sought(sought):
            self._act(sought, sought.seek.found(provider.peer, trio.current_time()))

    def _is_sought(self, sought: _Sought) -> bool:
        return self._sought.get(sought.cid.digest) is sought

    # -- peers --

    async def _run_line(self, line: Line) -> None:
        try:
            await line.run()
        except (PeerUnreachable, ProtocolRefused, StreamBroken) as fault:
            log.debug("bitswap-not-asked", peer=line.peer, because=str(fault))
            if isinstance(fault, ProtocolRefused):
                self._refusing[line.peer] = None
                if len(self._refusing) > _MAX_REFUSING:
                    self._refusing.popitem(last=False)
        except Exception as fault:  # the door of a peer's task
            count_swallowed("bitswap-asking", fault)
            log.exception("bitswap-asking-failed", peer=line.peer)
        finally:
            if self._lines.get(line.peer) is line:
                del self._lines[line.peer]
        if not line.idle:
            self._given_up(line.peer)

    def _given_up(self, peer: PeerId) -> None:
        """What was asked of a peer is not to be had from it."""
        now_s = trio.current_time()
        for sought in list(self._sought.values()):
            if peer in sought.told:
                self._act(sought, sought.seek.has_not(peer, now_s))

"""The peers that are asked for blocks, each on one stream, and how those are reached that were
only named."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
import trio

from hausd.core.peers import PeerAddress, PeerId, PeerUnreachable
from hausd.p2p.exchange.line import Line, LineBroken
from hausd.p2p.host import Host
from hausd.policy.reach import Reach
from hausd.telemetry import count_swallowed

log = structlog.get_logger("hausd.p2p")

MAX_LINES = 64
MAX_DIALLING = 16
"""Peers that were named and are not reached yet: whoever names peers may invent them."""
STALE_S = 5.0
"""At the bound, who answered nothing for so long makes way, the longest silent first."""
_MAX_ADDRESSES_KNOWN = 1024
_DIAL_S = 1.5
"""A part is of no use after 4 s: whom one does not reach in a few round trips is no help."""
_FALSE_NAMES = 4
_FALSE_REST_S = 60.0
"""So many of the peers that a node named, one after the other, can't be reached: then for so long
nobody is asked since it named them."""


@dataclass(frozen=True, slots=True)
class _Named:
    """A peer as it was named: where it is, from where that was told, and by whom."""

    told: PeerAddress
    told_at: Reach
    by: PeerId


class Lines:
    """``on_end`` is told of each peer whose line ended: nothing it was asked for will come."""

    def __init__(self, host: Host, on_end: Callable[[PeerId], None]) -> None:
        self._host = host
        self._on_end = on_end
        self._lines: dict[PeerId, Line] = {}
        self._dialling = 0
        self._known: OrderedDict[PeerId, _Named] = OrderedDict()
        self._false: OrderedDict[PeerId, tuple[int, float]] = OrderedDict()
        """How many peers each node named that could not be reached, since one could; and when."""

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, peer: PeerId) -> Line | None:
        """The line to a peer, where there is one."""
        return self._lines.get(peer)

    def named(self, untrusted: Iterable[PeerAddress], by: PeerId) -> list[PeerId]:
        """Peers were named by another; gives whom of them to ask."""
        false, at_s = self._false.get(by, (0, 0.0))
        if false >= _FALSE_NAMES and trio.current_time() - at_s < _FALSE_REST_S:
            return []
        told_at, found = self._host.reach_of(by), []
        for one in untrusted:
            if one.peer != self._host.peer_id:
                found.append(one.peer)
                self._known[one.peer] = _Named(one, told_at, by)
                self._known.move_to_end(one.peer)
        while len(self._known) > _MAX_ADDRESSES_KNOWN:
            self._known.popitem(last=False)
        return found

    def to(self, peer: PeerId, nursery: trio.Nursery) -> Line | None:
        """The line to a peer, begun where there was none; None where there are too many."""
        line = self._lines.get(peer)
        if line is not None:
            return line
        if not self._host.is_connected(peer) and self._dialling >= MAX_DIALLING:
            return None
        if len(self._lines) >= MAX_LINES and not self._make_way():
            return None
        line = self._lines[peer] = Line(peer)
        nursery.start_soon(self._run, line)
        return line

    def _make_way(self) -> bool:
        silent = min(self._lines.values(), key=lambda line: line.spoke_s)
        if trio.current_time() - silent.spoke_s < STALE_S:
            return False
        del self._lines[silent.peer]
        silent.scope.cancel()
        return True

    async def _run(self, line: Line) -> None:
        peer = line.peer
        named_only = not self._host.is_connected(peer)
        try:
            with line.scope:
                if named_only:
                    await self._dial(peer)
                await line.run(self._host.open_stream)
        except (LineBroken, PeerUnreachable) as fault:
            log.debug("line-ended", peer=peer, because=str(fault))
        except Exception as fault:  # the door of a peer's task
            count_swallowed("p2p-line", fault)
            log.exception("line-failed", peer=peer)
        finally:
            if self._lines.get(peer) is line:
                del self._lines[peer]
        self._on_end(peer)
        if named_only and not line.carried:
            # or peers that give nothing, and name each other, would take all our connections
            await self._host.disconnect(peer)

    async def _dial(self, peer: PeerId) -> None:
        """Connects to a peer that was named, by an address that was told with it."""
        named = self._known.get(peer)
        if named is None:
            raise PeerUnreachable("it is not connected, and nobody told where it is")
        self._dialling += 1
        try:
            with trio.fail_after(_DIAL_S):
                await self._host.connect_told(named.told, named.told_at)
        except trio.TooSlowError:
            self._judge(named.by, reached=False)
            raise PeerUnreachable(f"no answer within {_DIAL_S:g} s") from None
        except PeerUnreachable:
            self._judge(named.by, reached=False)
            raise
        else:
            self._judge(named.by, reached=True)
        finally:
            self._dialling -= 1

    def _judge(self, namer: PeerId, *, reached: bool) -> None:
        """Peers come and go, so some that are named are gone: but not one after the other."""
        false, _ = self._false.pop(namer, (0, 0.0))
        if reached:
            return
        self._false[namer] = false + 1, trio.current_time()
        if false + 1 == _FALSE_NAMES:
            log.warning("names-nobody", peer=namer)
        while len(self._false) > _MAX_ADDRESSES_KNOWN:
            self._false.popitem(last=False)

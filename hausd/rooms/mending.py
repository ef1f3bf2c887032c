"""What of a recording was passed over: too far back for a pin, or nowhere to be had at the time.

It is looked for again: at once where more is wanted than before, else now and then, ever more
seldom. What comes so is listed late (``FollowedRoom``). What was evicted is no hole: the store
needed its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
import trio

from hausd.core.cid import CID
from hausd.core.following import LeafMissing
from hausd.core.manifest import MAX_NODE_BYTES, ManifestError, SegmentRecord, records
from hausd.core.peers import PeerId
from hausd.policy import holes
from hausd.policy.depth import Depth
from hausd.rooms.fetching import Fetcher

log = structlog.get_logger("hausd.rooms")

_MAX_PLANNED = 20_000
"""Segments of all renditions that are fetched in one round; others in the next."""
_FIRST_S = 10.0
"""After its start a node looks once the recording's new end is known."""
_AGAIN_S, _AGAIN_MAX_S = 300.0, 3600.0
_LOOK_S = 5.0


@dataclass(slots=True)
class Mending:
    """``passed`` is the room's record's: ranges of numbers by rendition."""

    passed: dict[str, holes.Ranges]
    fetcher: Fetcher
    depth: Callable[[], Depth]
    _plan: deque[SegmentRecord] = field(default_factory=deque)

    def __len__(self) -> int:
        """Segments that this round still fetches."""
        return len(self._plan)

    def __contains__(self, record: SegmentRecord) -> bool:
        return holes.has(self.passed.get(record.rendition.name, []), record.segment.number)

    def passes(self, record: SegmentRecord) -> None:
        """The archive goes on without this segment."""
        holes.add(self.passed.setdefault(record.rendition.name, []), record.segment.number)

    def came(self, record: SegmentRecord) -> None:
        """It is here after all."""
        name = record.rendition.name
        holes.remove(self.passed[name], record.segment.number)
        if not self.passed[name]:
            del self.passed[name]

    def take(self) -> SegmentRecord | None:
        """What is fetched next: the newest first, so that what is there grows backwards."""
        return self._plan.pop() if self._plan else None

    async def run(
        self,
        known: Callable[[], tuple[CID, PeerId | None] | None],
        wanted: Callable[[SegmentRecord], bool],
        begun: Callable[[], None],
    ) -> None:
        """Begins a round now and then, and where the depth has changed, until cancelled.

        ``known``: the newest manifest that was read, and who told of it.
        """
        pause_s = _FIRST_S
        while True:
            depth = self.depth().last_ms
            with trio.move_on_after(pause_s):
                while self.depth().last_ms == depth:
                    await trio.sleep(_LOOK_S)
            changed = self.depth().last_ms != depth
            pause_s = _AGAIN_S if changed else min(max(2 * pause_s, _AGAIN_S), _AGAIN_MAX_S)
            newest = known()
            if newest is None or not self.passed:
                continue
            try:
                await self._plan_round(*newest, wanted)
            except (LeafMissing, ManifestError) as fault:
                log.info("manifest-unread", room=self.fetcher.room, because=str(fault))
            begun()

    async def _plan_round(
        self, manifest: CID, told_by: PeerId | None, wanted: Callable[[SegmentRecord], bool]
    ) -> None:
        async def get(cid: CID) -> bytes:
            return await self.fetcher.node(cid, told_by, MAX_NODE_BYTES)

        found: list[SegmentRecord] = []
        for name, ranges in list(self.passed.items()):
            if not ranges:  # all of it came meanwhile
                continue
            first, last = ranges[0][0], ranges[-1][1]
            async for record in records(manifest, get, name, first):
                if record.segment.number > last:
                    break
                if record in self and wanted(record):
                    found.append(record)
        found.sort(key=lambda record: record.segment.program_time_ms)
        self._plan = deque(found, _MAX_PLANNED)

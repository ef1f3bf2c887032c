"""Joins rooms of other nodes when somebody here opens their URL.

The room is taken part in while somebody watches, and ``policy.roles.GRACE_S`` after; ``Rooms``
sees to that. Here it is found out whether there is such a room at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
import trio

from hausd.core.errors import Problem
from hausd.core.following import Ask
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.policy.roles import Why
from hausd.policy.watching import WatchKey
from hausd.rooms.directory import Directory
from hausd.rooms.manager import Rooms
from hausd.rooms.metrics import JOINS
from hausd.rooms.ports import RoomSync

log = structlog.get_logger("hausd.rooms")

MAX_WATCHED = 32
"""Rooms of other nodes that are joined at once because somebody watches."""
MAX_JOINING = 8
"""Of them, those that are being looked for."""
_ASK_S = 6.0
_FIRST_WORD_S = 3.0
"""So long a room that was joined may take to say what state it is in."""
_MISSED_S = 3.0
"""A room that nobody had is not looked for again so soon: players ask again and again."""
_MAX_MISSED = 256


class OnDemand:
    """Implements ``http.ports.OnDemand``. ``open`` owns the looking."""

    def __init__(
        self,
        rooms: Rooms,
        directory: Directory,
        sync: RoomSync,
        key: WatchKey,
        seek: Callable[[RoomId], Awaitable[bool]],
    ) -> None:
        """``seek`` connects with nodes further away, and has the directory know their room."""
        self._rooms = rooms
        self._directory = directory
        self._sync = sync
        self._key = key
        self._seek = seek
        self._joining: dict[RoomId, trio.Event] = {}
        self._missed: OrderedDict[RoomId, float] = OrderedDict()
        self._nursery: trio.Nursery | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OnDemand]:
        """Joins rooms until the context is left."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            yield self
            self._nursery = None
            nursery.cancel_scope.cancel()

    # -- http.ports.OnDemand --

    def admits(self, room: RoomId, untrusted_token: str) -> bool:
        return self._key.admits(room, untrusted_token)

    def missed(self, room: RoomId) -> bool:
        at_s = self._missed.get(room)
        return at_s is not None and trio.current_time() - at_s < _MISSED_S

    def full(self, room: RoomId) -> bool:
        if room in self._joining:
            return False
        watched = sum(one.why is Why.WATCHED for one in self._rooms.followed())
        return len(self._joining) >= MAX_JOINING or watched + len(self._joining) >= MAX_WATCHED

    async def join(self, room: RoomId) -> None:
        joining = self._joining.get(room)
        if joining is None:
            if self._nursery is None or self.full(room):
                return
            joining = self._joining[room] = trio.Event()
            # a task of its own: who asked may go away in the middle of it
            self._nursery.start_soon(self._join, room, joining)
        await joining.wait()

    # -- details --

    async def _join(self, room: RoomId, done: trio.Event) -> None:
        try:
            title = self._directory.title(room)
            if title is not None or await self._exists(room) or await self._seek(room):
                joined = await self._rooms.join(room, title or "")
                joined.audience.expected()
                JOINS.labels("joined").inc()
                with trio.move_on_after(_FIRST_WORD_S):
                    while joined.state is RoomState.CREATED:
                        await joined.changed()
                return
            JOINS.labels("missed").inc()
        except (Problem, OSError) as fault:
            log.warning("room-not-joined", room=room, because=str(fault))
            JOINS.labels("failed").inc()
        finally:
            del self._joining[room]
            done.set()
        self._missed[room] = trio.current_time()
        self._missed.move_to_end(room)
        while len(self._missed) > _MAX_MISSED:
            self._missed.popitem(last=False)

    async def _exists(self, room: RoomId) -> bool:
        """Whether a neighbour says that it takes part in the room."""
        with trio.move_on_after(_ASK_S):
            return await self._sync.ask(room, Ask(None)) is not None
        return False

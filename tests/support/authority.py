"""The signing side of a session: numbers, chains and signs what an origin announces."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

from hausd.core.cid import CID
from hausd.core.ids import RoomId, SessionId
from hausd.core.keys import SigningKey
from hausd.core.live import RoomState
from hausd.core.media import Rendition
from hausd.wire.announce import REPEATED_TICKS, Signed, pack, sign
from hausd.wire.seals import TrackSeal
from hausd.wire.statements import End, Head, Statement, Tick, TickGap, TickGop, Track


class Authority:
    """Signs for one session of a room, each sequence from 0 on without holes.

    The session must be on disk before this is made, and never be used for a second one.
    """

    def __init__(self, room: RoomId, session: SessionId, key: SigningKey) -> None:
        self.room = room
        self.session = session
        self._key = key
        self._ticks = 0
        self._tracks = 0
        self._heads = 0
        self._before: bytes | None = None
        self._recent: deque[Signed[Statement]] = deque(maxlen=REPEATED_TICKS + 1)
        self._ended = False

    def track(
        self,
        rendition: Rendition,
        *,
        run: int,
        init: CID,
        init_size: int,
        target_s: int,
        part_target_ms: int,
        window_ms: int,
        peak_bps: int,
        average_bps: int,
        active: bool = True,
        seal: TrackSeal | None = None,
    ) -> Signed[Track]:
        """States a rendition as it is from the next tick on."""
        track = Track(
            room=self.room,
            session=self.session,
            n=self._tracks,
            tick=self._ticks,
            run=run,
            rendition=rendition,
            init=init,
            init_size=init_size,
            active=active,
            target_s=target_s,
            part_target_ms=part_target_ms,
            window_ms=window_ms,
            peak_bps=peak_bps,
            average_bps=average_bps,
            seal=seal,
        )
        signed = sign(track, self._key)
        self._tracks += 1
        return signed

    def tick(
        self,
        time_ms: int,
        gops: Sequence[TickGop] = (),
        gaps: Sequence[TickGap] = (),
        *,
        ends_run: bool = False,
    ) -> Signed[Tick]:
        """States what became ready. Raises ValueError after ``end``, or where it is too much."""
        self._check_open()
        tick = Tick(
            room=self.room,
            session=self.session,
            n=self._ticks,
            before=self._before,
            time_ms=time_ms,
            gops=tuple(gops),
            gaps=tuple(gaps),
            ends_run=ends_run,
        )
        signed = sign(tick, self._key)
        self._chain(signed)
        return signed

    def end(self, time_ms: int, state: Literal[RoomState.ENDED, RoomState.CLOSED]) -> Signed[End]:
        """States that this session has no more ticks."""
        self._check_open()
        end = End(self.room, self.session, self._ticks, self._before, time_ms, state)
        signed = sign(end, self._key)
        self._chain(signed)
        self._ended = True
        return signed

    def head(
        self, manifest: CID, state: RoomState, time_ms: int, pictures: CID | None = None
    ) -> Signed[Head]:
        """States where the manifest is now; allowed after ``end``, for the whole recording."""
        head = Head(self.room, self.session, self._heads, manifest, state, time_ms, pictures)
        signed = sign(head, self._key)
        self._heads += 1
        return signed

    def message(self, signed: Signed[Statement]) -> bytes:
        """What to publish for a statement just made: a tick repeats those before it."""
        recent = list(self._recent)[::-1]
        if recent and recent[0] is signed:
            return pack(signed, recent[1:])
        return pack(signed)

    def _check_open(self) -> None:
        if self._ended:
            raise ValueError("the session has ended; nothing can follow")

    def _chain(self, signed: Signed[Tick] | Signed[End]) -> None:
        self._before = signed.digest
        self._ticks += 1
        self._recent.append(signed)

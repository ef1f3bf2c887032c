"""What a room does about a source whose keyframes come too seldom (``policy.gops``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hausd.core.ids import RoomId
from hausd.policy.cut import SLACK_MS
from hausd.policy.gops import Machine, has_core, live_target_s
from hausd.rooms.records import RoomRecord
from hausd.wire.worker import WorkerConfig, WorkerStats


@dataclass(slots=True)
class Workload:
    """How the workers of all rooms fare; one entry a running worker."""

    cores: int = 1
    running: dict[RoomId, WorkerStats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Targets:
    """Target durations as configured, in seconds."""

    live_s: int
    archive_s: int


class LongGops:
    """One room's. ``notice`` tells the artist; what the next session needs is in the record."""

    def __init__(
        self,
        record: RoomRecord,
        workload: Workload,
        targets: Targets,
        notice: Callable[[str, str], None],
    ) -> None:
        self.target_s = targets.live_s
        """The live target of the session that goes on."""
        self._record = record
        self._room = RoomId(record.id)
        self._workload = workload
        self._targets = targets
        self._notice = notice
        self._reencodes = True
        self._told = False

    def begin_session(self) -> int:
        """Gives the new session's live target."""
        most_s = max(self._targets.live_s, self._targets.archive_s)
        self.target_s = min(self._record.live_target_s or self._targets.live_s, most_s)
        return self.target_s

    def configure(self, worker: WorkerConfig) -> dict[str, int | bool]:
        """What a worker that starts now is told, by the fields' names."""
        others = dict(self._workload.running)
        before = others.pop(self._room, None)
        machine = Machine(self._workload.cores, worker.threads)
        self._told = False
        self._reencodes = worker.reencode_long_gops and has_core(
            machine, ladder=bool(worker.ladder), before=before, others=others.values()
        )
        raised = self.target_s > self._targets.live_s
        return {
            "reencode_long_gops": self._reencodes,
            "gop_target_ms": self.target_s * 1000 if raised else worker.gop_target_ms,
        }

    def look(self, stats: WorkerStats, configured_ms: int) -> bool:
        """Takes what a worker says of itself; whether the record changed by it.

        ``configured_ms`` is from keyframe to keyframe as configured.
        """
        self._workload.running[self._room] = stats
        if not stats.gop_ms:
            return False
        long = stats.gop_ms > configured_ms + SLACK_MS
        passes = long and not self._reencodes
        wanted_s = self._targets.live_s
        if passes:
            wanted_s = live_target_s(wanted_s, stats.gop_ms, self._targets.archive_s)
        if passes and not self._told:
            self._told = True
            self._notice("long-gop", self._advice(stats.gop_ms, configured_ms, wanted_s))
        before, self._record.live_target_s = (
            self._record.live_target_s,
            0 if wanted_s == self._targets.live_s else wanted_s,
        )
        if before and not long:
            self._notice(
                "gops-mended",
                "The encoder's keyframes come often enough now: the next stream is live with the "
                "usual delay again.",
            )
        return before != self._record.live_target_s

    def over(self) -> None:
        """No worker runs for this room."""
        self._workload.running.pop(self._room, None)

    def _advice(self, gop_ms: int, configured_ms: int, wanted_s: int) -> str:
        return (
            f"The encoder sends a keyframe only every {gop_ms / 1000:.3g} s, and this node has no "
            "CPU core to spare to encode the video again. Until this stream ends, viewers may see "
            "nothing for a moment when they come or change the quality. The next stream is cut at "
            f"its keyframes, which puts some players up to {3 * wanted_s} s behind. Better: set "
            f"its keyframe interval to {configured_ms / 1000:g} s (OBS: Settings > Output > "
            "Output Mode: Advanced > Keyframe Interval)."
        )

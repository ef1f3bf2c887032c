"""What the node counts of its media workers."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from hausd.core.media import Kind
from hausd.telemetry.metrics import Words

WORKERS = Gauge("hausd_media_workers", "Media worker processes, the warm spare included")
STARTED = Counter("hausd_media_workers_started", "Media worker processes that were started")
CRASHED = Counter(
    "hausd_media_worker_crashes", "Media workers that died of themselves, by how", ["how"]
)
_PARTS = Counter("hausd_media_parts", "Parts that media workers made", ["kind"])
PARTS = {kind: _PARTS.labels(kind.value) for kind in Kind}
PART_BYTES = Counter("hausd_media_part_bytes", "Bytes of the parts that media workers made")
NOTICES = Counter("hausd_media_notices", "Notices of media workers to the artist", ["code"])
RUNS = Counter("hausd_media_runs", "Runs of media (stretches between discontinuities)", ["reason"])
FRAMES_DROPPED = Counter("hausd_media_frames_dropped", "Frames that workers could not use")
CPU_SECONDS = Counter("hausd_media_cpu_seconds", "CPU time of media workers")
CODES, REASONS = Words(), Words()
"""Of notices and runs, as workers name them."""

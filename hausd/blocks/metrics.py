"""What the metrics say of the store. Labels are bounded: never a room or a CID."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_BYTES = Counter("hausd_store_written_bytes", "Bytes of blocks written", ["kind"])
_BLOCKS = Counter("hausd_store_written_blocks", "Blocks written", ["kind"])
MEDIA_BYTES, SMALL_BYTES = _BYTES.labels("media"), _BYTES.labels("small")
MEDIA_BLOCKS, SMALL_BLOCKS = _BLOCKS.labels("media"), _BLOCKS.labels("small")
OVERHEAD_BYTES = Counter(
    "hausd_store_overhead_bytes", "Bytes written beside blocks: trailers, journal, heads"
)
USED_BYTES = Gauge("hausd_store_used_bytes", "Bytes that the store takes on disk")
USED_FILES = Gauge("hausd_store_used_files", "Files that the store holds")
FREE_BYTES = Gauge("hausd_store_free_bytes", "Bytes free on the store's disk")
BLOCKS = Gauge("hausd_store_blocks", "Blocks that the store holds")
CORRUPT_BLOCKS = Counter("hausd_store_corrupt_blocks", "Blocks whose bytes were not their CID's")
EVICTED_FILES = Counter("hausd_store_evicted_files", "Files removed to make room")
EVICTED_BYTES = Counter("hausd_store_evicted_bytes", "Bytes removed to make room")
REFUSED = Counter("hausd_store_refused_batches", "Batches not written", ["reason"])
SYNC_S = Histogram(
    "hausd_store_sync_seconds",
    "Time to bring the last writes safely to disk",
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
SYNC_FAILURES = Counter("hausd_store_sync_failures", "Syncs that failed")

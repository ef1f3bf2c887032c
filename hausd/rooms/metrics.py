"""What the metrics say of rooms. Labels are bounded: never a room, key or viewer."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from hausd.core.media import Kind
from hausd.telemetry.metrics import Words

ROOMS = Gauge("hausd_rooms", "Rooms by state", ["state"])
RUNS = Counter(
    "hausd_room_runs", "Runs begun (each after the first is a discontinuity)", ["reason"]
)
_PARTS = Counter("hausd_room_parts", "Parts made", ["kind"])
_PART_BYTES = Counter("hausd_room_part_bytes", "Bytes of parts made", ["kind"])
PARTS = {kind: _PARTS.labels(kind.value) for kind in Kind}
PART_BYTES = {kind: _PART_BYTES.labels(kind.value) for kind in Kind}
WORKER_CRASHES = Counter("hausd_room_worker_crashes", "Media workers that died and were replaced")
TAKEOVERS = Counter(
    "hausd_room_takeovers",
    "Encoders that came with the key of another: had the room from one that was silent or "
    "sending, or were refused",
    ["outcome"],
)
NOTICES = Counter("hausd_room_notices", "Notices to artists and operators", ["code"])
RECORDING_STOPPED = Counter("hausd_room_recording_stopped", "Times a recording had to stop")
RECORDINGS_REFUSED = Counter(
    "hausd_room_recordings_refused", "Segments and blocks that no store takes, whatever its room"
)
SEGMENTS_RECORDED = Counter("hausd_room_segments_recorded", "Archive segments closed on disk")
SERVED_BYTES = Counter("hausd_room_served_bytes", "Media and playlist bytes sent to viewers")
VIEWERS = Gauge("hausd_room_viewers", "Viewers seen in the last seconds, over all rooms")
MESSAGES = Counter("hausd_room_messages", "Announcements that came from other nodes", ["verdict"])
STATEMENTS_LOST = Counter("hausd_room_ticks_lost", "Ticks that nobody could tell in time")
PARTS_LOST = Counter("hausd_room_parts_lost", "Parts of followed rooms that did not come in time")
CONTRADICTIONS = Counter(
    "hausd_room_contradictions", "Pairs of statements that no honest origin signs both"
)
SEGMENTS_FILLED = Counter(
    "hausd_room_segments_filled", "Archive segments of followed rooms fetched afterwards"
)
FILLS_FAILED = Counter(
    "hausd_room_fills_failed", "Tries to fetch an archive segment that came to nothing"
)
CARDS = Counter("hausd_rooms_cards", "Room cards heard, by what became of them", ["fate"])
RELAYED = Gauge("hausd_rooms_relayed", "Rooms that are relayed unasked")
JOINS = Counter(
    "hausd_rooms_joins", "Rooms looked for because somebody opened their URL", ["outcome"]
)
FOLLOWING_FAILED = Counter(
    "hausd_room_following_failed", "Times a followed room's tasks failed and began anew"
)
SEALS_BROKEN = Counter(
    "hausd_room_seals_broken", "Times something of a gated room did not open with its key"
)
FREE_KEYS_WRONG = Counter(
    "hausd_room_free_keys_wrong", "Free keys of epochs that are not the ones that were announced"
)
EPOCHS = Counter("hausd_room_epochs", "Epochs begun in gated rooms made here")
CODES, REASONS = Words(), Words()
"""Of notices and runs, as media workers name them."""

"""What the metrics say of keys. Labels are bounded: never a room, wallet, peer or key."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

QUESTIONS = Counter("hausd_keys_questions", "Questions for keys that other nodes asked here")
OUTCOMES = Counter(
    "hausd_keys_outcomes", "Epochs' keys that others asked for: given, or why not", ["outcome"]
)
ANSWER_S = Histogram(
    "hausd_keys_answer_seconds",
    "Time that a question for keys took here, the look at the chain included",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
)
ASKED = Counter(
    "hausd_keys_asked", "Keys that this node asked others for, by what came of it", ["outcome"]
)
WRONG_KEYS = Counter(
    "hausd_keys_wrong", "Keys that a key holder gave and the room's authority did not commit to"
)
HELD = Gauge("hausd_keys_held", "Epochs' keys that are kept here")
DROPPED = Counter("hausd_keys_dropped", "Keys of other nodes' rooms that made way for newer ones")
UNKEPT = Counter("hausd_keys_unkept", "Keys from others that are used and could not be kept")
GRACED = Counter("hausd_keys_graced", "Keys given to viewers inside while the chain did not answer")
REFUSED_STREAMS = Counter("hausd_keys_streams_refused", "Streams that were given up", ["why"])
SIGN_INS = Counter(
    "hausd_sign_ins",
    "Wallets that signed in to watch at this node: let in, or why not",
    ["outcome"],
)
PLAYBACKS = Gauge("hausd_playbacks", "Players of viewers who signed in, watching now")
TURNED_AWAY = Counter(
    "hausd_playbacks_turned_away", "Requests with a playback token that was refused", ["why"]
)

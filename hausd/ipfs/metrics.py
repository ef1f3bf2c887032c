"""What the metrics say of IPFS over HTTP. Labels are bounded: names stand in the configuration."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

GATEWAY_ANSWERS = Counter(
    "hausd_gateway_answers", "Answers of HTTP gateways, by what they were", ["gateway", "answer"]
)
PIN_TRIES = Counter(
    "hausd_remote_pin_tries", "Tries to pin elsewhere, by what came of them", ["to", "outcome"]
)
PINS = Gauge("hausd_remote_pins", "Recordings pinned elsewhere, by state", ["to", "state"])

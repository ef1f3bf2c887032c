"""What the metrics say of the embedded chain."""

from __future__ import annotations

from prometheus_client import Counter

EMBEDDED_CALLS = Counter(
    "hausd_chain_embedded_calls", "Calls of the embedded chain's RPC, by outcome", ["outcome"]
)
EMBEDDED_WRITES = Counter(
    "hausd_chain_embedded_transactions", "Transactions of the embedded chain that are on disk"
)

"""What the metrics say of the chain. Labels are bounded: endpoints stand in the configuration."""

from __future__ import annotations

import math

from prometheus_client import Counter, Gauge, Histogram

CALL_S = Histogram(
    "hausd_chain_rpc_seconds",
    "Time of an RPC endpoint's answers",
    ["endpoint"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CALL_FAULTS = Counter(
    "hausd_chain_rpc_faults", "Calls that an RPC endpoint failed, by how", ["endpoint", "fault"]
)
SLOT_LAG = Gauge(
    "hausd_chain_slot_lag", "Slots that an RPC endpoint is behind the foremost", ["endpoint"]
)
TRANSACTIONS = Counter(
    "hausd_chain_transactions", "Transactions sent, by what became of them", ["outcome"]
)
FEES = Counter("hausd_chain_fees_lamports", "Fees of transactions that were confirmed")
UNITS = Counter("hausd_chain_compute_units", "Compute units of transactions that were confirmed")
CHECKPOINTS_BEHIND = Gauge(
    "hausd_chain_checkpoints_behind", "Heads of own events' rooms that are not on chain yet"
)
BUDGET = Gauge(
    "hausd_chain_checkpoints_left",
    "Checkpoints that the least of own events' budgets still pays; infinite where there is none",
)
BUDGET.set(math.inf)
RESUMED = Counter("hausd_chain_subscriptions_resumed", "Subscriptions that had to begin anew")
INDEX_SLOT = Gauge("hausd_chain_index_slot", "Slot up to which the index is complete")
INDEX_WITHDRAWN = Counter(
    "hausd_chain_index_withdrawn", "Unconfirmed rows of the index that a fork took back"
)
INDEX_MADE_UP = Counter(
    "hausd_chain_index_made_up", "Transactions that were listed, and that no endpoint knows"
)
TICKET_CHECKS = Counter(
    "hausd_chain_ticket_checks", "Wallets' tickets asked for, by what is known", ["outcome"]
)
TICKETS_FORGOTTEN = Counter(
    "hausd_chain_tickets_forgotten", "Times that remembered tickets were dropped for a change"
)

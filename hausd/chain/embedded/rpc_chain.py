"""The chain itself: time, blockhashes, fees.

Source: https://solana.com/docs/rpc/http.
"""

from __future__ import annotations

from typing import Any

from solders.message import from_bytes_versioned

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.ledger import LAMPORTS_PER_SIGNATURE
from hausd.chain.embedded.methods import VERSION, Methods
from hausd.chain.embedded.questions import Params, RpcFault
from hausd.chain.embedded.slots import SLOTS_PER_EPOCH

_IDENTITY = "HausdEmbedded1111111111111111111111111111111"
_SUPPLY = 500_000_000 * 10**9


class ChainMethods(Methods):
    """Answers about the chain."""

    def _get_latest_blockhash(self, untrusted: object) -> Any:
        params = Params(untrusted, 0)
        blockhash, last = self._ledger.time.blockhash()
        return self._valued({"blockhash": str(blockhash), "lastValidBlockHeight": last}, params)

    def _is_blockhash_valid(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        given = ask.address(params.at(0, "a blockhash"))  # of the same form
        return self._valued(self._ledger.time.knows(bytes(given)), params)

    def _get_fee_for_message(self, untrusted: object) -> Any:
        params = Params(untrusted, 1)
        raw = ask.transaction_bytes(params.at(0, "a message"), "base64")
        try:
            message = from_bytes_versioned(raw)
        except Exception as fault:  # noqa: BLE001 - whatever the decoder of foreign bytes raises
            raise RpcFault(
                ask.INVALID_PARAMS, f"failed to deserialize: {str(fault)[:200]}"
            ) from None
        known = self._ledger.time.knows(bytes(message.recent_blockhash))
        fee = LAMPORTS_PER_SIGNATURE * message.header.num_required_signatures
        return self._valued(fee if known else None, params)

    def _get_recent_prioritization_fees(self, untrusted: object) -> Any:
        params = Params(untrusted, 9)
        if len(params):
            params.addresses(0, 128)
        slot = self._ledger.slot
        return [
            {"slot": each, "prioritizationFee": 0} for each in range(max(0, slot - 4), slot + 1)
        ]

    def _get_slot(self, untrusted: object) -> Any:
        Params(untrusted, 0)
        return self._ledger.slot

    def _get_block_height(self, untrusted: object) -> Any:
        Params(untrusted, 0)
        return self._ledger.slot

    def _get_transaction_count(self, untrusted: object) -> Any:
        Params(untrusted, 0)
        return self._ledger.count

    def _get_genesis_hash(self, _: object) -> Any:
        return str(self._ledger.genesis)

    def _get_identity(self, _: object) -> Any:
        return {"identity": _IDENTITY}

    def _get_version(self, _: object) -> Any:
        return {"solana-core": VERSION, "feature-set": 0}

    def _get_health(self, _: object) -> Any:
        if self._ledger.broken:
            raise RpcFault(ask.NODE_UNHEALTHY, f"Node is unhealthy: {self._ledger.broken}")
        return "ok"

    def _get_epoch_info(self, untrusted: object) -> Any:
        Params(untrusted, 0)
        slot = self._ledger.slot
        return {
            "absoluteSlot": slot,
            "blockHeight": slot,
            "epoch": slot // SLOTS_PER_EPOCH,
            "slotIndex": slot % SLOTS_PER_EPOCH,
            "slotsInEpoch": SLOTS_PER_EPOCH,
            "transactionCount": self._ledger.count,
        }

    def _get_epoch_schedule(self, _: object) -> Any:
        return {
            "slotsPerEpoch": SLOTS_PER_EPOCH,
            "leaderScheduleSlotOffset": SLOTS_PER_EPOCH,
            "warmup": False,
            "firstNormalEpoch": 0,
            "firstNormalSlot": 0,
        }

    def _get_first_available_block(self, _: object) -> Any:
        return 0

    def _minimum_ledger_slot(self, _: object) -> Any:
        return 0

    def _get_supply(self, untrusted: object) -> Any:
        params = Params(untrusted, 0)
        supply = {
            "total": _SUPPLY,
            "circulating": _SUPPLY,
            "nonCirculating": 0,
            "nonCirculatingAccounts": [],
        }
        return self._valued(supply, params)

    def _get_recent_performance_samples(self, untrusted: object) -> Any:
        Params(untrusted, 9)
        return []

    def _get_cluster_nodes(self, _: object) -> Any:
        return []

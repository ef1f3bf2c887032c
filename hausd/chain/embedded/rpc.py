"""Solana's JSON-RPC, answered from the ledger.

A method that is not here is *not found*, as a cluster's node says of one that is switched off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.ledger import Broken, Ledger
from hausd.chain.embedded.questions import RpcFault
from hausd.chain.embedded.records import BadEncoding
from hausd.chain.embedded.rpc_accounts import AccountMethods
from hausd.chain.embedded.rpc_chain import ChainMethods
from hausd.chain.embedded.rpc_history import HistoryMethods
from hausd.chain.embedded.rpc_sending import SendingMethods

_SENDING = ("sendTransaction", "requestAirdrop")
METHODS = (
    "getAccountInfo", "getMultipleAccounts", "getBalance", "getProgramAccounts",
    "getTokenAccountsByOwner", "getTokenAccountBalance", "getTokenSupply",
    "getMinimumBalanceForRentExemption", "sendTransaction", "simulateTransaction",
    "requestAirdrop", "getLatestBlockhash", "isBlockhashValid", "getFeeForMessage",
    "getRecentPrioritizationFees", "getSignatureStatuses", "getTransaction",
    "getSignaturesForAddress", "getBlock", "getBlocks", "getBlockTime", "getSlot",
    "getBlockHeight", "getTransactionCount", "getGenesisHash", "getIdentity", "getVersion",
    "getHealth", "getEpochInfo", "getEpochSchedule", "getFirstAvailableBlock",
    "minimumLedgerSlot", "getSupply", "getRecentPerformanceSamples", "getClusterNodes",
)  # fmt: skip


class Rpc(AccountMethods, SendingMethods, HistoryMethods, ChainMethods):
    """All methods by their names."""

    def __init__(
        self,
        ledger: Ledger,
        random_bytes: Callable[[int], bytes],
        sent: Callable[[], None],
        settled: Callable[[], Awaitable[None]],
        *,
        read_only: bool,
    ) -> None:
        super().__init__(ledger, random_bytes, sent, read_only=read_only)
        self._settled = settled
        self._methods: dict[str, Callable[[Any], Any]] = {
            name: getattr(self, f"_{_snake(name)}") for name in METHODS
        }

    async def call(self, method: str, untrusted: object) -> Any:
        """A call's result. Raises RpcFault."""
        answer = self._methods.get(method)
        if answer is None:
            raise RpcFault(ask.METHOD_NOT_FOUND, "Method not found")
        try:
            result = answer(untrusted)
            if method in _SENDING or not _is_hasty(untrusted):
                # what is acknowledged or shown as done is on disk
                await self._settled()
                if method in _SENDING and self._ledger.broken:
                    raise RpcFault(ask.NODE_UNHEALTHY, self._ledger.broken)
        except BadEncoding as fault:
            raise RpcFault(ask.INVALID_REQUEST, str(fault)) from None
        except Broken as fault:
            raise RpcFault(ask.NODE_UNHEALTHY, f"Node is unhealthy: {fault}") from None
        return result


def _is_hasty(untrusted: object) -> bool:
    """Whether a call asks for what was executed, be it on disk or not: ``processed``."""
    given = untrusted if isinstance(untrusted, list) else []
    return any(isinstance(one, dict) and one.get("commitment") == "processed" for one in given)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)

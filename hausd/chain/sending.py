"""Sending transactions: what they need, and what became of them. Never pays twice.

A signed transaction is sent again, the same bytes with the same signature, until it is confirmed
or its blockhash is certainly over: only then may another be signed in its place. All calls can be
cancelled and made again with the same transaction at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
import trio
from solders.hash import Hash
from solders.message import Message
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from hausd.chain.answers import Commitment, SignatureStatus
from hausd.chain.calls import RpcError
from hausd.chain.client import ChainClient
from hausd.chain.fate import Deadline, agreed
from hausd.chain.metrics import FEES, TRANSACTIONS, UNITS
from hausd.chain.pool import Unavailable
from hausd.core.errors import Problem
from hausd.core.programs.faults import Fault, explain
from hausd.core.programs.messages import (
    LAMPORTS_PER_SIGNATURE,
    MAX_TRANSACTION_BYTES,
    Budget,
    writable,
)
from hausd.policy.fees import unit_price, units_limit

POLL_S = 0.4
"""About a slot."""
_FIRST_POLL_S = 0.05
"""The node's own chain has it by then."""
REPEAT_S = 2.0
_REACHED: dict[str | None, int] = {None: 0, "processed": 0, "confirmed": 1, "finalized": 2}
log = structlog.get_logger("hausd.chain")


class BadTransaction(Problem):
    """The bytes are not a transaction that can be sent."""

    def __init__(self, because: str) -> None:
        super().__init__("bad-transaction", f"this is no transaction to send: {because}")


class Fails(Problem):
    """A transaction fails, or would. Before it was sent nothing is paid, afterwards its fee."""

    def __init__(self, fault: Fault, *, sent: bool) -> None:
        hint = "only its fee was paid" if sent else "nothing was sent or paid"
        super().__init__(fault.code, fault.sentence, hint, 409)
        self.fault = fault
        self.sent = sent


class Expired(Problem):
    """A transaction was not taken in time and never will be: nothing was paid."""

    def __init__(self) -> None:
        message = "the chain did not take the transaction in time; it never will now"
        super().__init__("expired", message, "nothing was paid: sign it anew", 409)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a message is to be signed with. ``fee``: lamports for signatures and priority."""

    blockhash: Hash
    last_valid_block_height: int
    budget: Budget
    fee: int


@dataclass(frozen=True, slots=True)
class Landed:
    """A transaction that succeeded. ``fee`` and ``units`` are None where no endpoint told."""

    signature: str
    slot: int
    finalized: bool
    fee: int | None
    units: int | None


class Sender:
    """Sends for the node and for who signs elsewhere."""

    def __init__(self, client: ChainClient, max_priority_fee: int) -> None:
        self._client = client
        self._max_priority_fee = max_priority_fee

    async def plan(self, message: Message) -> Plan:
        """Rehearses an unsigned message, and says what to sign it with.

        Raises Fails where it would fail, and Unavailable.
        """
        signers = message.header.num_required_signatures
        unsigned = VersionedTransaction.populate(message, [Signature.default()] * signers)
        found = await self._client.outlook(bytes(unsigned), writable(message))
        rehearsal = found.rehearsal
        if rehearsal.untrusted_error is not None:
            raise self._fails(rehearsal.untrusted_error, rehearsal.untrusted_logs)
        units = units_limit(rehearsal.units)
        budget = Budget(units, unit_price(found.bids, units, self._max_priority_fee))
        fee = signers * LAMPORTS_PER_SIGNATURE + budget.priority_fee
        return Plan(found.blockhash, found.last_valid_block_height, budget, fee)

    async def deliver(
        self,
        untrusted: bytes,
        last_valid_block_height: int,
        until: Commitment = "confirmed",
        *,
        resumed: bool = False,
        rehearsed: bool = False,
    ) -> Landed:
        """Sends a signed transaction until it is confirmed (or finalized).

        ``resumed``: it may have been sent before, so that only the chain tells its fate; else it
        is rehearsed first, unless it was so a moment ago (``rehearsed``). Raises BadTransaction,
        Fails and Expired, which are final, and Unavailable while nothing was sent. Ends only with
        the fate known: callers set a deadline.
        """
        signed, signature = _signed(untrusted)
        deadline = Deadline(self._client.pool, signature, last_valid_block_height)
        if not (resumed or rehearsed):
            rehearsal = await self._client.rehearse(signed)
            if rehearsal.untrusted_error is not None:
                TRANSACTIONS.labels("refused").inc()
                raise self._fails(rehearsal.untrusted_error, rehearsal.untrusted_logs)
        repeat_at_s, poll_s, sent = trio.current_time(), _FIRST_POLL_S, resumed
        while True:
            try:
                if trio.current_time() >= repeat_at_s:
                    repeat_at_s = trio.current_time() + REPEAT_S
                    if sent and await deadline.is_over():
                        TRANSACTIONS.labels("expired").inc()
                        raise Expired
                    sent = True
                    await self._submit(signed, signature)
                await trio.sleep(poll_s)
                poll_s = min(2 * poll_s, POLL_S)
                status = (await self._client.statuses([signature]))[0]
                if status is not None and status.err is not None:
                    # who is told that it failed pays again
                    status = await agreed(self._client.pool, signature, status)
            except (Unavailable, RpcError) as fault:
                # from the first try on it may have arrived, whatever an endpoint says
                log.warning("transaction-unknown", signature=str(signature), because=str(fault))
                await trio.sleep(POLL_S)
                continue
            if status is not None and (landed := await self._landed(signature, status, until)):
                return landed

    async def _submit(self, signed: bytes, signature: Signature) -> None:
        """An endpoint may refuse what was taken already: only its status tells."""
        try:
            await self._client.submit(signed, signature)
        except RpcError as fault:
            log.info("transaction-refused", signature=str(signature), because=str(fault))

    async def _landed(
        self, signature: Signature, status: SignatureStatus, until: Commitment
    ) -> Landed | None:
        reached = _REACHED[status.confirmation_status]
        if reached < _REACHED["confirmed"]:
            return None
        record = None
        try:
            record = await self._client.transaction(str(signature))
        except (Unavailable, RpcError) as fault:
            log.warning("transaction-unread", signature=str(signature), because=str(fault))
        meta = record.meta if record is not None else None
        if status.err is not None:
            TRANSACTIONS.labels("failed").inc()
            logs = meta.log_messages if meta is not None else None
            raise self._fails(status.err, tuple(logs or ()), sent=True)
        if reached < _REACHED[until]:
            return None
        self._client.saw(status.slot)
        TRANSACTIONS.labels("confirmed").inc()
        fee = meta.fee if meta is not None else None
        units = meta.compute_units_consumed if meta is not None else None
        FEES.inc(fee or 0)
        UNITS.inc(units or 0)
        finalized = reached == _REACHED["finalized"]
        return Landed(str(signature), status.slot, finalized, fee, units)

    def _fails(
        self, untrusted_error: object, untrusted_logs: tuple[str, ...], *, sent: bool = False
    ) -> Fails:
        return Fails(explain(self._client.programs, untrusted_error, untrusted_logs), sent=sent)


def _signed(untrusted: bytes) -> tuple[bytes, Signature]:
    """A transaction's bytes and its signature, which have to be right. Raises BadTransaction."""
    if len(untrusted) > MAX_TRANSACTION_BYTES:
        raise BadTransaction(f"it has {len(untrusted)} bytes, {MAX_TRANSACTION_BYTES} are possible")
    try:
        transaction = VersionedTransaction.from_bytes(untrusted)
        if not all(transaction.verify_with_results()):
            raise BadTransaction("a signature is missing or wrong")
        return bytes(transaction), transaction.signatures[0]
    except (ValueError, IndexError) as fault:
        raise BadTransaction(str(fault)) from None

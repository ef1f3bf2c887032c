"""Whether a transaction that did not land still can, and whether one failed: what no single
endpoint may decide.

Who holds it to be over too early pays twice, who never does waits longer. So what would have it
over sooner is taken from the endpoint that is slowest to say so: a liar can only make others wait.
"""

from __future__ import annotations

from solders.signature import Signature

from hausd.chain.answers import Commitment, SignatureStatus, Slot, Valued
from hausd.chain.calls import TryAnother
from hausd.chain.pool import Pool

VALID_BLOCKS = 150
"""How long a blockhash is good, in blocks. Source: ``MAX_PROCESSING_AGE`` of Agave."""
_Statuses = Valued[list[SignatureStatus | None]]


class Deadline:
    """Until when a transaction can be taken. Every call may raise Unavailable and RpcError.

    ``untrusted_last_valid``: the block height that came with its blockhash, which may be too low.
    """

    def __init__(self, pool: Pool, signature: Signature, untrusted_last_valid: int) -> None:
        self._pool = pool
        self._signature = signature
        self._last = untrusted_last_valid
        self._voices = 0
        """Endpoints that told the height at the begin."""

    async def is_over(self) -> bool:
        """Whether it can't be taken any more, and was not. Asked first once it was sent: then its
        blockhash is known not to be younger.

        By finalized height: what landed, landed in a block up to it. Every endpoint has to be past
        the last one, and then not to know the transaction in a state that is not before any of
        theirs: so heights are read before the slot. One that falls silent meanwhile leaves it open.
        """
        if not self._voices:
            now = await self._everyones("getBlockHeight", "confirmed")
            self._last = max(self._last, max(now) + VALID_BLOCKS)
            self._voices = len(now)
        asked = [{"commitment": "finalized"}]
        if await self._pool.call("getBlockHeight", asked, Slot) <= self._last:
            return False  # all are asked only where it may be over: one that hangs takes its time
        heights = await self._everyones("getBlockHeight", "finalized")
        if min(heights) <= self._last or len(heights) < self._voices:
            return False
        slot = max(await self._everyones("getSlot", "finalized"))
        told = await self._pool.everyone(
            "getSignatureStatuses",
            [[str(self._signature)], {"searchTransactionHistory": True}],
            _Statuses,
            _one_status,
            slot,
        )
        return len(told) >= self._voices and not any(told)

    async def _everyones(self, method: str, commitment: Commitment) -> list[int]:
        asked = [{"commitment": commitment}]
        return await self._pool.everyone(method, asked, Slot, lambda told: told, 0)


async def agreed(
    pool: Pool, signature: Signature, untrusted_failed: SignatureStatus
) -> SignatureStatus | None:
    """What becomes of a transaction of which an endpoint says that it failed; None while they
    disagree, or no second one knows. Where only one answers, its word is taken.

    Raises Unavailable, RpcError.
    """
    if len(pool.standings) == 1:
        return untrusted_failed
    asked = [[str(signature)], {"searchTransactionHistory": True}]
    told = await pool.everyone("getSignatureStatuses", asked, _Statuses, _one_status, 0)
    sure = [one for one in told if one and one.confirmation_status in ("confirmed", "finalized")]
    failed = [one for one in sure if one.err is not None]
    landed = [one for one in sure if one.err is None]
    if len(landed) > len(failed):
        return landed[0]
    enough = not landed and len(failed) >= min(2, len(told))
    return failed[0] if enough else None


def _one_status(answer: Valued[list[SignatureStatus | None]]) -> SignatureStatus | None:
    if len(answer.value) != 1:
        raise TryAnother("it answers for another number of signatures", "nonsense")
    return answer.value[0]

"""Several endpoints as one: who is asked first, who rests, who is behind or of another chain."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import httpx
import structlog
import tenacity
import trio

from hausd import __version__
from hausd.chain.answers import Slot, Valued
from hausd.chain.calls import Ask, Endpoint, RpcError, TryAnother
from hausd.chain.metrics import SLOT_LAG
from hausd.core.beat import beat
from hausd.core.clock import Clock
from hausd.core.errors import Problem
from hausd.policy.endpoints import LONGEST_REST_S, Standing, foremost, leaps, order, rest_s

ROUNDS = 4
"""How often all endpoints are tried before a call fails."""
LOOK_S = 10.0
"""How often endpoints that are not asked anyway are asked for their slot."""
STALE_S = 15.0
"""A chain that for so long tells nothing newer stands still, or who tells of it does."""
_CONNECT_S = 5.0
_LONGEST_PAUSE_S = 8.0
_CONNECTIONS = 16
"""At once to an endpoint; each call's time grows with their number (httpcore looks at all)."""
_KEPT_S = 12.0
"""A connection outlives the pause between two looks: making one costs more than a call."""
_LATENCY_WEIGHT = 0.2
_WHOLE_TIMES = 4
"""A whole answer may take so much longer than its first byte: one of all events has megabytes."""
T = TypeVar("T")
R = TypeVar("R")
log = structlog.get_logger("hausd.chain")


class Unavailable(Problem):
    """No endpoint answers; the message says what each one's trouble is."""

    def __init__(self, because: str) -> None:
        hint = "look at chain.rpc_url; hausctl doctor shows each endpoint"
        super().__init__("chain-unavailable", f"the chain can't be asked: {because}", hint, 503)


class _RoundFailed(Exception):
    """No endpoint could answer this time. ``rest_s`` until one may be asked again."""

    def __init__(self, because: str, rest_s: float) -> None:
        super().__init__(because)
        self.because = because
        self.rest_s = rest_s


class Pool:
    """The endpoints of one chain."""

    def __init__(self, endpoints: Sequence[Endpoint], genesis: str = "") -> None:
        self._endpoints = list(endpoints)
        self._standings = [Standing() for _ in endpoints]
        self._troubles = [""] * len(endpoints)
        self._greeted = [False] * len(endpoints)
        self._grew_at_s = 0.0
        self.genesis = genesis
        """The chain's genesis hash; until one is known, that of the first to answer."""

    @property
    def standings(self) -> list[tuple[str, Standing, str]]:
        """Each endpoint's name, standing, and last trouble (empty: none)."""
        names = [endpoint.name for endpoint in self._endpoints]
        return list(zip(names, self._standings, self._troubles, strict=True))

    @property
    def slot(self) -> int:
        """The newest slot that is known of, 0 before the first answer."""
        return foremost(self._standings, trio.current_time())

    def doubt(self) -> str:
        """Why the chain can't be gone by now, in words; empty where it can."""
        if all(self._troubles):
            return self._why()
        stands_s = trio.current_time() - self._grew_at_s
        if self.slot and stands_s > STALE_S:
            return f"nothing newer than slot {self.slot:,} is told for {stands_s:.0f} s"
        return ""

    async def call(self, method: str, parameters: Sequence[object], kind: type[T]) -> T:
        """Asks endpoint after endpoint, a few rounds. Raises Unavailable and RpcError."""
        return await self.read(method, parameters, kind, lambda answer: answer)

    async def read(
        self,
        method: str,
        parameters: Sequence[object],
        kind: type[T],
        check: Callable[[T], R],
        least_slot: int = 0,
    ) -> R:
        """Asks as ``call`` does, and gives what ``check`` makes of the answer.

        Where that raises TryAnother, another endpoint is asked. ``least_slot``: an answer of an
        older state is none (answers with a context only).
        """
        return (await self.read_by(method, parameters, kind, check, least_slot))[1]

    async def read_by(
        self,
        method: str,
        parameters: Sequence[object],
        kind: type[T],
        check: Callable[[T], R],
        least_slot: int = 0,
    ) -> tuple[int, R]:
        """As ``read``, with the number of the endpoint that answered: for ``distrust``."""
        asking = partial(_call, method, parameters, kind)
        return await self._retried(asking, method, check, least_slot)

    def distrust(self, index: int, because: str) -> None:
        """An answer turned out to be a lie: others are asked before that endpoint from now on."""
        self._failed(index, TryAnother(because, "lying"))

    async def batch(
        self, asks: Sequence[Ask], check: Callable[[list[Any]], R], least_slot: int = 0
    ) -> R:
        """Asks several things of one endpoint at once; else as ``read``. What it refuses stands as
        RpcError among the answers. Raises Unavailable."""
        return (await self._retried(partial(_batch, asks), "", check, least_slot))[1]

    async def _retried(
        self,
        asking: Callable[[Endpoint], Awaitable[T]],
        method: str,
        check: Callable[[T], R],
        least_slot: int,
    ) -> tuple[int, R]:
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(ROUNDS),
            wait=_pause,
            sleep=trio.sleep,
            retry=tenacity.retry_if_exception_type(_RoundFailed),
            reraise=True,
        )
        try:
            return await retrying(self._round, asking, method, check, least_slot)
        except _RoundFailed as fault:
            raise Unavailable(fault.because) from None

    async def everyone(
        self,
        method: str,
        parameters: Sequence[object],
        kind: type[T],
        check: Callable[[T], R],
        least_slot: int,
    ) -> list[R]:
        """Asks every endpoint of this chain that can be reached. Raises Unavailable, RpcError.

        For what one liar must not decide. Endpoints that are down, or refuse, decide nothing; one
        that is behind ``least_slot`` will be asked again.
        """
        answers = []
        refusal: RpcError | None = None
        for index, standing in enumerate(self._standings):
            if standing.foreign:
                continue
            try:
                await self._greet(index)
                answer = await self._endpoints[index].call(method, parameters, kind)
                self._look_at(index, method, answer, least_slot)
                answers.append(check(answer))
            except TryAnother as fault:
                self._failed(index, fault)
                if fault.kind == "behind" and least_slot:
                    raise Unavailable(self._why()) from None
            except RpcError as fault:
                refusal = fault
        if not answers and refusal is not None:
            raise refusal
        if not answers:
            raise Unavailable(self._why())
        return answers

    async def _round(
        self,
        asking: Callable[[Endpoint], Awaitable[T]],
        method: str,
        check: Callable[[T], R],
        least_slot: int,
    ) -> tuple[int, R]:
        """What one refuses is asked of the others: its key may be used up, its history short. It
        is refused where none answers."""
        refusals: dict[int, RpcError] = {}
        for index in order(self._standings, trio.current_time()):
            begun_s = trio.current_time()
            try:
                await self._greet(index)
                answer = await asking(self._endpoints[index])
                self._look_at(index, method, answer, least_slot)
                checked = check(answer)
            except TryAnother as fault:
                self._failed(index, fault)
                continue
            except RpcError as fault:
                self._answered(index, begun_s)
                refusals[index] = fault
                continue
            self._answered(index, begun_s)
            for refusing, refusal in refusals.items():
                because = f"it refuses what another does: {refusal}"
                self._failed(refusing, TryAnother(because, "refused"))
            return index, checked
        for refusal in refusals.values():
            raise refusal
        raise _RoundFailed(self._why(), self._until_awake_s())

    async def _greet(self, index: int) -> None:
        """An endpoint is asked for its chain before anything else, and again after it failed."""
        if self._greeted[index]:
            return
        try:
            genesis = await self._endpoints[index].call("getGenesisHash", [], str)
        except RpcError as fault:
            raise TryAnother(f"it does not tell its chain: {fault}", "nonsense") from None
        if not self.genesis:
            self.genesis = genesis
        if genesis != self.genesis:
            self._change(index, foreign=True)
            raise TryAnother("it is of another chain", "foreign")
        self._greeted[index] = True

    def _look_at(self, index: int, method: str, answer: object, least_slot: int) -> None:
        """Takes notice of the slot that an answer tells, or each of several. Raises TryAnother."""
        if isinstance(answer, list):
            for each in answer:
                self._look_at(index, method, each, least_slot)
            return
        if isinstance(answer, Valued):
            slot = answer.context.slot
        elif method == "getSlot" and isinstance(answer, int):
            slot = answer
        else:
            return
        now_s = trio.current_time()
        if leaps(self._standings, index, slot, now_s):
            raise TryAnother("it tells a slot that can't be", "lying")
        if slot < least_slot:
            raise TryAnother("it is behind what was seen already", "behind")
        if slot > self.slot:
            self._grew_at_s = now_s
        # an answer at a stricter commitment tells an older slot: that is no step back
        if slot > self._standings[index].slot:
            self._change(index, slot=slot, slot_at_s=now_s)
        behind = self.slot - self._standings[index].slot
        SLOT_LAG.labels(self._endpoints[index].name).set(max(0, behind))

    def _answered(self, index: int, begun_s: float) -> None:
        took_s = trio.current_time() - begun_s
        latency_s = self._standings[index].latency_s or took_s
        latency_s += _LATENCY_WEIGHT * (took_s - latency_s)
        self._troubles[index] = ""
        self._change(index, failures=0, latency_s=latency_s)

    def _failed(self, index: int, fault: TryAnother) -> None:
        failures = self._standings[index].failures + 1
        alone = all(
            each.failures or each.foreign for at, each in enumerate(self._standings) if at != index
        )
        rests_s = rest_s(failures, fault.rest_s, alone=alone)
        if self._troubles[index] != fault.because:
            name = self._endpoints[index].name
            log.warning("rpc-endpoint", endpoint=name, because=fault.because)
        self._troubles[index] = fault.because
        self._greeted[index] = False
        self._change(index, failures=failures, rests_until_s=trio.current_time() + rests_s)

    def _change(self, index: int, **fields: float) -> None:
        self._standings[index] = replace(self._standings[index], **fields)  # type: ignore[arg-type] # the fields' own types

    def _why(self) -> str:
        troubles = [f"{name}: {why}" for name, _, why in self.standings if why]
        return "; ".join(troubles) or "no endpoint is configured"

    def _until_awake_s(self) -> float:
        awake_s = min(
            (each.rests_until_s for each in self._standings if not each.foreign), default=0.0
        )
        return min(max(0.0, awake_s - trio.current_time()), LONGEST_REST_S)

    async def watch(self) -> None:
        """Keeps an eye on every endpoint's slot, so that one that lags is known to."""
        while True:
            await beat(LOOK_S)
            for index, endpoint in enumerate(self._endpoints):
                if index not in order(self._standings, trio.current_time()):
                    continue
                try:
                    await self._greet(index)
                    slot: int = await endpoint.call("getSlot", [], Slot)
                    self._look_at(index, "getSlot", slot, 0)
                except TryAnother as fault:
                    self._failed(index, fault)
                except RpcError as fault:
                    self._failed(index, TryAnother(str(fault), "nonsense"))


async def _call(method: str, parameters: Sequence[object], kind: type[T], endpoint: Endpoint) -> T:
    return await endpoint.call(method, parameters, kind)


async def _batch(asks: Sequence[Ask], endpoint: Endpoint) -> list[Any]:
    return await endpoint.batch(asks)


def _pause(retry: tenacity.RetryCallState) -> float:
    """Longer each time, drawn; never shorter than until one may be asked again."""
    fault = retry.outcome.exception() if retry.outcome is not None else None
    asked_s = fault.rest_s if isinstance(fault, _RoundFailed) else 0.0
    drawn_s = random.uniform(0.1, 0.25 * 2.0**retry.attempt_number)  # noqa: S311 jitter, no secret
    return max(asked_s, min(drawn_s, _LONGEST_PAUSE_S))


@asynccontextmanager
async def open_pool(
    urls: Sequence[str], clock: Clock, answer_s: float, genesis: str = ""
) -> AsyncIterator[Pool]:
    """The endpoints at these URLs, watched. ``answer_s``: how long one may take to begin to
    answer, and from one piece of the answer to the next; for the whole, _WHOLE_TIMES as long."""
    async with (
        httpx.AsyncClient(
            headers={"accept-encoding": "identity", "user-agent": f"hausd/{__version__}"},
            timeout=httpx.Timeout(answer_s, connect=min(_CONNECT_S, answer_s)),
            limits=httpx.Limits(max_connections=_CONNECTIONS * len(urls), keepalive_expiry=_KEPT_S),
            follow_redirects=False,
            trust_env=False,
        ) as http,
        trio.open_nursery() as nursery,
    ):
        # nobody here needs cookies, and httpx would keep all that it is ever given
        http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
        whole_s = _WHOLE_TIMES * answer_s
        pool = Pool([Endpoint(http, url, clock, whole_s) for url in urls], genesis)
        nursery.start_soon(pool.watch)
        try:
            yield pool
        finally:
            nursery.cancel_scope.cancel()

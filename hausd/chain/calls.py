"""One JSON-RPC call to one endpoint: bounded, and every failure in plain words."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
import trio

from hausd.chain.metrics import CALL_FAULTS, CALL_S
from hausd.core.clock import Clock
from hausd.core.foreign import UNREADABLE_JSON
from hausd.policy.gateways import pause_s

MAX_ANSWER_BYTES = 32 << 20
_PLAIN = ("", "identity")
_MAX_WORDS = 300
_UNHEALTHY = {
    -32004: "it has not that block yet",
    -32005: "it says itself that it is behind",
    -32014: "it has not that block yet",
    -32016: "it is behind what was seen already",
    -32603: "it failed",
}
"""Error codes that another endpoint may answer better. Source: custom_error.rs of Agave's RPC."""
T = TypeVar("T")


class RpcError(Exception):
    """The chain refuses a call. ``data`` is untrusted, as its error gives it."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.data = data


class TryAnother(Exception):
    """An endpoint could not answer: ``because`` in plain words, ``kind`` for the metrics.

    ``rest_s`` is what it asks to be left alone for, 0 where it asks nothing.
    """

    def __init__(self, because: str, kind: str, rest_s: float = 0.0) -> None:
        super().__init__(because)
        self.because = because
        self.kind = kind
        self.rest_s = rest_s


@dataclass(frozen=True, slots=True)
class Ask:
    """A call; ``kind`` is the shape of its answer, as msgspec takes it."""

    method: str
    parameters: Sequence[object]
    kind: Any


class _NoBatches(Exception):
    """The endpoint takes one call at a time."""


class _ErrorBody(msgspec.Struct):
    code: int
    message: str = ""
    data: Any = None


class _Envelope(msgspec.Struct):
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _ErrorBody | None = None


_decoder = msgspec.json.Decoder(_Envelope)
_batch_decoder = msgspec.json.Decoder(list[_Envelope] | _Envelope)


def endpoint_name(url: str) -> str:
    """What logs and metrics call an endpoint: its host. The rest of a URL may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


class Endpoint:
    """One RPC endpoint. ``whole_s``: how long a whole answer may take, from the question on; the
    client's own times are those of each byte."""

    def __init__(self, http: httpx.AsyncClient, url: str, clock: Clock, whole_s: float) -> None:
        self.name = endpoint_name(url)
        self._http = http
        self._url = url
        self._clock = clock
        self._whole_s = whole_s
        self._calls = 0
        self._batches = True

    async def call(self, method: str, parameters: Sequence[object], kind: type[T]) -> T:
        """Asks, and checks the answer's shape. Raises TryAnother and RpcError."""
        return await self._timed(self._call(method, parameters, kind))

    async def batch(self, asks: Sequence[Ask]) -> list[Any]:
        """Asks several things, in one exchange where the endpoint takes that.

        Answers in the order of the calls, RpcError where one is refused. Raises TryAnother.
        """
        if self._batches:
            try:
                return await self._timed(self._batch(asks))
            except _NoBatches:
                self._batches = False
        found: list[Any] = []
        for ask in asks:
            try:
                found.append(await self.call(ask.method, ask.parameters, ask.kind))
            except RpcError as fault:
                found.append(fault)
        return found

    async def _timed(self, asking: Awaitable[T]) -> T:
        begun_s = trio.current_time()
        try:
            answer = await asking
        except TryAnother as fault:
            CALL_FAULTS.labels(self.name, fault.kind).inc()
            raise
        CALL_S.labels(self.name).observe(trio.current_time() - begun_s)
        return answer

    async def _call(self, method: str, parameters: Sequence[object], kind: type[T]) -> T:
        (asked,) = self._asked([Ask(method, parameters, kind)])
        status, untrusted, rest_s = await self._exchange(msgspec.json.encode(asked))
        if status == 429:
            raise TryAnother("it limits how often it is asked", "limited", rest_s or 1.0)
        try:
            envelope = _decoder.decode(untrusted)
        except UNREADABLE_JSON:
            if status != 200:
                raise TryAnother(f"it answers HTTP {status}", "http", rest_s) from None
            raise TryAnother("its answer is no JSON-RPC", "nonsense") from None
        if (error := envelope.error) is not None:
            raise _refusal(error, rest_s)
        if status != 200:
            raise TryAnother(f"it answers HTTP {status}", "http", rest_s)
        if envelope.id != asked["id"]:
            raise TryAnother("it answers another question", "nonsense")
        told: T = _result(envelope, method, kind)
        return told

    async def _batch(self, asks: Sequence[Ask]) -> list[Any]:
        asked = self._asked(asks)
        status, untrusted, rest_s = await self._exchange(msgspec.json.encode(asked))
        if status == 429:
            raise TryAnother("it limits how often it is asked", "limited", rest_s or 1.0)
        if status >= 500:
            raise TryAnother(f"it answers HTTP {status}", "http", rest_s)
        try:
            envelopes = _batch_decoder.decode(untrusted)
        except UNREADABLE_JSON:
            if status != 200:
                raise _NoBatches from None
            raise TryAnother("its answer is no JSON-RPC", "nonsense") from None
        if isinstance(envelopes, _Envelope):
            if envelopes.error is not None and isinstance(
                refusal := _refusal(envelopes.error, rest_s), TryAnother
            ):
                raise refusal
            raise _NoBatches
        told = {envelope.id: envelope for envelope in envelopes}
        if len(envelopes) != len(asked) or told.keys() != {each["id"] for each in asked}:
            raise TryAnother("it answers other questions", "nonsense")
        return [
            _one_of(told[each["id"]], ask, rest_s) for ask, each in zip(asks, asked, strict=True)
        ]

    def _asked(self, asks: Sequence[Ask]) -> list[dict[str, object]]:
        first = self._calls + 1
        self._calls += len(asks)
        return [
            {"jsonrpc": "2.0", "id": number, "method": ask.method, "params": ask.parameters}
            for number, ask in enumerate(asks, first)
        ]

    async def _exchange(self, body: bytes) -> tuple[int, bytes, float]:
        with trio.move_on_after(self._whole_s):
            return await self._exchanged(body)
        raise TryAnother("it did not answer in time", "slow")

    async def _exchanged(self, body: bytes) -> tuple[int, bytes, float]:
        headers = {"content-type": "application/json"}
        try:
            async with self._http.stream(
                "POST", self._url, content=body, headers=headers
            ) as answer:
                # a few hundred bytes, packed twice, are hundreds of megabytes before they are
                # counted
                if answer.headers.get("content-encoding", "").strip().lower() not in _PLAIN:
                    because = "its answer is compressed, which it was asked not to be"
                    raise TryAnother(because, "nonsense")
                received = bytearray()
                async for piece in answer.aiter_raw():
                    received += piece
                    if len(received) > MAX_ANSWER_BYTES:
                        raise TryAnother("its answer is too large", "nonsense")
                asked_s = pause_s(answer.headers.get("retry-after"), self._clock.now_ms() / 1000)
                return answer.status_code, bytes(received), asked_s
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise TryAnother("it can't be reached", "unreachable") from None
        except httpx.TimeoutException:
            raise TryAnother("it did not answer in time", "slow") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as fault:
            raise TryAnother(f"the connection failed ({type(fault).__name__})", "broken") from None


def _refusal(error: _ErrorBody, rest_s: float) -> RpcError | TryAnother:
    if error.code in _UNHEALTHY:
        return TryAnother(_UNHEALTHY[error.code], "behind")
    if error.code == 429:
        return TryAnother("it limits how often it is asked", "limited", rest_s or 1.0)
    return RpcError(error.code, words(error.message), error.data)


@cache
def _decoder_of(kind: Any) -> msgspec.json.Decoder[Any]:
    """A shape takes longer to look at than an answer to read."""
    return msgspec.json.Decoder(kind)


def _result(envelope: _Envelope, method: str, kind: Any) -> Any:
    try:
        return _decoder_of(kind).decode(envelope.result)
    except UNREADABLE_JSON as fault:
        said = f"its answer to {method} has not the right shape: {fault}"
        raise TryAnother(said, "nonsense") from None


def _one_of(envelope: _Envelope, ask: Ask, rest_s: float) -> Any:
    if envelope.error is None:
        return _result(envelope, ask.method, ask.kind)
    refusal = _refusal(envelope.error, rest_s)
    if isinstance(refusal, TryAnother):
        raise refusal
    return refusal


def words(untrusted: str) -> str:
    """What an endpoint says, on one short line."""
    return " ".join("".join(c if c.isprintable() else " " for c in untrusted).split())[:_MAX_WORDS]

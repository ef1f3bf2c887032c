"""Answers that go on for a while: progress of long work, and the log as it grows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime

import structlog
import trio
from fastapi import Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from hausd.core.errors import Problem
from hausd.core.shapes import ErrorBody, ErrorShape, LogShape, ProgressShape
from hausd.telemetry import Level, LogEntry, LogRing, Progress, count_swallowed

_EVERY_S = 0.1
"""Progress is told at most this often: an eye needs no more."""
_JSON = "application/json"
_JSON_LINES = "application/x-ndjson"
_log = structlog.get_logger("hausd.admin")


def error_shape(problem: Problem) -> ErrorShape:
    """How a problem is told."""
    body = ErrorBody(code=problem.code, message=problem.message, hint=problem.hint)
    return ErrorShape(error=body)


def failed() -> Problem:
    """What is told of a fault of the node itself."""
    hint = "hausctl logs --level error tells more"
    return Problem("internal", "the node failed at this", hint, 500)


class _Answer:
    """An answer whose head is sent with its first line."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def begin(self, status: int = 200, content_type: str = _JSON_LINES) -> None:
        headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send(start)
        self.begun = True

    async def line(self, name: str, shape: BaseModel | None) -> None:
        if not self.begun:
            await self.begin()
        text = shape.model_dump_json() if shape is not None else "null"
        body = f'{{"{name}":{text}}}\n' if name else f"{text}\n"
        await self._send({"type": "http.response.body", "body": body.encode(), "more_body": True})

    async def end(self, body: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


class Work(Response):
    """Runs a piece of work, tells its progress, then its result or error, as JSON lines.

    A problem that shows before any progress was told is an ordinary error with its own status.
    The work is cancelled when the client goes.
    """

    def __init__(self, name: str, work: Callable[[Progress], Awaitable[BaseModel]]) -> None:
        super().__init__()
        self._name = name
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        latest = _Latest()
        done = trio.Event()
        outcome: BaseModel | Problem | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
            nursery.start_soon(_tell, latest, answer, done)
            outcome = await self._run(latest)
            done.set()
            await latest.told.wait()
            nursery.cancel_scope.cancel()
        if outcome is None:
            return  # the client has gone
        if not isinstance(outcome, Problem):
            await answer.line("result", outcome)
            await answer.end()
        elif answer.begun:
            await answer.line("error", error_shape(outcome).error)
            await answer.end()
        else:
            await answer.begin(outcome.status, _JSON)
            await answer.end(error_shape(outcome).model_dump_json().encode())

    async def _run(self, progress: Progress) -> BaseModel | Problem:
        try:
            return await self._work(progress)
        except Problem as problem:
            return problem
        except Exception as error:  # noqa: BLE001 - the door of this work: counted, logged, told
            count_swallowed(f"admin.{self._name}", error)
            _log.error("work-failed", work=self._name, exc_info=error)
            return failed()


class _Latest:
    """The newest progress; older ones are of no interest."""

    def __init__(self) -> None:
        self.shape: ProgressShape | None = None
        self.told = trio.Event()

    def __call__(self, done: int, total: int | None, what: str = "") -> None:
        self.shape = ProgressShape(done=done, total=total, what=what)


async def _tell(latest: _Latest, answer: _Answer, done: trio.Event) -> None:
    # Ends by itself, never by cancellation: half a line would break the answer's framing.
    try:
        told = None
        while not done.is_set():
            with trio.move_on_after(_EVERY_S):
                await done.wait()
            if latest.shape is not None and latest.shape is not told:
                told = latest.shape
                await answer.line("progress", told)
    finally:
        latest.told.set()


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            scope.cancel()
            return


class LogLines(Response):
    """The newest log entries, then, where wished, each new one until the client goes."""

    def __init__(self, ring: LogRing, count: int, level: Level, *, follow: bool) -> None:
        super().__init__()
        self._ring = ring
        self._count = count
        self._level: Level = level
        self._follow = follow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        await answer.begin()
        if not self._follow:
            for entry in self._ring.recent(self._count, self._level):
                await answer.line("", log_shape(entry))
            await answer.end()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
            async with aclosing(self._ring.follow(self._count, self._level)) as entries:
                async for entry_or_lost in entries:
                    await answer.line("", log_shape(entry_or_lost))


def log_shape(entry: LogEntry | int) -> LogShape:
    """An entry of the ring, or a number of lost ones, as it is told."""
    if isinstance(entry, int):
        return LogShape(
            number=-1,
            time=datetime.now(UTC),
            level="warning",
            logger="hausd.admin",
            event="entries-lost",
            fields={"count": entry},
        )
    return LogShape(
        number=entry.number,
        time=entry.time,
        level=entry.level,
        logger=entry.logger,
        event=entry.event,
        fields=dict(entry.fields),
    )

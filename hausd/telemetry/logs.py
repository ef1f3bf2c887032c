"""Sets the logs up: structlog for ours, and everything that libraries say through ``logging``.

Human on a terminal, one JSON object a line otherwise, to standard error. Every entry goes through
the redactor, is counted, and is kept in the ring.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import IO, Any, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

from hausd.telemetry.metrics import log_entries
from hausd.telemetry.redact import is_secret_name, redacted, redacted_text
from hausd.telemetry.ring import LEVELS, Level, LogRing, at_least

_OWN = ("time", "level", "logger", "event")
_least: Level = "info"
_NOISY = ("hypercorn.error", "hypercorn.access", "asyncio", "hpack", "httpx", "httpcore")


def set_up_logs(
    level: Level = "info",
    form: Literal["auto", "human", "json"] = "auto",
    ring: LogRing | None = None,
    stream: IO[str] | None = None,
) -> None:
    """Configures structlog and ``logging`` for this process; may be called again."""
    out = stream if stream is not None else sys.stderr
    human = form == "human" or (form == "auto" and out.isatty())
    set_level(level)
    structlog.configure(
        processors=[
            _stamp,
            structlog.contextvars.merge_contextvars,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _redact,
            _Keep(ring),
            _human(out) if human else _json_line,
        ],
        logger_factory=_Factory(out),
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog()]
    root.setLevel(logging.DEBUG)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def set_level(level: Level) -> None:
    """Changes the least level that is written, at once and for every logger."""
    global _least
    _least = level


class _Writer:
    """Where rendered lines end: any method writes one."""

    def __init__(self, name: str, out: IO[str]) -> None:
        self.name = name
        self._out = out

    def __getattr__(self, method: str) -> Any:
        return self._write

    def _write(self, line: str) -> None:
        try:
            self._out.write(line + "\n")
            self._out.flush()
        except (OSError, ValueError):
            # A reader that went away, or a full disk, must not stop a node. The ring has the entry.
            return


class _Factory:
    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def __call__(self, *names: str) -> _Writer:
        return _Writer(names[0] if names else "hausd", self._out)


def _stamp(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Drops what is below the level before anything costs time; then notes when, who, how grave."""
    level: Level = next((known for known in LEVELS if known == method), "info")
    if not at_least(level, _least):
        raise structlog.DropEvent
    event["time"] = datetime.now(UTC)
    event["level"] = level
    event["logger"] = getattr(logger, "name", "hausd")
    return event


def _redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    clean: EventDict = {}
    for name, value in event.items():
        if name in _OWN and name != "event":
            clean[name] = value
        elif is_secret_name(name):
            clean[name] = "[redacted]"
        else:
            clean[name] = redacted(value)
    return clean


class _Keep:
    def __init__(self, ring: LogRing | None) -> None:
        self._ring = ring

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        log_entries.labels(event["level"]).inc()
        if self._ring is not None:
            fields = {name: value for name, value in event.items() if name not in _OWN}
            self._ring.append(
                event["time"], event["level"], event["logger"], str(event["event"]), fields
            )
        return event


def _json_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    head: dict[str, object] = {name: event[name] for name in _OWN}
    head["time"] = event["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head.update((name, value) for name, value in event.items() if name not in _OWN)
    return json.dumps(head, ensure_ascii=False, default=str)


def _human(out: IO[str]) -> Any:
    render = structlog.dev.ConsoleRenderer(
        # plain: a rich one prints local variables, which may hold secrets, and takes seconds
        exception_formatter=structlog.dev.plain_traceback,
        colors=out.isatty(),
        timestamp_key="time",
        pad_event_to=24,
        sort_keys=False,
    )

    def local(logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> Any:
        event["time"] = event["time"].astimezone().strftime("%H:%M:%S.%f")[:-3]
        return render(logger, method, event)

    return local


class _ToStructlog(logging.Handler):
    """Brings what libraries log to the same place, through the same redactor."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        fields: dict[str, Any] = {}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exc_info"] = record.exc_info
        try:
            message = redacted_text(record.getMessage())
        except (TypeError, ValueError):
            message = str(record.msg)
        log = structlog.get_logger(record.name)
        getattr(log, level if level in LEVELS else "info")(message, **fields)

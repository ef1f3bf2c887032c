"""Telemetry: logs without secrets, metrics of the process, progress of long work."""

from __future__ import annotations

from hausd.telemetry.logs import set_level, set_up_logs
from hausd.telemetry.metrics import count_swallowed, exposition
from hausd.telemetry.process import ProcessFacts, ProcessProbe
from hausd.telemetry.progress import LoggedProgress, Progress
from hausd.telemetry.redact import redacted, redacted_text
from hausd.telemetry.ring import Level, LogEntry, LogRing

__all__ = [
    "Level",
    "LogEntry",
    "LogRing",
    "LoggedProgress",
    "ProcessFacts",
    "ProcessProbe",
    "Progress",
    "count_swallowed",
    "exposition",
    "redacted",
    "redacted_text",
    "set_level",
    "set_up_logs",
]

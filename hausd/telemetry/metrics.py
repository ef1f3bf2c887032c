"""Metrics: the default Prometheus registry, and what every part shares.

Parts create their own in ``<package>/metrics.py``, named ``hausd_<noun>_…``.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, generate_latest

from hausd.telemetry.process import living_tasks

log_entries = Counter("hausd_log_entries", "Log entries by level.", ["level"])
swallowed = Counter(
    "hausd_swallowed_errors",
    "Errors that ended at the door of a task group, by place and type.",
    ["where", "type"],
)
_tasks = Gauge("hausd_process_tasks", "Tasks of the event loop.")
_tasks.set_function(lambda: living_tasks())


class Words:
    """Labels that somebody makes up who is not trusted, such as a worker: of so many words at
    most, each short; what is beyond is ``other``."""

    def __init__(self, most: int = 64, most_chars: int = 40) -> None:
        self._known: set[str] = set()
        self._most, self._most_chars = most, most_chars

    def label(self, untrusted_word: str) -> str:
        """The word itself, or ``other``."""
        if untrusted_word not in self._known:
            if len(self._known) >= self._most or len(untrusted_word) > self._most_chars:
                return "other"
            self._known.add(untrusted_word)
        return untrusted_word


def count_swallowed(where: str, error: BaseException) -> None:
    """Counts an error that a task group's door caught; ``where`` is a short, fixed place."""
    swallowed.labels(where, type(error).__name__).inc()


def exposition() -> tuple[bytes, str]:
    """What ``/metrics`` answers: the body and its content type."""
    return generate_latest(), CONTENT_TYPE_LATEST

"""Failures that more than one room of the house has to know."""

from __future__ import annotations


class WorkerCrashed(Exception):
    """A media worker died; ``args[0]`` says how (exit status, signal, or broken frames)."""


class Problem(Exception):
    """A user's request can't be met; never a fault of the program.

    ``code`` is stable and for scripts (``not-found``, ``not-yet``, ``room-closed``), ``message``
    and ``hint`` are plain words without secrets, ``status`` is the HTTP status to answer with.
    """

    def __init__(self, code: str, message: str, hint: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.status = status

"""Which tasks of a node take the CPU: ``main`` is a node that counts it, step by step.

Counting costs a few microseconds a step, so it is never done in the runs that are compared.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

_WORDS = {
    "_run_handler": "ingest: reads RTMP, parses, sends to the worker",
    "Stays._run": "room: reads the worker's parts, names, lists and signs them",
    "Recorder.run": "recorder: plans writes, waits for the disk's thread",
    "FastLane.run": "http: requests that came",
    "FastLane._later": "http: blocking reloads and hinted parts",
    "<TrioToken.run_sync_soon task>": "answers of threads (disk)",
    "Gathering.run": "ingest: how much wakes it",
}
_MOST_LINES = 12
_WARM_S = 4.0
"""So long after its start a node, and the stream it was given, are under way."""


class StepCounter(trio.abc.Instrument):
    """Adds up the CPU of each task's steps, and of the waits between."""

    def __init__(self) -> None:
        self._warm_s = math.inf
        self._begin()

    def _begin(self) -> None:
        self.began_s = time.monotonic()
        self.began_cpu_s = time.thread_time()
        self.taken_s: dict[str, float] = defaultdict(float)
        """By the function that the task runs."""
        self.steps: Counter[str] = Counter()
        self.waits = 0
        self.waiting_s = 0.0
        self._at_s = 0.0

    def before_run(self) -> None:
        self._warm_s = time.monotonic() + _WARM_S

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._at_s = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        name = task.name
        self.taken_s[name] += time.thread_time() - self._at_s
        self.steps[name] += 1

    def before_io_wait(self, timeout: float) -> None:
        self._at_s = time.thread_time()

    def after_io_wait(self, timeout: float) -> None:
        self.waits += 1
        self.waiting_s += time.thread_time() - self._at_s
        if time.monotonic() > self._warm_s:
            self._warm_s = math.inf
            self._begin()

    def facts(self) -> dict[str, object]:
        """All of it, for JSON."""
        return {
            "seconds": time.monotonic() - self.began_s,
            "cpu_s": time.thread_time() - self.began_cpu_s,
            "waits": self.waits,
            "waiting_s": self.waiting_s,
            "taken_s": self.taken_s,
            "steps": self.steps,
        }


def main(arguments: Sequence[str]) -> None:
    """A file for what is found, then the command line of a node (``python -m hausd …``)."""
    out, _, _, _, *given = arguments
    counter = StepCounter()
    setattr(trio, "run", partial(trio.run, instruments=[counter]))  # noqa: B010 it is typed as one function
    from hausd.__main__ import main as hausd

    status = hausd(given)
    Path(out).write_text(json.dumps(counter.facts()))
    sys.exit(status)


def lines(found: Path) -> list[tuple[str, str]]:
    """What ``main`` found as pairs for a table, in seconds for a minute."""
    facts = json.loads(found.read_text())
    minute = 60 / facts["seconds"]
    said = []
    for name, taken_s in sorted(facts["taken_s"].items(), key=lambda item: -item[1])[:_MOST_LINES]:
        steps = facts["steps"][name]
        words = next((words for end, words in _WORDS.items() if name.endswith(end)), name)
        if taken_s * minute >= 0.005:
            figure = (
                f"{taken_s * minute:5.2f} s, {steps / facts['seconds']:5.1f} steps/s of "
                f"{taken_s / steps * 1e6:4.0f} us"
            )
            said.append((words, figure))
    waits = f"{facts['waits'] / facts['seconds']:5.1f} waits/s"
    said.append(("waiting for events", f"{facts['waiting_s'] * minute:5.2f} s, {waits}"))
    rest_s = facts["cpu_s"] - facts["waiting_s"] - sum(facts["taken_s"].values())
    said.append(("the event loop itself", f"{rest_s * minute:5.2f} s"))
    return said

"""Runs the programs' tests again and again, each time on what is in a folder then.

For ``mutate``: a line on stdin is the pytest arguments of one trial, as JSON, and is answered with
a line: the test that fails, or "passed". Everything is imported once; a trial is a fork.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import warnings

import pytest

MOST_S = 900
_USED = (
    "pytest_trio",
    "hypothesis.stateful",
    "tests.support.pots",
    "tests.support.potmodel",
)


class First:
    """Says which test was the first to fail."""

    def __init__(self, to: int) -> None:
        self._to = to

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self._to, report.nodeid.encode() + b"\n")


def failed(trials: list[list[str]]) -> str:
    """A test of these runs of pytest that fails; empty where none does."""
    told, to = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        signal.alarm(MOST_S)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        passed = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        os._exit(any(pytest.main(each, [First(to)]) not in passed for each in trials))
    os.close(to)
    with os.fdopen(told) as names:
        name = names.readline().strip()
    _, status = os.waitpid(child, 0)
    return (name or "no test ends") if status else ""


def main() -> None:
    warnings.simplefilter("ignore")
    for name in _USED:
        importlib.import_module(name)
    for line in sys.stdin:
        print(failed(json.loads(line)) or "passed", flush=True)


if __name__ == "__main__":
    main()

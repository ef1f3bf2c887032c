"""Runs the programs' tests again and again, each time on what is in a folder then.

For ``mutate``: a line on stdin is the pytest arguments of one trial, as JSON, and is answered with
a line: "noticed" where a test fails, else "passed". Everything is imported once; a trial is a fork.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import warnings

MOST_S = 900
_USED = (
    "pytest",
    "pytest_trio",
    "hypothesis.stateful",
    "tests.support.pots",
    "tests.support.potmodel",
)


def failed(trials: list[list[str]]) -> bool:
    """Whether a test of any of these runs of pytest fails, or none ends in time."""
    child = os.fork()
    if child == 0:
        signal.alarm(MOST_S)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        import pytest

        passed = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        os._exit(any(pytest.main(each) not in passed for each in trials))
    _, status = os.waitpid(child, 0)
    return status != 0


def main() -> None:
    warnings.simplefilter("ignore")
    for name in _USED:
        importlib.import_module(name)
    for line in sys.stdin:
        print("noticed" if failed(json.loads(line)) else "passed", flush=True)


if __name__ == "__main__":
    main()

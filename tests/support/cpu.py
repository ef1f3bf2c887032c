"""Work whose time must not grow out of hand: in a process that may take little of a processor."""

from __future__ import annotations

import resource
import subprocess
import sys

_CPU_S = 20
"""Imports take one of them on a slow machine; what grows out of hand takes minutes or years."""


def done_in_bounds(code: str) -> str:
    """What ``code`` prints; fails where it was ended for the time that it took."""
    done = subprocess.run(
        (sys.executable, "-c", code),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S)),
    )
    assert done.returncode == 0, done.stderr or f"ended by signal {-done.returncode}"
    return done.stdout

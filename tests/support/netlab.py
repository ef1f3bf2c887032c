"""Network namespaces for tests: several machines with home uplinks between them, on this one."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from support import wire

_NEWNET = 0x40000000
PORT = 4001


class Net:
    """Places numbered from 0, in a network of their own. ``wire.py`` says what lies between."""

    def __init__(self, count: int, seconds: float = 300.0, **how: float) -> None:
        """For ``seconds`` at most; ``how``: delay_s, loss, rate_bps, queue_s."""
        self._process = subprocess.Popen(
            [sys.executable, str(Path(wire.__file__)), str(count), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, said = self._process.communicate()
            raise OSError(said.strip().splitlines()[-1] if said.strip() else "it ended")
        self._places = [
            os.open(f"/proc/{pid}/ns/net", os.O_RDONLY) for pid in json.loads(line)["pids"]
        ]
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.change(**how)

    def __enter__(self) -> Net:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in (*self._places, self._home):
            os.close(each)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def change(self, **how: Any) -> None:
        """Makes all wires like this from now on."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(how) + "\n")
        self._process.stdin.flush()

    def cut(self, *pairs: tuple[int, int]) -> None:
        """Nothing passes between these any more, and between all others it does."""
        self.change(cut=pairs)

    @contextmanager
    def at(self, place: int) -> Iterator[None]:
        """What this thread does meanwhile, it does there; so does what it starts."""
        _enter(self._places[place])
        try:
            yield
        finally:
            _enter(self._home)

    @staticmethod
    def host(place: int) -> str:
        return f"{wire.PREFIX}{place + 1}"

    @classmethod
    def sets(cls, place: int) -> tuple[str, ...]:
        """How a node listens there."""
        return f"p2p.listen=/ip4/{cls.host(place)}/tcp/{PORT}", "p2p.mdns=false"


@contextmanager
def net(count: int, **how: float) -> Iterator[Net]:
    """A network; the test is skipped where this machine lets nobody make one."""
    try:
        made = Net(count, **how)
    except OSError as fault:
        if os.environ.get("CI") and os.geteuid() == 0:
            raise
        pytest.skip(f"network namespaces with TUN devices need Linux and root: {fault}")
    with made:
        yield made


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _NEWNET):
        raise OSError(ctypes.get_errno(), "setns")

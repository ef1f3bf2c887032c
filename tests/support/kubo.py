"""Kubo as a node of its own, on loopback, that knows nobody until it is told."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.ipfs import Refused

_READY_S = 60.0


@dataclass
class OnlineKubo:
    """A running daemon."""

    program: Path
    home: Path
    pid: int = 0

    def run(self, *arguments: str, seconds: float = 60.0) -> bytes:
        """What ``ipfs`` prints; raises Refused, and TimeoutExpired."""
        ran = subprocess.run(
            [str(self.program), *arguments],
            capture_output=True,
            env=_env(self.home),
            timeout=seconds,
        )
        if ran.returncode:
            raise Refused(ran.stderr.decode())
        return ran.stdout

    @property
    def address(self) -> str:
        """Where others reach it, with /p2p/ID."""
        told = json.loads(self.run("id"))
        return next(str(at) for at in told["Addresses"] if "/tcp/" in at and "/ws" not in at)


@contextmanager
def kubo_online(
    program: Path, home: Path, *settings: tuple[str, object], in_memory: bool = False
) -> Iterator[OnlineKubo]:
    """``settings``: further keys of its configuration, and their values.

    ``in_memory``: its blocks are on no disk.
    """
    kubo = OnlineKubo(program, home)
    kubo.run("init", "--empty-repo", "--profile=test")
    ours = (
        ("Addresses.Swarm", ["/ip4/127.0.0.1/tcp/0"]),
        ("Addresses.API", "/ip4/127.0.0.1/tcp/0"),
        ("Addresses.Gateway", []),
        ("Routing.Type", "none"),
        ("AutoConf.Enabled", False),
        *((("Datastore.Spec", {"type": "mem"}),) if in_memory else ()),
    )
    for key, value in (*ours, *settings):
        kubo.run("config", "--json", key, json.dumps(value))
    if in_memory:
        (home / "datastore_spec").write_text("null")  # what of the datastore is on disk
    log = home.with_name(home.name + ".log")
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(program), "daemon"], stdout=subprocess.PIPE, stderr=out, text=True, env=_env(home)
        )
    try:
        _wait_ready(process, log)
        kubo.pid = process.pid
        yield kubo
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


def _wait_ready(process: subprocess.Popen[str], log: Path) -> None:
    """A daemon that takes too long is killed."""
    timer = threading.Timer(_READY_S, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Daemon is ready" in line:
                return
        raise AssertionError("".join(said) + log.read_text())
    finally:
        timer.cancel()


def _env(home: Path) -> dict[str, str]:
    return {**os.environ, "IPFS_PATH": str(home), "IPFS_TELEMETRY": "off"}

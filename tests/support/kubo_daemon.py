"""A running Kubo that serves the DHT on loopback, and knows nobody until it is told."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CONFIG = {
    "Routing.Type": "dhtserver",
    "Routing.LoopbackAddressesOnLanDHT": True,
    "Addresses.Swarm": ["/ip4/127.0.0.1/tcp/0"],
    "Addresses.API": "/ip4/127.0.0.1/tcp/0",
    "Addresses.Gateway": "/ip4/127.0.0.1/tcp/0",
    "Bootstrap": [],
    "Discovery.MDNS.Enabled": False,
    "AutoTLS.Enabled": False,
    "AutoConf.Enabled": False,
    "Routing.DelegatedRouters": [],
    "Ipns.DelegatedPublishers": [],
    "DNS.Resolvers": {},
}
_READY_S = 30.0


@dataclass
class KuboDaemon:
    """A running daemon; ``run`` is one command against it. ``api``, ``gateway``: its URLs."""

    program: Path
    home: Path
    pid: int = 0
    api: str = ""
    gateway: str = ""

    def run(self, *arguments: str, given: bytes = b"", fails: bool = False) -> bytes:
        ran = subprocess.run(
            [str(self.program), *arguments],
            input=given,
            capture_output=True,
            env=_environ(self.home),
            timeout=120,
        )
        assert bool(ran.returncode) == fails, (arguments, ran.stdout, ran.stderr)
        return ran.stderr if fails else ran.stdout

    def words(self, *arguments: str) -> list[str]:
        return self.run(*arguments).decode().split()

    @property
    def address(self) -> str:
        """Where it listens, with its id."""
        told: dict[str, list[str]] = json.loads(self.run("id"))
        return next(each for each in told["Addresses"] if each.startswith("/ip4/127.0.0.1/tcp/"))


@contextmanager
def kubo_daemon(
    program: Path, home: Path, *, in_memory: bool = False, **config: Any
) -> Iterator[KuboDaemon]:
    """A daemon in a new repository, until the context is left.

    ``in_memory``: what is put into it is on no disk. ``config``: further settings, by the first
    word of their names.
    """
    kubo = KuboDaemon(program, home)
    kubo.run("init", "--empty-repo", "--profile=test")
    for key, value in {**_CONFIG, **config}.items():
        kubo.run("config", "--json", key, json.dumps(value))
    if in_memory:
        kubo.run("config", "--json", "Datastore.Spec", json.dumps({"type": "mem"}))
        (home / "datastore_spec").write_text("null")  # what of it is on disk: nothing
    log = home.with_name(home.name + ".log")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(program), "daemon"], stdout=out, stderr=out, env=_environ(home)
        )
    try:
        end_s = time.monotonic() + _READY_S
        while b"Daemon is ready" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.1)
        kubo.pid = process.pid
        port = (home / "api").read_text().strip().split("/")[4]
        kubo.api = f"http://127.0.0.1:{port}"
        kubo.gateway = (home / "gateway").read_text().strip().rstrip("/")
        yield kubo
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environ(home: Path) -> dict[str, str]:
    return {**os.environ, "IPFS_PATH": str(home), "IPFS_TELEMETRY": "off"}

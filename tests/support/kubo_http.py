"""A running Kubo, asked over HTTP (RPC API and gateway), with no network but this machine."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.ipfs import Kubo, Refused


@dataclass(frozen=True)
class KuboDaemon:
    """``api`` and ``gateway`` are URLs."""

    kubo: Kubo
    api: str
    gateway: str

    def ask(self, *arguments: str) -> bytes:
        """What a command says that goes through the daemon."""
        ran = subprocess.run(
            [str(self.kubo.program), *arguments],
            capture_output=True,
            env=_environment(self.kubo),
            timeout=120,
        )
        if ran.returncode:
            raise Refused(ran.stderr.decode())
        return ran.stdout


@contextmanager
def kubo_daemon(kubo: Kubo, **config: Any) -> Iterator[KuboDaemon]:
    """Runs it; ``config`` are further settings by the first word of their names."""
    settings = {
        "Addresses": {
            "API": "/ip4/127.0.0.1/tcp/0",
            "Gateway": "/ip4/127.0.0.1/tcp/0",
            "Swarm": ["/ip4/127.0.0.1/tcp/0"],
        },
        "Bootstrap": [],
        "AutoConf": {"Enabled": False},
        "Discovery": {"MDNS": {"Enabled": False}},
        "Routing": {"Type": "none"},
        "DNS": {"Resolvers": {}},
        "Ipns": {"DelegatedPublishers": []},
        **config,
    }
    for key, value in settings.items():
        kubo.run("config", "--json", key, json.dumps(value))
    files = [kubo.home / name for name in ("api", "gateway")]
    for file in files:
        file.unlink(missing_ok=True)
    log = kubo.home / "daemon.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(kubo.program), "daemon"], stdout=out, stderr=out, env=_environment(kubo)
        )
    try:
        end_s = time.monotonic() + 60
        while not all(file.exists() and file.read_text().strip() for file in files):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.1)
        port = files[0].read_text().strip().split("/")[4]
        gateway = files[1].read_text().strip().rstrip("/")
        yield KuboDaemon(kubo, f"http://127.0.0.1:{port}", gateway)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(kubo: Kubo) -> dict[str, str]:
    return {**os.environ, "IPFS_PATH": str(kubo.home), "IPFS_TELEMETRY": "off"}

"""Runs the real ``hausd`` in a home of its own and steers it with the real ``hausctl``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from hausctl.client import Client

from .tls import TLS

_READY_S = 30.0
_STOP_S = 30.0


@dataclass(eq=False)
class Node:
    """A running node. ``words`` are those of its ready line."""

    process: subprocess.Popen[str]
    home: Path
    words: dict[str, str]
    log: Path

    @property
    def http(self) -> str:
        return self.words["http"]

    @property
    def rtmp(self) -> str:
        return f"rtmp://{self.words['rtmp']}/live"

    def ctl(self, *arguments: str, code: int = 0) -> Any:
        """What ``hausctl --json`` prints, read; the exit code has to be ``code``."""
        done = subprocess.run(
            [sys.executable, "-m", "hausctl", "--home", str(self.home), "--json", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        text = done.stdout or done.stderr
        return json.loads(text) if text.strip() else None

    def shown(self, room: str) -> dict[str, Any]:
        """As ``hausctl rooms show``, without starting a program each time: for who waits for it."""
        found: dict[str, Any] = Client(self.home).get("rooms", room)
        return found

    def room(self, title: str = "Test") -> dict[str, Any]:
        """A new room."""
        made: dict[str, Any] = self.ctl("rooms", "create", title)
        return made

    def get(self, path: str, **more: Any) -> httpx.Response:
        """One GET of a path (or absolute URL) on the node."""
        url = path if path.startswith("http") else self.http + path
        return httpx.get(url, **{"timeout": 30, "verify": TLS, **more})

    def figure(self, name: str, labels: str = "") -> float:
        """A metric: the sum of its rows whose labels have this text."""
        rows = re.findall(rf"^{name}({{[^}}]*}})? ([0-9.e+]+)$", self.get("/metrics").text, re.M)
        return sum(float(value) for labelled, value in rows if labels in labelled)

    def wait_for(self, path: str, seconds: float = 20.0) -> httpx.Response:
        """Asks until the answer is 200."""
        end = time.monotonic() + seconds
        while True:
            answer = self.get(path)
            if answer.status_code == 200:
                return answer
            assert time.monotonic() < end, (path, answer.status_code, answer.text[:500])
            time.sleep(0.05)

    def wait_state(self, room: str, state: str, seconds: float = 20.0) -> dict[str, Any]:
        """Asks until the room is in this state."""
        end = time.monotonic() + seconds
        while True:
            shown: dict[str, Any] = self.get(f"/api/v1/rooms/{room}").json()
            if shown["state"] == state:
                return shown
            assert time.monotonic() < end, shown
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: nothing is drained."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_STOP_S)


def until(holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What ``holds`` gives, as soon as that is true."""
    end_s = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end_s, "it did not come about"
        time.sleep(0.1)
    return found


@contextmanager
def node(
    home: Path,
    *sets: str,
    arguments: Sequence[str] = (),
    wrap: Sequence[str] = (),
    environ: dict[str, str] | None = None,
) -> Iterator[Node]:
    """A node on ports of the system's choice; ``sets`` are ``section.key=value``."""
    command = [*wrap, sys.executable, "-m", "hausd", "--home", str(home)]
    given = {each.partition("=")[0] for each in sets}
    for each in (
        "http.listen=127.0.0.1:0",
        "rtmp.listen=127.0.0.1:0",
        "chain.listen=127.0.0.1:0",
        "p2p.listen=/ip4/127.0.0.1/tcp/0",
    ):
        if each.partition("=")[0] not in given:
            command += ["--set", each]
    for each in sets:
        command += ["--set", each]
    log = home.with_name(home.name + ".log")
    with log.open("a") as out:
        process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=out,
            text=True,
            env={**os.environ, **(environ or {})},
        )
    assert process.stdout is not None
    try:
        line = _first_line(process)
        assert line.startswith("ready "), (line, log.read_text()[-4000:])
        words = dict(word.partition("=")[::2] for word in line.split()[1:])
        words["admin"] = unquote(words["admin"])
        yield Node(process, home, words, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    """The ready line; ends early where the process does. A hung start is killed."""
    import threading

    timer = threading.Timer(_READY_S, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        return process.stdout.readline()
    finally:
        timer.cancel()


@contextmanager
def running(command: Sequence[str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is ended, if it still runs, when the block is left."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=more.pop("stdout", subprocess.DEVNULL),
        stderr=more.pop("stderr", subprocess.DEVNULL),
        **more,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

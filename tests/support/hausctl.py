"""Runs the real hausctl as its users do: as a program, in a pipe or on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

ROOT = Path(__file__).parents[2]
_OF_THE_SHELL = ("COLUMNS", "LINES")  # readline, once imported, sets them for all children


@dataclass(frozen=True)
class Said:
    """What a run said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """The environment of a user who has nothing set."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HAUSD_") and name not in _OF_THE_SHELL
    }
    return {**kept, "PYTHONPATH": str(ROOT), "TZ": "UTC", "NO_COLOR": "1", **more}


def program(*arguments: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "hausctl", *arguments]


async def hausctl(home: Path, *arguments: str, **environ: str) -> Said:
    """Runs it to its end, with its output in pipes."""
    done = await trio.run_process(
        program("--home", str(home), *arguments),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=environment(**environ),
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


class Terminal:
    """A terminal with a program on it."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self.process = process
        self.seen = ""

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def until(self, text: str) -> str:
        """Waits until a text was written; gives what was written since the last time."""
        before = len(self.seen)
        while text not in self.seen[before:]:
            if not await self._more():
                raise AssertionError(f"{text!r} never came; the terminal shows {self.seen!r}")
        return self.seen[before:]

    async def ended(self) -> int:
        """Waits for the program's end; gives its exit code."""
        while await self._more():
            pass
        return await trio.to_thread.run_sync(self.process.wait)

    async def _more(self) -> bool:
        await trio.lowlevel.wait_readable(self._master)
        try:
            read = os.read(self._master, 65536)
        except OSError:  # Linux: the program closed its side
            return False
        self.seen += read.decode(errors="replace")
        return bool(read)


def _take_terminal() -> None:
    """So that Ctrl-C reaches the program, as it does in a real terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    heed_interrupts()


def heed_interrupts() -> None:
    """As a shell's job does in the foreground: a suite that runs in the background may not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def on_terminal(
    home: Path, *arguments: str, columns: int = 120, lines: int = 30, **environ: str
) -> Iterator[Any]:
    """Runs it on a terminal; ends it on leaving."""
    master, slave = pty.openpty()
    try:
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(master, termios.TIOCSWINSZ, size)
        process = subprocess.Popen(
            program("--home", str(home), *arguments),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(TERM="xterm-256color", **environ),
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(slave)
        try:
            yield Terminal(master, process)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(master)

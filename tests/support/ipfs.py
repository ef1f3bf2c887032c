"""Other implementations of IPFS: one in JavaScript, and Kubo."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hausd.core.cid import CID
from hausd.wire.car import CarReader

_ROOT = Path(__file__).parents[2]
_READER = _ROOT / "tests/interop/js/read-car.mjs"


class Refused(Exception):
    """The other implementation did not take it; ``args[0]`` is what it said."""


def has_javascript() -> bool:
    return (_READER.parent / "node_modules").is_dir()


def read_with_javascript(car: Path, folder: Path) -> dict[str, Any]:
    """Checks every block and writes the directory of a CAR file; see read-car.mjs."""
    ran = subprocess.run(
        ["node", str(_READER), str(car), str(folder)], capture_output=True, text=True, timeout=120
    )
    if ran.returncode:
        raise Refused(ran.stderr)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def kubo_program() -> Path:
    """Where scripts/interop-tools puts Kubo."""
    script = _ROOT / "scripts/interop-tools"
    ran = subprocess.run([str(script), "--path"], capture_output=True, text=True, check=True)
    return Path(ran.stdout.strip())


@dataclass
class Kubo:
    """A repository of its own that never goes on line."""

    program: Path
    home: Path

    def start(self) -> Kubo:
        self.run("init", "--empty-repo")
        return self

    def run(self, *arguments: str) -> bytes:
        ran = subprocess.run(
            [str(self.program), "--offline", *arguments],
            capture_output=True,
            env={**os.environ, "IPFS_PATH": str(self.home), "IPFS_TELEMETRY": "off"},
            timeout=120,
        )
        if ran.returncode:
            raise Refused(ran.stderr.decode())
        return ran.stdout


async def written(pieces: AsyncIterator[bytes], path: Path) -> Path:
    """A CAR file on disk."""
    with path.open("wb") as file:
        async for piece in pieces:
            file.write(piece)
    return path


def read_blocks(car: bytes) -> tuple[tuple[CID, ...], dict[CID, bytes]]:
    """Roots and blocks of a whole CAR file, with our own reader."""
    reader = CarReader()
    blocks = dict(reader.feed(car))
    reader.finish()
    return reader.roots or (), blocks

"""What passing a stream through costs before a line of hausd runs: the bytes' own way.

The same bytes as ``passthrough`` are handed to another process and come back as parts (a worker
is a process of its own), are hashed, written to files, and as many signatures made as there are
ticks. ``main`` is a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hausd.core.keys import SEED_BYTES, SigningKey
from hausd.core.media import LEAF_BYTES
from hausd.media.pipeline import Pipeline
from hausd.wire.worker import WorkerConfig
from mediabench.inputs import PART, read_tags

_BATCH_BYTES = 64 * 1024
_SOCKET_BYTES = 4 * 1024 * 1024
_READ_BYTES = 256 * 1024
_TICK_BYTES = 350
"""What is signed for a tick of two parts."""
_FILES = 12


def measure(source: Path, folder: Path) -> dict[str, float]:
    """CPU seconds by what they went into."""
    command = [sys.executable, str(PART), "floor", str(source), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + reaped.ru_utime + reaped.ru_stime


def _median_s(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(9):
        began_s = _cpu_s()
        work()
        taken.append(_cpu_s() - began_s)
    return sorted(taken)[len(taken) // 2]


def _through_a_process(pieces: Sequence[bytes]) -> None:
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
    child = os.fork()
    if child == 0:
        near.close()
        buffer = bytearray(_READ_BYTES)
        while far.recv_into(buffer):
            pass
        os._exit(0)
    far.close()
    for piece in pieces:
        near.sendall(piece)
    near.close()
    os.waitpid(child, 0)


def _write(parts: Sequence[bytes], folder: Path) -> None:
    for number in range(_FILES):
        path = folder / f"{number}.seg"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for part in parts[number::_FILES]:
            os.write(descriptor, part)
        os.close(descriptor)
        path.unlink()


def _hash(parts: Sequence[bytes]) -> None:
    for part in parts:
        for at in range(0, len(part), LEAF_BYTES):
            hashlib.sha256(memoryview(part)[at : at + LEAF_BYTES]).digest()


def main(arguments: Sequence[str]) -> None:
    """An FLV file and a folder to write in; prints JSON."""
    source, folder = map(Path, arguments)
    folder.mkdir()
    tags = list(read_tags(source))
    parts: list[bytes] = []
    pipeline = Pipeline(WorkerConfig(images=False), lambda _, body: parts.append(body))
    for tag in tags:
        pipeline.push(tag)
    pipeline.finish()
    parts = [part for part in parts if part]
    stream = b"".join(tag.data for tag in tags)
    batches = [stream[at : at + _BATCH_BYTES] for at in range(0, len(stream), _BATCH_BYTES)]
    key, tick = SigningKey(bytes(SEED_BYTES)), bytes(_TICK_BYTES)
    fork_s = _median_s(lambda: _through_a_process([]))
    found = {
        "to the worker": _median_s(lambda: _through_a_process(batches)) - fork_s,
        "from the worker": _median_s(lambda: _through_a_process(parts)) - fork_s,
        "SHA-256": _median_s(lambda: _hash(parts)),
        "signatures": _median_s(lambda: [key.sign(tick) for _ in range(len(parts) // 2)]),
        "writing": _median_s(lambda: _write(parts, folder)),
    }
    folder.rmdir()
    print(json.dumps(found))

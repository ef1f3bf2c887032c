"""What a process and its children take: CPU, memory, bytes written. From /proc; Linux only."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds so far."""

    user_s: float
    system_s: float

    @property
    def all_s(self) -> float:
        return self.user_s + self.system_s

    def __sub__(self, before: Cpu) -> Cpu:
        return Cpu(self.user_s - before.user_s, self.system_s - before.system_s)

    def __add__(self, other: Cpu) -> Cpu:
        return Cpu(self.user_s + other.user_s, self.system_s + other.system_s)


def cpu(pid: int) -> Cpu:
    """Of one process, all threads, living or not."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Cpu(int(fields[11]) * _TICK_S, int(fields[12]) * _TICK_S)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def family_cpu(pid: int) -> dict[int, Cpu]:
    """Of each process of a family that lives now."""
    return {each: cpu(each) for each in family(pid)}


def threads_cpu(pid: int) -> dict[str, float]:
    """CPU seconds by thread name; of threads that ended nothing is known."""
    taken: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:  # it ended while we looked
            continue
        fields = rest.split()
        taken[name] += (int(fields[11]) + int(fields[12])) * _TICK_S
    return taken


def own_memory(pid: int) -> float:
    """MB that go with this process: its proportional set size, shared pages divided."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return psutil.Process(pid).memory_info().rss / 1e6
    found = re.search(r"^Pss:\s+(\d+)", text, re.M)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def family_memory(pid: int) -> float:
    """MB of a process and all below it."""
    return sum(own_memory(each) for each in family(pid))


def written_bytes(pid: int) -> int:
    """Bytes that a process and all below it had written to disks."""
    total = 0
    for each in family(pid):
        text = Path(f"/proc/{each}/io").read_text()
        found = re.search(r"^write_bytes: (\d+)", text, re.M)
        total += int(found[1]) if found else 0
    return total

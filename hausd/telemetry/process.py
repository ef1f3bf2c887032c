"""What this process takes of the machine, read when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import trio


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """CPU as percent of one core since the last look; resident memory; descriptors; tasks.

    The media workers are not in it.
    """

    cpu_percent: float
    memory_bytes: int
    open_files: int
    tasks: int


class ProcessProbe:
    """Looks at this process. One probe per asker: CPU counts from its last look."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()

    def look(self) -> ProcessFacts:
        """The facts now; costs about a millisecond."""
        with self._process.oneshot():
            return ProcessFacts(
                cpu_percent=self._process.cpu_percent(),
                memory_bytes=self._process.memory_info().rss,
                open_files=self._process.num_fds(),
                tasks=living_tasks(),
            )


def living_tasks() -> int:
    """Tasks of the event loop that runs in this thread; 0 where none does."""
    if not trio.lowlevel.in_trio_run():
        return 0
    return trio.lowlevel.current_statistics().tasks_living

"""Bars for work that takes a while, on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_NAMES = {"verify": "Verifying", "gc": "Collecting", "export": "Exporting"}


def watched(lines: Iterable[Any], work: str) -> Iterator[Any]:
    """Passes lines on, and shows those that tell progress."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}% {task.fields[what]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(_NAMES.get(work, work), total=None, what="")
        for line in lines:
            told = line.get("progress")
            if told is None:
                yield line
            else:
                what = str(told.get("what") or "")[:40]
                bars.update(bar, completed=told["done"], total=told["total"], what=what)

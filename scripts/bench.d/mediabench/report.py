"""Rows of figures, ours beside a peer's, and how they are shown to people and programs."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_NARROWEST = 118


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: medians of ``ours`` and ``peers`` samples, smaller is better.

    ``wanted`` is the largest ratio (without a peer: the largest value) that is good enough, None
    for no demand. ``note`` says what a figure leaves open, in a few words.
    """

    name: str
    unit: str
    ours: Sequence[float]
    peers: Sequence[float] = ()
    peer: str = ""
    wanted: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """Our median."""
        return statistics.median(self.ours)

    @property
    def against(self) -> float | None:
        """The peer's median."""
        return statistics.median(self.peers) if self.peers else None

    @property
    def ratio(self) -> float | None:
        """Ours to the peer's."""
        against = self.against
        return self.value / against if against else None

    @property
    def missed(self) -> bool:
        """Whether it is worse than wanted. Without the peer it was measured against: unknown."""
        if self.wanted is None or (self.peer and not self.peers):
            return False
        held = self.value if self.ratio is None else self.ratio
        return held > self.wanted

    def facts(self) -> dict[str, Any]:
        """For ``--json``."""
        medians = {"ours_median": self.value, "peer_median": self.against, "ratio": self.ratio}
        return {**asdict(self), **medians, "missed": self.missed}


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run found."""

    machine: dict[str, str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    tables: Sequence[tuple[str, Sequence[tuple[str, str]]]] = field(default_factory=tuple)
    """Further lists: a title, then pairs of name and figure."""

    @property
    def missed(self) -> bool:
        """Whether any row is worse than wanted."""
        return any(row.missed for row in self.rows)


def show(report: Report, *, as_json: bool) -> None:
    """Prints a report on standard output."""
    if as_json:
        print(
            json.dumps(
                {
                    "machine": report.machine,
                    "rows": [row.facts() for row in report.rows],
                    "notes": list(report.notes),
                    "tables": {title: dict(pairs) for title, pairs in report.tables},
                },
                indent=2,
            )
        )
        return
    console = Console(highlight=False)
    if console.width < _NARROWEST:
        console = Console(highlight=False, width=_NARROWEST)
    console.print("  ".join(f"{name} {value}" for name, value in report.machine.items()))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Smaller is better", overflow="fold")
    for heading in ("hausd", "peer", "ratio", "wanted"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("peer, and what to know", overflow="fold")
    for row in report.rows:
        table.add_row(*_cells(row))
    console.print(table)
    for title, pairs in report.tables:
        inner = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
        inner.add_column("what", overflow="fold")
        inner.add_column("figure", justify="right", no_wrap=True)
        for name, figure in pairs:
            inner.add_row(escape(name), escape(figure))
        console.print(inner)
    for note in report.notes:
        console.print(note, markup=False)


def _cells(row: Row) -> tuple[str, ...]:
    unit = f" {row.unit}"
    ours = figure(row.value) + unit
    peer = figure(row.against) + unit if row.against is not None else "-"
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
    wanted = "-"
    if row.wanted is not None:
        wanted = f"<= {row.wanted:g}" + ("" if row.peer else unit)
    if row.missed:
        ratio, wanted = f"[red]{ratio}[/]", f"[red]{wanted} missed[/]"
    said = escape("; ".join(word for word in (row.peer, row.note) if word))
    return escape(row.name), ours, peer, ratio, wanted, said


def figure(value: float) -> str:
    """Three digits that count."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine(mediamtx: Path | None) -> dict[str, str]:
    """What the figures were measured on."""
    import av

    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "linux": platform.release(),
        "python": platform.python_version(),
        "PyAV": f"{av.__version__} (FFmpeg {av.ffmpeg_version_info})",
        "ffmpeg": _version("ffmpeg", "-version"),
        "MediaMTX": _version(str(mediamtx), "--version") if mediamtx else "none",
    }


def _version(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else "?"

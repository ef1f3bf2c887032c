"""Media: encoding, recording and live delivery against ffmpeg and MediaMTX, and what a node takes.

Run by ``scripts/bench media``, or by itself: ``python scripts/bench.d/media.py [--json]``. Needs
the program ffmpeg. How each figure is measured: docs/bench.md.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# In place of this file's own folder, where http.py would hide the standard library's.
sys.path[0] = str(ROOT)
sys.path += [str(HERE), str(ROOT / "tests")]

from mediabench import costs, ladder, live, passthrough  # noqa: E402 found by the lines above
from mediabench.report import Report, Row, machine, show  # noqa: E402

ROWS = ("ladder", "passthrough", "live", "costs")


def measure(options: argparse.Namespace, folder: Path) -> Report:
    """The rows that were asked for."""
    quick: bool = options.quick
    rounds = options.rounds or (1 if quick else 3)
    on = machine(options.mediamtx)
    rows: list[Row] = []
    tables: list[tuple[str, list[tuple[str, str]]]] = []
    if "ladder" in options.only:
        seconds = 5 if quick else 15
        rows += ladder.measure(folder, seconds=seconds, rounds=rounds, paced=options.paced)
    if "passthrough" in options.only:
        rows += passthrough.measure(folder, seconds=60, rounds=3 if quick else max(rounds, 5))
    if "live" in options.only:
        found, spent = live.measure(
            folder,
            seconds=15 if quick else 60,
            rounds=rounds,
            starts=2 if quick else 5,
            mediamtx=options.mediamtx,
        )
        rows += found
        tables += spent
    if "costs" in options.only:
        rows += costs.measure(
            folder,
            seconds=18 if quick else 60,
            viewers=50 if quick else 200,
            starts=1 if quick else 3,
        )
    notes = ["quick: too short for figures to be quoted"] if quick else []
    return Report(on, rows, notes, tables)


def main() -> int:
    """Prints the table; 1 where something is worse than wanted."""
    assert __doc__
    parser = argparse.ArgumentParser(
        prog="scripts/bench media", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it runs")
    parser.add_argument("--rounds", type=int, help="measurements of each, alternating (3)")
    parser.add_argument(
        "--only",
        action="append",
        choices=ROWS,
        help="these rows; may be given often (all)",
    )
    parser.add_argument(
        "--mediamtx", type=Path, metavar="FILE", help="the MediaMTX program to compare with"
    )
    parser.add_argument(
        "--paced", action="store_true", help="feed the ladder in real time, not as fast as it goes"
    )
    options = parser.parse_args()
    options.only = options.only or ROWS
    if options.mediamtx is not None:
        options.mediamtx = options.mediamtx.resolve()
        if not options.mediamtx.is_file():
            parser.error(f"--mediamtx: there is no file {options.mediamtx}")
    if shutil.which("ffmpeg") is None:
        parser.error("the program ffmpeg is needed; on Debian: apt install ffmpeg")
    with tempfile.TemporaryDirectory(prefix="hausd-bench-") as folder:
        report = measure(options, Path(folder))
    show(report, as_json=options.json)
    return int(report.missed)


if __name__ == "__main__":
    raise SystemExit(main())

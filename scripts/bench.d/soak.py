"""Whether a node grows: hours of media in minutes, with clients and encoders that come and go.

Run by ``scripts/bench soak``, or by itself: ``python scripts/bench.d/soak.py [--minutes N]``. Needs
the program ffmpeg. The node is fed a small stream at 60 times real time; its store is at its quota
soon, so whatever still grows has no bound.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# In place of this file's own folder, where http.py would hide the standard library's.
sys.path[0] = str(ROOT)
sys.path += [str(HERE), str(ROOT / "tests")]

import httpx  # noqa: E402 found by the lines above
from mediabench.report import figure, machine  # noqa: E402
from rich import box  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from support.node import node  # noqa: E402
from support.publish import make  # noqa: E402
from support.soak import SETS, Growth, Sample, growth, soak  # noqa: E402

_SOURCE_S = 20
_QUOTA = "store.quota=150 MB"
"""Full after some 50 minutes of this stream."""
_LOOKED_AT = {
    "node_mb": ("node, memory (MB)", 1.0, 3.0),
    "worker_mb": ("worker, memory (MB)", 1.0, 3.0),
    "tasks": ("node, tasks", 0.5, 3.0),
    "descriptors": ("node, descriptors", 0.5, 5.0),
    "worker_descriptors": ("worker, descriptors", 0.5, 2.0),
    "files": ("files in the store", 20.0, 40.0),
}
"""What counts as growth: a rise of more than this in an hour of media, and of more than that in
all, which clients that happen to be there at one look and not at another do not make."""
_BARS = "▁▂▃▄▅▆▇█"
_BARS_WIDE = 40


def main() -> int:
    """Prints what each figure did, and 1 where one grows."""
    assert __doc__
    parser = argparse.ArgumentParser(prog="scripts/bench soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="of wall time (5)")
    parser.add_argument("--visitors", type=int, default=4, help="clients at a time (4)")
    parser.add_argument("--reconnect", type=float, default=20.0, help="s an encoder stays (20)")
    parser.add_argument("--json", action="store_true", help="print JSON, every sample in it")
    options = parser.parse_args()
    on = machine(None)
    samples = _run(options)
    if samples[-1].media_s < samples[-1].wall_s:
        raise SystemExit("the node took no more than real time: this says nothing about hours")
    found = {name: growth(samples, name) for name in _LOOKED_AT}
    grown = [
        name
        for name, (_, an_hour, in_all) in _LOOKED_AT.items()
        if found[name].per_hour > an_hour and found[name].rise > in_all
    ]
    if options.json:
        print(
            json.dumps(
                {
                    "machine": on,
                    "samples": [asdict(sample) for sample in samples],
                    "growth": {name: asdict(each) for name, each in found.items()},
                    "grown": grown,
                },
                indent=2,
            )
        )
    else:
        _show(on, samples, found, grown)
    return int(bool(grown))


def _run(options: argparse.Namespace) -> list[Sample]:
    seconds = options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="hausd-soak-") as folder:
        source = make(Path(folder) / "soak.flv", "-tune", "zerolatency", seconds=_SOURCE_S)
        with node(Path(folder) / "home", *SETS, _QUOTA) as running:
            try:
                return soak(
                    running,
                    running.room("soak"),
                    source,
                    seconds=seconds,
                    every_s=max(seconds / 120, 1.0),
                    reconnect_s=options.reconnect,
                    visitors=options.visitors,
                    bitrate_bps=source.stat().st_size * 8 / _SOURCE_S,
                    seen=_tell if sys.stderr.isatty() else lambda sample: None,
                )
            except httpx.HTTPError as fault:
                said = running.log.read_text()[-4000:]
                raise SystemExit(f"the node does not answer ({fault}); it said:\n{said}") from None


def _tell(sample: Sample) -> None:
    print(
        f"\r{sample.wall_s:5.0f} s, {sample.media_s / 3600:5.2f} h of media, node "
        f"{sample.node_mb:.0f} MB, {sample.tasks:.0f} tasks  ",
        end="",
        file=sys.stderr,
        flush=True,
    )


def _show(
    on: dict[str, str], samples: Sequence[Sample], found: dict[str, Growth], grown: Sequence[str]
) -> None:
    console = Console(highlight=False)
    if console.width < 118:
        console = Console(highlight=False, width=118)
    last = samples[-1]
    console.print("  ".join(f"{name} {value}" for name, value in on.items()))
    console.print(
        f"{last.media_s / 3600:.2f} h of media in {last.wall_s / 60:.1f} min "
        f"({last.media_s / last.wall_s:.0f} x real time)"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("What")
    table.add_column(f"over {last.media_s / 3600:.2f} h of media", no_wrap=True)
    for heading in ("least", "most", "warm", "end", "per hour", "allowed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    for name, (title, an_hour, _) in _LOOKED_AT.items():
        values = [getattr(sample, name) for sample in samples]
        one = found[name]
        verdict = "[red]grows[/]" if name in grown else "holds"
        cells = [figure(value) for value in (min(values), max(values), one.first, one.last)]
        table.add_row(title, _bars(values), *cells, f"{one.per_hour:+.2f}", f"{an_hour:g}", verdict)
    console.print(table)
    hours = last.media_s / 3600
    console.print(
        f"Written of manifests, inits and images: {last.small_mb / hours:.1f} MB an hour of media."
    )


def _bars(values: Sequence[float]) -> str:
    """A small plot: the median of each stretch, from 0 up to the most."""
    wide = min(_BARS_WIDE, len(values))
    most = max(values) or 1
    cut = [values[n * len(values) // wide : (n + 1) * len(values) // wide] for n in range(wide)]
    middles = [sorted(part)[len(part) // 2] for part in cut]
    return "".join(_BARS[min(int(each / most * len(_BARS)), len(_BARS) - 1)] for each in middles)


if __name__ == "__main__":
    raise SystemExit(main())

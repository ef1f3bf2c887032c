"""How latency, loss and the origin's load grow with the number of nodes.

Nodes decide with ``hausd.policy``, the code that the daemon runs; network and time are simulated
(``simnet/world.py`` says how). The same seed gives the same figures.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from pathlib import Path

from simnet import world as w
from simnet.report import Row, plot, table
from simnet.rivals import FromOrigin, StaticTree
from simnet.swarm import Swarm

KINDS = {"hausd": Swarm, "origin": FromOrigin, "tree": StaticTree}
DOCS = Path(__file__).resolve().parents[2] / "docs"


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument(
        "--nodes",
        default="100,300,1000,3000,10000",
        help="how many, one run each (%(default)s); '' for none",
    )
    parser.add_argument("--kinds", default=",".join(KINDS), help="ways (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="measured time (%(default)s)")
    parser.add_argument(
        "--free-riders", type=float, default=w.FREE_RIDERS, help="share (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="rows as JSON on standard output")
    parser.add_argument(
        "--with",
        type=Path,
        nargs="+",
        default=[],
        dest="others",
        metavar="FILE",
        help="rows of other runs (their --json), shown with these",
    )
    parser.add_argument(
        "--plot", type=Path, help="file name without ending (docs/simulate is ours)"
    )
    return parser.parse_args()


def main() -> None:
    """Runs every size in every way."""
    asked = arguments()
    # Nothing here is garbage before a run ends, and looking for it takes a third of the time.
    gc.disable()
    rows: list[Row] = [row for other in asked.others for row in json.loads(other.read_text())]
    for nodes in map(int, filter(None, asked.nodes.split(","))):
        for kind in asked.kinds.split(","):
            begun_s = time.process_time()
            net = KINDS[kind](nodes, asked.seed, free_riders=asked.free_riders)
            measure = net.run(join_s=20.0, warm_s=15.0, measured_s=asked.seconds)
            row: Row = {"nodes": nodes, "kind": kind, "parts": len(measure.latencies_s)}
            row |= measure.row()
            row["cpu_s"] = round(time.process_time() - begun_s, 1)
            rows.append(row)
            print(f"{nodes} nodes, {kind}: {row['cpu_s']} s", file=sys.stderr, flush=True)
            del net, measure
            gc.collect()
    rows.sort(key=lambda row: (row["nodes"], list(KINDS).index(row["kind"])))
    print(json.dumps(rows, indent=1) if asked.json else table(rows))
    if asked.plot:
        title = (
            f"{w.STREAM_BPS / 1e6:g} Mbit/s, parts of {w.PART_S:g} s, origin gives "
            f"{w.ORIGIN_COPIES} copies, {asked.free_riders:.0%} free riders, a node stays "
            f"{w.LIFETIME_S:g} s; seed {asked.seed}"
        )
        plot(rows, asked.plot, title)


if __name__ == "__main__":
    main()

"""The table and the plots of a simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KINDS = {"hausd": "hausd", "origin": "all from the origin", "tree": "static tree"}
_COLOURS = {"hausd": "#0b6e4f", "origin": "#b23a48", "tree": "#3d5a80"}

Row = dict[str, Any]


def table(rows: list[Row]) -> str:
    """The rows as text."""
    heads = (
        *("nodes", "way", "p50", "p99", "lost", "hedged"),
        *("origin sends", "hops p50/max", "join p95"),
    )
    lines = [
        (
            f"{row['nodes']:,}",
            KINDS[row["kind"]],
            f"{row['p50_s']:.2f} s" if row["parts"] else "-",
            f"{row['p99_s']:.2f} s" if row["parts"] else "-",
            f"{100 * row['lost']:.2f} %",
            f"{100 * row['hedged']:.0f} %" if row["kind"] == "hausd" else "-",
            f"{row['origin_copies']:.2f} copies",
            f"{row['hops_p50']:.0f} / {row['hops_max']}",
            f"{row['join_p95_s']:.2f} s",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in (heads, *lines)
    )


def plot(rows: list[Row], stem: Path, title: str) -> None:
    """Writes PNG and SVG: latency, loss and the origin's load against the number of nodes."""
    import matplotlib

    matplotlib.use("Agg")
    # The same input gives the same file.
    matplotlib.rcParams["svg.hashsalt"] = "hausd"
    from matplotlib import pyplot

    figure, (latency, loss, load) = pyplot.subplots(1, 3, figsize=(13, 4.2))
    for kind, name in KINDS.items():
        own = [row for row in rows if row["kind"] == kind]
        if not own:
            continue
        colour = _COLOURS[kind]
        nodes = [row["nodes"] for row in own]
        latency.plot(nodes, [row["p50_s"] for row in own], "o-", color=colour, label=f"{name}, p50")
        latency.plot(
            nodes, [row["p99_s"] for row in own], "o--", color=colour, label=f"{name}, p99"
        )
        loss.plot(nodes, [100 * row["lost"] for row in own], "o-", color=colour, label=name)
        load.plot(nodes, [row["origin_copies"] for row in own], "o-", color=colour, label=name)
    latency.set_title("from the origin to a node, of parts that came", fontsize=10)
    latency.set_ylabel("s")
    loss.set_title("parts that came too late or not at all", fontsize=10)
    loss.set_ylabel("%")
    loss.set_yscale("symlog", linthresh=0.1)
    load.set_title("what the origin sends", fontsize=10)
    load.set_ylabel("copies of the stream")
    load.set_ylim(bottom=0)
    for axes in (latency, loss, load):
        axes.set_xscale("log")
        axes.set_xlabel("nodes")
        axes.grid(alpha=0.3)
    # Above the lines, or between them.
    latency.set_ylim(0, 1.35 * latency.get_ylim()[1])
    latency.legend(fontsize=6, ncols=3, loc="upper center", handlelength=3)
    loss.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.02, 0.9))
    load.legend(fontsize=8, loc="lower left")
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    for kind in ("png", "svg"):
        stamp = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(stem.with_suffix(f".{kind}"), dpi=110, metadata=stamp)

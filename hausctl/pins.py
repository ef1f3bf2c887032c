"""``hausctl pins``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import shaped
from hausctl.context import Here
from hausctl.store import answer_verified
from hausctl.times import MOST_DEPTH, bounded_s, moment
from hausctl.words import ago, clock, short_id, size, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from hausd.core.shapes import PinShape, RemotePinShape

app = typer.Typer(rich_markup_mode=None)

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A room (id, its beginning, or title), or a CID.")
]


@app.command("list")
def list_pins(ctx: typer.Context) -> None:
    """Lists what is pinned, here and elsewhere."""
    here = Here.of(ctx)
    value = here.client.get("pins")
    if here.json or not value:
        here.answer(value, "Nothing is pinned.")
        return
    pins = cast("list[PinShape]", shaped(value))
    tables = [_here(pins)] if any(pin.here for pin in pins) else []
    if any(pin.remote for pin in pins):
        tables.append(_elsewhere(pins))
    here.answer(value, *tables)


def _here(pins: Sequence[PinShape]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    columns = ("Target", "Kind", "Holds", "Until", "Size", "Complete", "Pinned")
    table = Table(*columns, box=None, pad_edge=False)
    for pin in pins:
        if pin.here:
            whole = "yes" if pin.complete else "[yellow]no[/]"
            until = clock(pin.until) if pin.until is not None else "-"
            times = (until, size(pin.bytes), whole, ago(pin.created))
            table.add_row(escape(pin.target), pin.kind, _depth(pin), *times)
    return table


def _elsewhere(pins: Sequence[PinShape]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("Room", "At", "Size", "State", "Finished room", box=None, pad_edge=False)
    for pin in pins:
        for one in pin.remote:
            state = f"[{_COLOURS.get(one.state, 'default')}]{escape(_state(one))}[/]"
            table.add_row(
                escape(short_id(pin.target)),
                escape(one.to),
                size(one.bytes),
                state,
                escape(one.cid),
            )
    return table


_COLOURS = {"pinned": "green", "failed": "red", "pinning": "yellow"}


def _state(pin: RemotePinShape) -> str:
    """As in "pinning 40 %", or "failed (it can't be reached), again in 2 min 03 s"."""
    words = pin.state
    if pin.percent is not None:
        words += f" {pin.percent} %"
    if pin.because or pin.detail:
        words += f" ({pin.because or pin.detail})"
    if pin.next_try is not None:
        left_s = (pin.next_try - datetime.now(UTC)).total_seconds()
        words += f", again in {span(left_s)}" if left_s >= 1 else ", again now"
    return words


@app.command()
def add(
    ctx: typer.Context,
    target: Target,
    last: Annotated[
        str, typer.Option("--last", metavar="TIME", help="Of a room, only the newest, as in 1h.")
    ] = "",
    until: Annotated[
        str,
        typer.Option("--until", metavar="DATE", help="When it ends, as in 2027-01-31 or +30d."),
    ] = "",
) -> None:
    """Pins a room or a CID: it is never evicted. Again, it changes how much, and until when.

    A followed room of which only the newest is pinned is fetched no further back.
    """
    here = Here.of(ctx)
    body: dict[str, object] = {"target": target}
    if last:
        body["last_s"] = bounded_s(last, "--last", "1s", MOST_DEPTH)
    if until:
        body["until"] = moment(until).isoformat()
    value = here.client.post("pins", body=body)
    pin = cast("PinShape", shaped(value))
    rest = "" if pin.complete else " Some of it isn't here yet."
    ends = f", until {clock(pin.until)}" if pin.until is not None else ""
    here.answer(value, f"Pinned {pin.target}, {_depth(pin)}{ends} ({size(pin.bytes)}).{rest}")


def _depth(pin: PinShape) -> str:
    return "all" if pin.last_s is None else f"the last {span(pin.last_s)}"


@app.command()
def push(
    ctx: typer.Context,
    room: Annotated[
        str, typer.Argument(metavar="ROOM", help="Its id, the beginning of it, or its title.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="NAME", help="One pinning service, or kubo.")
    ] = "",
) -> None:
    """Has a finished room pinned elsewhere: at the pinning services and Kubo node configured."""
    here = Here.of(ctx)
    value = here.client.post("pins", "push", body={"room": here.room_id(room), "to": to})
    made = cast("list[RemotePinShape]", shaped(value))
    names = " and ".join(one.to for one in made)
    rest = "`hausctl pins list` shows how far it is."
    here.answer(value, f"{made[0].cid} is being pinned at {names}. {rest}")


@app.command()
def remove(
    ctx: typer.Context,
    target: Target,
    from_: Annotated[
        str, typer.Option("--from", metavar="NAME", help="A pinning service, or kubo: there only.")
    ] = "",
) -> None:
    """Unpins; the content stays until its place is needed, or store gc."""
    here = Here.of(ctx)
    if from_:
        here.client.delete("pins", target, "at", from_)
        said = f"{target} is being removed from {from_}."
        here.answer({"removed": target, "from": from_}, said)
        return
    here.client.delete("pins", target)
    here.answer({"removed": target}, f"{target} is pinned no more.")


@app.command()
def verify(ctx: typer.Context) -> None:
    """Reads every pinned block again and compares it with its CID.

    Exits with 1 where damage is left.
    """
    here = Here.of(ctx)
    answer_verified(here, here.work("POST", "pins", "verify"))

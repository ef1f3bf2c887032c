"""``hausctl pins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import shaped
from hausctl.context import Here
from hausctl.store import answer_verified
from hausctl.words import ago, size

if TYPE_CHECKING:
    from hausd.core.shapes import PinShape

app = typer.Typer(rich_markup_mode=None)

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A room (id, its beginning, or title), or a CID.")
]


@app.command("list")
def list_pins(ctx: typer.Context) -> None:
    """Lists what is pinned."""
    here = Here.of(ctx)
    value = here.client.get("pins")
    if here.json or not value:
        here.answer(value, "Nothing is pinned.")
        return
    from rich.table import Table

    table = Table("Target", "Kind", "Size", "Complete", "Pinned", box=None, pad_edge=False)
    for pin in cast("list[PinShape]", shaped(value)):
        whole = "yes" if pin.complete else "[yellow]no[/]"
        table.add_row(pin.target, pin.kind, size(pin.bytes), whole, ago(pin.created))
    here.answer(value, table)


@app.command()
def add(ctx: typer.Context, target: Target) -> None:
    """Pins a room or a CID: it is never evicted."""
    here = Here.of(ctx)
    value = here.client.post("pins", body={"target": target})
    pin = cast("PinShape", shaped(value))
    rest = "" if pin.complete else " Some of it isn't here yet."
    here.answer(value, f"Pinned {pin.target} ({size(pin.bytes)}).{rest}")


@app.command()
def remove(ctx: typer.Context, target: Target) -> None:
    """Unpins; the content stays until its place is needed, or store gc."""
    here = Here.of(ctx)
    here.client.delete("pins", target)
    here.answer({"removed": target}, f"{target} is pinned no more.")


@app.command()
def verify(ctx: typer.Context) -> None:
    """Reads every pinned block again and compares it with its CID.

    Exits with 1 where damage is left.
    """
    here = Here.of(ctx)
    answer_verified(here, here.work("POST", "pins", "verify"))

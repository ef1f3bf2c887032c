"""``hausctl store``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import typer

from hausctl.client import shaped
from hausctl.context import Here, marked
from hausctl.words import count, size

if TYPE_CHECKING:
    from hausd.core.shapes import DiskShape, GcShape, VerifyShape

app = typer.Typer(rich_markup_mode=None)


@app.command()
def usage(ctx: typer.Context) -> None:
    """Shows what the store holds, against its quota and the disk."""
    here = Here.of(ctx)
    value = here.client.get("store")
    if here.json:
        here.answer(value)
        return
    disk = cast("DiskShape", shaped(value))
    from rich.markup import escape

    used = _percent(disk.used_bytes, disk.quota_bytes)
    files = _percent(disk.used_files, disk.quota_files)
    here.answer(
        value,
        marked(f"[bold]Store[/]   {escape(disk.path)}"),
        marked(f"Used    {size(disk.used_bytes)} of {size(disk.quota_bytes)} ({used})"),
        marked(f"Files   {disk.used_files:,} of {disk.quota_files:,} ({files})"),
        f"Blocks  {disk.blocks:,}",
        f"Pinned  {size(disk.pinned_bytes)}",
        f"Free    {size(disk.free_bytes)} on this disk",
    )


@app.command()
def verify(ctx: typer.Context) -> None:
    """Reads every block again, compares it with its CID, and mends what it can.

    Exits with 1 where damage is left.
    """
    here = Here.of(ctx)
    answer_verified(here, here.work("POST", "store", "verify"))


@app.command()
def gc(ctx: typer.Context) -> None:
    """Removes what is neither pinned nor in use."""
    here = Here.of(ctx)
    value = here.work("POST", "store", "gc")
    freed = cast("GcShape", shaped(value))
    removed = f"Removed {count(freed.removed_files, 'file', 'files')} ({size(freed.removed_bytes)})"
    here.answer(value, f"{removed}, kept {size(freed.kept_bytes)}.")


def answer_verified(here: Here, value: Any) -> None:
    """Tells what reading blocks again found; as a failure where damage is left."""
    found = cast("VerifyShape", shaped(value))
    here.answer(value, marked(_verified(found)))
    if found.corrupt + found.missing > found.repaired:
        raise typer.Exit(1)


def _verified(found: VerifyShape) -> str:
    checked = f"Checked {count(found.checked, 'block', 'blocks')}"
    if not (found.corrupt or found.missing):
        return f"{checked}: all of them are whole."
    return (
        f"{checked}: [red]{found.corrupt:,} corrupt, {found.missing:,} missing[/], "
        f"{found.repaired:,} repaired."
    )


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    colour = "red" if share >= 95 else "yellow" if share >= 80 else "green"
    return f"[{colour}]{share:.0f} %[/]"

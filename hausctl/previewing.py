"""What of a gated room takes no ticket: the options that say so, and ``hausctl rooms set``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from hausctl.client import shaped
from hausctl.completion import RoomName
from hausctl.context import Here
from hausctl.times import whole_s

if TYPE_CHECKING:
    from hausd.core.shapes import FreeShape, RoomShape

NONE = "none"
PreviewOption = Annotated[
    str,
    typer.Option(
        "--preview",
        metavar="TIME",
        help="The beginning takes no ticket: the first 5m, say. none: it does.",
    ),
]
RenditionOption = Annotated[
    str,
    typer.Option(
        "--preview-rendition",
        metavar="NAME",
        help="A quality and its sound take no ticket: one's name, or lowest. none: they do.",
    ),
]
FinalizedOption = Annotated[
    bool | None,
    typer.Option(
        "--free-when-finalized/--stays-gated",
        help="Whether the recording takes no ticket once the event is finalized.",
        show_default=False,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("set")(set_)


def set_(
    ctx: typer.Context,
    room: RoomName,
    preview: PreviewOption = "",
    preview_rendition: RenditionOption = "",
    finalized: FinalizedOption = None,
) -> None:
    """Changes what of a gated room takes no ticket. What was free stays so."""
    here = Here.of(ctx)
    wish = free_wish(preview, preview_rendition, finalized)
    if not wish:
        raise typer.BadParameter("say what is to change: --preview, --preview-rendition, …")
    value = choose(here, here.room_id(room), wish)
    free = cast("RoomShape", shaped(value)).free
    here.answer(value, f"{value['title']}: {free_words(free) or 'nothing is free'}.")


def free_wish(preview: str, rendition: str, finalized: bool | None) -> dict[str, Any]:
    """What the options say, for the node; empty where they say nothing. Raises BadParameter."""
    wish: dict[str, Any] = {}
    if preview:
        wish["first_s"] = 0 if preview == NONE else whole_s(preview, "--preview", "24h")
    if rendition:
        wish["rendition"] = "" if rendition == NONE else rendition
    if finalized is not None:
        wish["finalized"] = finalized
    if wish.get("first_s") and wish.get("rendition"):
        raise typer.BadParameter("either the beginning or a quality is free: give one of the two")
    return wish


def choose(here: Here, room: str, wish: dict[str, Any]) -> Any:
    """Tells the node; gives the room."""
    return here.client.post("rooms", room, "free", body=wish)


def free_words(free: FreeShape | None) -> str:
    """What of a room is free, for people; empty where nothing is."""
    if free is None:
        return ""
    if free.all:
        return "the recording is free"
    said = []
    if free.first_s:
        said.append(f"the first {_length(free.first_s)} free")
    if free.rendition:
        name = "the lowest quality" if free.rendition == "lowest" else free.rendition
        said.append(f"{name} is free")
    if free.finalized:
        said.append("the recording is free once the event is finalized")
    return "; ".join(said)


def _length(seconds: int) -> str:
    count, unit = (seconds // 60, "minute") if seconds % 60 == 0 else (seconds, "second")
    return f"{unit} is" if count == 1 else f"{count} {unit}s are"

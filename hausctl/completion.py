"""What the shell may complete: ids of rooms, which are those of their events."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from hausctl.client import Client, Refused
from hausctl.context import Here

_PATIENCE_S = 0.5


def room_ids(ctx: typer.Context, args: list[str], incomplete: str) -> list[tuple[str, str]]:
    """The rooms whose id begins so, with their titles; none where no node answers at once."""
    try:
        rooms = Client(Here.of(ctx).home, timeout_s=_PATIENCE_S).get("rooms")
    except Refused:
        return []
    return [
        (cast(str, room["id"]), cast(str, room["title"]))
        for room in rooms
        if room["id"].startswith(incomplete)
    ]


RoomName = Annotated[
    str,
    typer.Argument(
        metavar="ROOM", help="Id, its beginning, or the title.", autocompletion=room_ids
    ),
]
EventName = Annotated[
    str,
    typer.Argument(
        metavar="EVENT",
        help="Id; where its room is here, its beginning or the title, too.",
        autocompletion=room_ids,
    ),
]

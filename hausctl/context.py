"""What every command knows: the home, the form of output, the node, the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hausctl.client import Client, Refused, shaped

if TYPE_CHECKING:
    import typer
    from rich.console import Console, RenderableType

    from hausd.core.shapes import RoomShape


@dataclass(frozen=True)
class Here:
    """One run of hausctl."""

    home: Path
    json: bool
    programs: str = ""
    """The addresses of the programs, as ``--programs`` pins them."""

    @classmethod
    def of(cls, ctx: typer.Context) -> Here:
        """The run that a command belongs to."""
        found = ctx.find_root().obj
        assert isinstance(found, cls)
        return found

    @cached_property
    def client(self) -> Client:
        return Client(self.home)

    @cached_property
    def console(self) -> Console:
        """Where people read."""
        from rich.console import Console

        # What goes into a pipe is never cut to the width of a terminal that isn't there.
        return Console(highlight=False, soft_wrap=True, width=None if _on_terminal() else 200)

    def answer(self, value: Any, *human: RenderableType) -> None:
        """Says the result: the JSON value as it came, or what stands beside it for people."""
        if self.json:
            write_json(value)
            return
        for each in human:
            self.console.print(each)

    def room_id(self, untrusted: str) -> str:
        """The id that a user means: the whole, the beginning of one, or a room's title."""
        from hausd.core.ids import parse_room_id

        try:
            return parse_room_id(untrusted)
        except ValueError:
            pass
        rooms = cast("list[RoomShape]", shaped(self.client.get("rooms")))
        begin = untrusted.rstrip("…")
        found = [room for room in rooms if room.id == begin or room.title == untrusted]
        if not found and len(begin) >= 4:
            found = [room for room in rooms if room.id.startswith(begin)]
        if not found:
            hint = "hausctl rooms list shows them"
            raise Refused("not-found", f"there is no room {untrusted!r}", hint)
        if len(found) > 1:
            ids = ", ".join(room.id for room in found[:4])
            raise Refused("ambiguous", f"{len(found)} rooms are meant by {untrusted!r}", ids)
        return found[0].id

    def work(self, method: str, *path: str, body: Mapping[str, object] | None = None) -> Any:
        """Has long work done, with a bar on the terminal; gives its result."""
        lines = self.client.lines(method, *path, body=body)
        if self.json or not sys.stderr.isatty():
            return _result(line for line in lines)
        from hausctl.bars import watched

        return _result(watched(lines, path[-1]))


def _result(lines: Any) -> Any:
    for line in lines:
        if "error" in line:
            error = line["error"]
            raise Refused(error["code"], error["message"], error.get("hint", ""))
        if "result" in line:
            return line["result"]
    raise Refused("disconnected", "the node stopped before this was done", "start it, try again")


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def write_json(value: Any) -> None:
    """Writes a JSON value: for eyes on a terminal, on one line for programs."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
    sys.stdout.flush()

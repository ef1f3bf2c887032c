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
    from rich.text import Text

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
        width = None if _on_terminal() else 200
        return Console(highlight=False, emoji=False, soft_wrap=True, width=width)

    def answer(self, value: Any, *human: RenderableType) -> None:
        """Says the result: the JSON value as it came, or what stands beside it for people. A text
        is said as it is: titles, names and paths are others' words. See ``marked``."""
        if self.json:
            write_json(value)
            return
        from rich.text import Text

        for each in human:
            self.console.print(Text(each) if isinstance(each, str) else each)

    def event_id(self, untrusted: str) -> str:
        """The id of the event that a user means; that of its room, too."""
        return self.room_id(untrusted, "event", "hausctl events list shows their ids")

    def room_id(
        self, untrusted: str, noun: str = "room", hint: str = "hausctl rooms list shows them"
    ) -> str:
        """The id that a user means: the whole, or of a room here its beginning or title."""
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
            raise Refused("not-found", f"there is no {noun} {untrusted!r}", hint)
        if len(found) > 1:
            ids = ", ".join(room.id for room in found[:4])
            raise Refused("ambiguous", f"{len(found)} {noun}s are meant by {untrusted!r}", ids)
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


def marked(markup: str) -> Text:
    """Text with rich's markup in it, in which all that others wrote is escaped."""
    from rich.text import Text

    return Text.from_markup(markup, emoji=False)


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def write_json(value: Any) -> None:
    """Writes a JSON value: for eyes on a terminal, on one line for programs."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
    sys.stdout.flush()

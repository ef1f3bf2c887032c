"""``hausctl top``: a live dashboard, one printed frame, or a stream of JSON lines."""

from __future__ import annotations

import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hausctl.client import NotRunning, shaped
from hausctl.context import Here
from hausctl.sheet import facts, room_row, sandbox
from hausctl.words import rate, size, span

if TYPE_CHECKING:
    from hausd.core.shapes import RoomShape, StatusShape

_ORDER = {"live": 0, "waiting": 1, "created": 2, "ended": 3, "closed": 4}
_HEAD_LINES = 9
_WIDE_COLUMNS = 116
_COLUMNS = (
    "Room",
    "Title",
    "State",
    "Why",
    "In",
    "Out",
    "fps",
    "Speed",
    "Latency",
    "Viewers",
    "Qualities",
)
_WIDE_ONLY = frozenset({"Room", "Latency", "fps"})
_RIGHT = frozenset({"In", "Out", "fps", "Speed", "Latency", "Viewers"})


def run(here: Here, interval_s: float, *, once: bool) -> None:
    """Looks every so often until the user ends it; ``once``: one look."""
    if here.json:
        _lines(here, interval_s, once=once)
    elif once or not sys.stdout.isatty():
        console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 140)
        console.print(_frame(_look(here), console.width, None))
    else:
        _screen(here, interval_s)


def _look(here: Here) -> dict[str, Any]:
    return {"status": here.client.get("status"), "rooms": here.client.get("rooms")}


def _lines(here: Here, interval_s: float, *, once: bool) -> None:
    while True:
        sys.stdout.write(json.dumps(_look(here), ensure_ascii=False) + "\n")
        sys.stdout.flush()
        if once:
            return
        time.sleep(interval_s)


def _screen(here: Here, interval_s: float) -> None:
    last = _look(here)  # a node that isn't there is told before the screen is taken
    console = Console(highlight=False, emoji=False)
    lost = ""
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            _follow_size(console)
            frame = _frame(last, console.width, console.height, lost)
            live.update(frame, refresh=True)
            if pressed(interval_s) in ("q", "Q", "\x1b", "\x03"):
                return
            try:
                last, lost = _look(here), ""
            except NotRunning as gone:
                lost = gone.message


def _follow_size(console: Console) -> None:
    """Takes the terminal's size of now: rich prefers COLUMNS and LINES, which stay as they were."""
    columns, lines = os.get_terminal_size(sys.stdout.fileno())
    if columns and lines:  # some terminals don't know theirs
        console.size = ConsoleDimensions(columns, lines)


def _no_key(patience_s: float) -> str:
    time.sleep(patience_s)
    return ""


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Gives a function that waits for a key at most so long; keys are not echoed meanwhile."""
    if not sys.stdin.isatty():
        yield _no_key
        return
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)

    def pressed(patience_s: float) -> str:
        ready, _, _ = select.select([handle], [], [], patience_s)
        return os.read(handle, 1).decode("latin-1") if ready else ""

    try:
        tty.setcbreak(handle)
        yield pressed
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _frame(look: dict[str, Any], width: int, height: int | None, lost: str = "") -> RenderableType:
    """One picture of the node; as many rooms as fit into ``height`` lines."""
    status = cast("StatusShape", shaped(look["status"]))
    rooms = cast("list[RoomShape]", shaped(look["rooms"]))
    rooms.sort(key=lambda room: (_ORDER.get(room.state, 9), -room.created.timestamp()))
    fit = len(rooms) if height is None else max(1, height - _HEAD_LINES)
    table = _rooms(rooms[:fit], wide=width >= _WIDE_COLUMNS)
    head = _head(status, lost, keys=height is not None)
    parts: list[RenderableType] = [head, _figures(status), "", table]
    if len(rooms) > fit:
        parts.append(Text(f"and {len(rooms) - fit} more", style="dim"))
    if not rooms:
        parts.append(Text("no rooms yet: hausctl rooms create TITLE", style="dim"))
    return Group(*parts)


def _rooms(rooms: list[RoomShape], *, wide: bool) -> Table:
    """The rooms, one a line. A narrow terminal does without ids and what is derived."""
    table = Table(box=None, expand=True, header_style="bold reverse", pad_edge=False)
    kept = [index for index, name in enumerate(_COLUMNS) if wide or name not in _WIDE_ONLY]
    for index in kept:
        name = _COLUMNS[index]
        grows = name == "Title"
        table.add_column(
            name,
            no_wrap=True,
            justify="right" if name in _RIGHT else "left",
            overflow="ellipsis",
            ratio=1 if grows else None,
            min_width=None if grows else len(name),
        )
    for room in rooms:
        row = room_row(room)
        table.add_row(*(row[index] for index in kept))
    return table


def _head(status: StatusShape, lost: str, *, keys: bool) -> Text:
    if lost:
        return Text(f"{lost} — these figures are old, q ends", style="bold red")
    up = span(status.uptime_s)
    hint = "  [dim]q ends[/]" if keys else ""
    return Text.from_markup(f"[bold]hausd {escape(status.version)}[/]  up {up}{hint}")


def _figures(status: StatusShape) -> Table:
    store = status.store
    share = 100 * store.used_bytes / store.quota_bytes if store.quota_bytes else 0.0
    left = facts(
        (
            ("rooms", f"{status.rooms_live} live of {status.rooms}"),
            ("viewers", str(status.viewers)),
            ("in", rate(status.bitrate_in)),
            ("out", rate(status.bitrate_out)),
        )
    )
    right = facts(
        (
            ("cpu", f"{_bar(status.cpu_percent)} {status.cpu_percent:.0f} %"),
            ("memory", f"{size(status.memory_bytes)}, {status.open_files} files"),
            ("store", f"{_bar(share)} {size(store.used_bytes)} of {size(store.quota_bytes)}"),
            ("disk", f"{size(store.free_bytes)} free"),
            ("sandbox", sandbox(status.sandbox, status.sandbox_missing)),
        )
    )
    both = Table.grid(padding=(0, 6))
    both.add_row(left, right)
    return both


def _bar(percent: float, width: int = 16) -> str:
    full = round(min(max(percent, 0.0), 100.0) / 100 * width)
    colour = "red" if percent >= 95 else "yellow" if percent >= 80 else "green"
    return f"[{colour}]{'━' * full}[/][dim]{'━' * (width - full)}[/]"

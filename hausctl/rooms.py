"""``hausctl rooms``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from hausctl import previewing
from hausctl.client import shaped
from hausctl.completion import RoomName
from hausctl.context import Here, marked
from hausctl.previewing import (
    FinalizedOption,
    PreviewOption,
    RenditionOption,
    choose,
    free_wish,
    free_words,
)
from hausctl.times import MOST_DEPTH, bounded_s
from hausctl.words import short_id, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hausd.core.shapes import CardShape, ExportShape, RoomShape

app = typer.Typer(rich_markup_mode=None)

_FORMS: dict[str, Literal["car", "mp4"]] = {".car": "car", ".mp4": "mp4"}
_COLOURS = {"live": "green", "waiting": "yellow", "closed": "dim"}


@app.command()
def create(
    ctx: typer.Context,
    title: Annotated[str, typer.Argument(help="What the room is called.")],
    gated: Annotated[
        bool,
        typer.Option(
            "--gated", help="Encrypt what is streamed: it plays at nodes that have its keys."
        ),
    ] = False,
    preview: PreviewOption = "",
    preview_rendition: RenditionOption = "",
    finalized: FinalizedOption = None,
) -> None:
    """Creates a room without an event; says where to publish, with which key, where to watch."""
    here = Here.of(ctx)
    wish = free_wish(preview, preview_rendition, finalized)
    if wish and not gated:
        raise typer.BadParameter("without --gated, all of it is free")
    value = here.client.post("rooms", body={"title": title, "gated": gated})
    if wish:
        value = choose(here, value["id"], wish)
    if here.json:
        names = ["id", "title", "state", "ingest_url", "stream_key", "watch_url"]
        names += ["free"] if wish else []
        here.answer({name: value[name] for name in names})
        return
    from rich.markup import escape

    room = cast("RoomShape", shaped(value))
    here.answer(
        value,
        marked(f"Room [bold]{escape(room.title)}[/]  {escape(room.id)}\n"),
        f"Publish to  {room.ingest_url}",
        f"Stream key  {room.stream_key or ''}",
        f"Watch at    {room.watch_url}\n",
        *([f"Preview     {free_words(room.free)}\n"] if room.free else []),
        marked(
            "[dim]In OBS: Settings, Stream, Service “Custom”: the first as server, the second as "
            "key. Keep the key to yourself.[/]"
        ),
    )


@app.command("list")
def list_rooms(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORDS]", help="With --network: words of title, artist or id."),
    ] = None,
    network: Annotated[
        bool, typer.Option("--network", help="Those that other nodes tell of, instead.")
    ] = False,
) -> None:
    """Lists the rooms of this node, or those of other nodes."""
    here = Here.of(ctx)
    if network:
        _list_cards(here, " ".join(words or []))
        return
    value = here.client.get("rooms")
    if here.json or not value:
        here.answer(value, "There are no rooms. Create one with: hausctl rooms create TITLE")
        return
    from rich.markup import escape
    from rich.table import Table

    from hausctl.words import ago, rate

    columns = ("Room", "Title", "State", "Why", "In", "Viewers", "Recorded", "Created")
    table = Table(*columns, box=None)
    for room in cast("list[RoomShape]", shaped(value)):
        table.add_row(
            short_id(room.id),
            escape(room.title),
            coloured(room.state),
            room.why or "own",
            rate(coming_in(room)),
            str(room.viewers),
            size(room.recording.bytes) if room.recording else "-",
            ago(room.created),
        )
    here.answer(value, table)


@app.command()
def show(ctx: typer.Context, room: RoomName) -> None:
    """Shows a room: its publisher, qualities, worker, recording, and what to read about it."""
    here = Here.of(ctx)
    value = here.client.get("rooms", here.room_id(room))
    if here.json:
        here.answer(value)
        return
    from hausctl.sheet import room_sheet

    here.answer(value, *room_sheet(cast("RoomShape", shaped(value))))


def _list_cards(here: Here, search: str) -> None:
    from urllib.parse import urlencode

    value = here.client.get("cards", query=f"?{urlencode({'q': search})}")
    if here.json or not value:
        here.answer(
            value,
            "No other node has told of such a room yet: those connected tell every 20 s. "
            "See: hausctl peers list",
        )
        return
    from rich.markup import escape
    from rich.table import Table

    from hausctl.words import ago

    table = Table("Room", "Title", "State", "Here", "Heard", box=None)
    for card in cast("list[CardShape]", shaped(value)):
        here_too = "followed" if card.followed else "-"
        table.add_row(card.id, escape(card.title), coloured(card.state), here_too, ago(card.heard))
    here.answer(value, table)


@app.command()
def follow(
    ctx: typer.Context,
    room: Annotated[str, typer.Argument(metavar="ROOM", help="Id of another node's room.")],
    peer: Annotated[
        str,
        typer.Option(
            "--peer", metavar="MULTIADDR", help="A node that has it, to connect with first."
        ),
    ] = "",
    last: Annotated[
        str,
        typer.Option("--last", metavar="TIME", help="Of its recording, only the newest, as in 1h."),
    ] = "",
) -> None:
    """Follows another node's room: watch it here, and pass it on, until it is unfollowed."""
    here = Here.of(ctx)
    body: dict[str, object] = {"peer": peer}
    if last:
        body["last_s"] = bounded_s(last, "--last", "1s", MOST_DEPTH)
    value = here.client.post("rooms", room, "follow", body=body)
    told = [notice["text"] for notice in value["notices"] if notice["code"] == "nobody-found"]
    here.answer(
        value, f"Following {room}. Watch at {value['watch_url']}", *_of_event(value), *told[-1:]
    )


def _of_event(room: dict[str, Any]) -> Iterator[str]:
    """What the chain says of a followed room, in a line or two."""
    event = room["event"]
    if event is None:
        return
    written, recording = event["checkpoint"], event["recording"]
    names = f"the manifest {written['manifest']}" if written else "no recording yet"
    yield f"The event is {event['status']}; its chain names {names}."
    if recording:
        yield f"Its finished recording is /ipfs/{recording}"


@app.command()
def watch(
    ctx: typer.Context,
    room: RoomName,
    page: Annotated[bool, typer.Option("--page", help="For a browser, not a player.")] = False,
    archive: Annotated[bool, typer.Option("--archive", help="From the start.")] = False,
) -> None:
    """Prints the URL at which a room is watched here, also one of another node's.

    Opened, it has this node join the room while somebody watches: mpv "$(hausctl rooms watch ROOM)"
    """
    here = Here.of(ctx)
    value = here.client.get("rooms", here.room_id(room), "watch")
    name = "watch_url" if page else "archive_url" if archive else "live_url"
    here.answer(value, value[name])


@app.command()
def unfollow(ctx: typer.Context, room: RoomName) -> None:
    """Follows a room no more."""
    here = Here.of(ctx)
    value = here.client.post("rooms", here.room_id(room), "unfollow")
    here.answer(value, f"{room} is followed no more.")


previewing.add_to(app)


@app.command()
def close(ctx: typer.Context, room: RoomName) -> None:
    """Ends a room for good: its publisher is let go, its key is void, its recording stays."""
    here = Here.of(ctx)
    value = here.client.post("rooms", here.room_id(room), "close")
    here.answer(value, f"{value['title']} is closed. Its recording stays.")


@app.command()
def export(
    ctx: typer.Context,
    room: RoomName,
    form: Annotated[
        Literal["unixfs", "car", "mp4"] | None,
        typer.Option(
            "--format",
            help="unixfs: a directory's CID; car: its blocks; mp4: a film. "
            "By default what FILE ends with, else unixfs.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where a CAR or MP4 goes.")
    ] = "",
) -> None:
    """Puts a finished room into one piece."""
    here = Here.of(ctx)
    if output and form is None:
        form = _FORMS.get(Path(output).suffix.lower(), "unixfs")
    if output and form == "unixfs":
        raise typer.BadParameter(
            "a directory's CID needs no file; end the name in .car or .mp4, or name a --format",
            param_hint="--output",
        )
    form = form or "unixfs"
    whole = here.room_id(room)
    if form != "unixfs" and not output:
        output = f"{whole[:16]}.{form}"
    body = {"format": form, "path": str(Path(output).absolute()) if output else ""}
    value = here.work("POST", "rooms", whole, "export", body=body)
    made = cast("ExportShape", shaped(value))
    where = f" in {made.path}" if made.path else ""
    root = f"\nCID  {made.cid}" if made.cid else ""
    lacks = (
        "" if made.whole else "\nSome of the recording is not here: other nodes have another CID."
    )
    sealed = (
        "\nIt is encrypted: it plays at a node that has the room's keys, and nowhere else."
        if made.sealed and not made.free
        else "\nIt is encrypted, with keys that are for everybody: README.txt in it says how it is"
        " opened. `--format mp4` gives it in clear."
        if made.sealed
        else ""
    )
    here.answer(value, f"Exported {size(made.bytes)}{where}.{root}{lacks}{sealed}")


def coming_in(room: RoomShape) -> int:
    """Bits a second that come in of a room: from its encoder, or from other nodes."""
    if room.role == "follower":
        live = room.state == "live"
        return sum(each.bitrate for each in room.renditions if live and each.active)
    publisher = room.publisher
    return publisher.bitrate_in if publisher and publisher.until is None else 0


def coloured(state: str) -> str:
    """A room's state in its colour."""
    colour = _COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else state

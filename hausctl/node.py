"""The commands about the node itself: status, top, logs, doctor, config, completion."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from hausctl.client import shaped
from hausctl.context import Here, marked

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hausd.core.shapes import CheckShape, LogShape, ReloadShape, StatusShape

config_app = typer.Typer(rich_markup_mode=None)

_COLOURS = {"warning": "yellow", "error": "red", "critical": "red", "debug": "dim"}
_MARKS = {"ok": "[green]ok[/]  ", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]"}


def add_to(app: typer.Typer) -> None:
    """Adds these commands to the program."""
    for command in (status, top, logs, doctor, completion):
        app.command()(command)


def status(ctx: typer.Context) -> None:
    """Shows the node at this moment."""
    here = Here.of(ctx)
    value = here.client.get("status")
    if here.json:
        here.answer(value)
        return
    from hausctl.sheet import status_sheet

    here.answer(value, *status_sheet(cast("StatusShape", shaped(value))))


def top(
    ctx: typer.Context,
    interval: Annotated[
        float, typer.Option(min=0.2, max=60, metavar="SECONDS", help="How often to look.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
) -> None:
    """Watches rooms, rates, encoders and viewers; q ends it. With --json a line per look."""
    from hausctl import top as dashboard

    dashboard.run(Here.of(ctx), interval, once=once)


def logs(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="Least level to show.")
    ] = "debug",
    count: Annotated[
        int, typer.Option("--count", "-n", min=0, max=100_000, help="Entries from before.")
    ] = 100,
) -> None:
    """Shows what the node logged."""
    here = Here.of(ctx)
    query = f"?count={count}&level={level}&follow={'true' if follow else 'false'}"
    entries = here.client.lines("GET", "logs", query=query)
    if here.json and not follow:
        here.answer(list(entries))
        return
    for value in entries:
        if here.json:
            sys.stdout.write(_one_line(value))
            sys.stdout.flush()
        else:
            here.console.print(marked(_entry(cast("LogShape", shaped(value)), value["fields"])))


def doctor(ctx: typer.Context) -> None:
    """Looks for what would keep a node from working, and says how to mend it."""
    from hausctl.doctor import examine

    here = Here.of(ctx)
    value = examine(here.client, here.home)
    failed = any(check["state"] == "fail" for check in value)
    if here.json:
        here.answer(value)
    else:
        from rich.markup import escape

        for check in cast("list[CheckShape]", shaped(value)):
            found = f"{_MARKS[check.state]}  [bold]{check.name:<12}[/] {escape(check.found)}"
            here.console.print(marked(found))
            if check.mend and check.state != "ok":
                mend = f"                    [dim]mend:[/] {escape(check.mend)}"
                here.console.print(marked(mend))
    if failed:
        raise typer.Exit(1)


def completion(
    ctx: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Which shell.")],
) -> None:
    """Prints the completion script: eval "$(hausctl completion bash)"."""
    # typer's module gives this name without saying that it does
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(
        prog_name="hausctl", complete_var="_HAUSCTL_COMPLETE", shell=shell
    )
    here = Here.of(ctx)
    if here.json:
        here.answer({"shell": shell, "script": script})
    else:
        sys.stdout.write(script + "\n")


@config_app.command("show")
def config_show(ctx: typer.Context) -> None:
    """Shows every option in force, and what set it."""
    here = Here.of(ctx)
    value = here.client.get("config")
    if here.json:
        here.answer(value)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("Option", "Value", "Set by", box=None, pad_edge=False)
    for option in value:
        name = f"[bold]{option['key']}[/]" if option["set_by"] else option["key"]
        set_by = escape(option["set_by"]) or "[dim]default[/]"
        table.add_row(name, escape(_written(option["value"])), set_by)
    here.answer(value, table)


@config_app.command("reload")
def config_reload(ctx: typer.Context) -> None:
    """Has the node read its configuration again, and says what waits for a restart."""
    here = Here.of(ctx)
    value = here.client.post("config", "reload")
    from rich.markup import escape

    found = cast("ReloadShape", shaped(value))
    said: list[RenderableType] = []
    if found.applied:
        said.append(f"Now in force: {', '.join(found.applied)}.")
    if found.needs_restart:
        names = ", ".join(found.needs_restart)
        said.append(marked(f"[yellow]Waits for a restart:[/] {escape(names)}."))
    here.answer(value, *(said or ["Nothing has changed."]))


def _written(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


def _one_line(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False) + "\n"


def _entry(entry: LogShape, fields: dict[str, Any]) -> str:
    from rich.markup import escape

    colour = _COLOURS.get(entry.level, "green")
    time = entry.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    trace = fields.pop("exception", None)
    rest = " ".join(f"[dim]{escape(name)}=[/]{escape(_written(v))}" for name, v in fields.items())
    line = f"[dim]{time}[/] [{colour}]{entry.level:<8}[/] [bold]{escape(entry.event)}[/] {rest}"
    return f"{line}\n[dim]{escape(str(trace))}[/]" if trace else line

"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from hausctl import (
    creating,
    drafts,
    events,
    keys,
    node,
    peers,
    pins,
    platform,
    rooms,
    settling,
    store,
    tickets,
    tips,
)

_HELP = ["-h", "--help"]
_ANYWHERE = (
    "--home DIR (default ~/.hausd or $HAUSD_HOME), --json and --programs ADDRESSES may stand "
    "before or after any command."
)


def build(*, described: bool) -> typer.Typer:
    """The program. ``described``: for help and completion, with the options main() takes out.

    Otherwise without any option that typer has to convert, help's included: it would import
    pydantic for that, which takes longer than everything else together.
    """
    app = typer.Typer(
        name="hausctl",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": _HELP if described else []},
        epilog=_ANYWHERE,
    )
    app.callback()(_root_described if described else _root)
    node.add_to(app)
    on_events = typer.Typer(rich_markup_mode=None)
    adding = (creating.add_to, events.add_looking, drafts.add_to, events.add_running)
    for add in (*adding, settling.add_to):
        add(on_events)
    for name, commands, about in (
        ("rooms", rooms.app, "Create, follow, look at, close and export rooms."),
        ("peers", peers.app, "Other nodes: who is connected, and connecting with them."),
        ("pins", pins.app, "What is never evicted."),
        ("events", on_events, "Ticketed events on the chain: create, end, settle, pay out."),
        ("tickets", tickets.app, "Buy, list, use, check and give back tickets."),
        ("tips", tips.app, "Tip an event, and see who did."),
        ("platform", platform.app, "The programs' own configuration: its owner's commands."),
        ("keys", keys.app, "Wallets in files, and the node's keys of gated rooms."),
        ("store", store.app, "What is on disk."),
        ("config", node.config_app, "The running node's configuration."),
    ):
        app.add_typer(commands, name=name, help=about, epilog=_ANYWHERE)
    return app


def _root() -> None:
    """Sees and steers a running node (hausd)."""


def _root_described(
    home: Annotated[str, typer.Option(metavar="DIR", help="The node's home.")] = "~/.hausd",
    json: Annotated[bool, typer.Option("--json", help="Output for programs.")] = False,
    programs: Annotated[
        str,
        typer.Option(
            metavar="ADDRESSES", help="Signs for these programs only: see docs/wallets.md."
        ),
    ] = "",
    version: Annotated[bool, typer.Option("--version", help="Tells the version.")] = False,
) -> None:
    """Sees and steers a running node (hausd)."""


_root_described.__doc__ = _root.__doc__

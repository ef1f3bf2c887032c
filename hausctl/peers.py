"""``hausctl peers``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import shaped
from hausctl.context import Here
from hausctl.times import bounded_s
from hausctl.words import ago, size, span

if TYPE_CHECKING:
    from hausd.core.shapes import PeerShape

app = typer.Typer(rich_markup_mode=None)

Peer = Annotated[str, typer.Argument(metavar="PEER", help="A node's id, as in 12D3KooW….")]


@app.command("list")
def list_peers(ctx: typer.Context) -> None:
    """Lists the nodes that are connected."""
    here = Here.of(ctx)
    value = here.client.get("peers")
    if here.json or not value:
        here.answer(
            value,
            "No other node is connected. Connect with: hausctl peers connect MULTIADDR "
            "(the other node's hausctl status shows it)",
        )
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("Peer", "Way", "RTT", "In", "Out", "Since", "Address", box=None, pad_edge=False)
    for peer in cast("list[PeerShape]", shaped(value)):
        table.add_row(
            peer.id,
            peer.direction,
            f"{peer.rtt_ms:g} ms" if peer.rtt_ms is not None else "-",
            size(peer.received_bytes),
            size(peer.sent_bytes),
            ago(peer.since),
            escape(peer.addresses[0]) if peer.addresses else "-",
        )
    here.answer(value, table)


@app.command()
def connect(
    ctx: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="MULTIADDR", help="/ip4/ADDRESS/tcp/PORT/p2p/ID")
    ],
) -> None:
    """Connects with another node; it is remembered."""
    here = Here.of(ctx)
    value = here.client.post("peers", body={"address": address})
    peer = cast("PeerShape", shaped(value))
    here.answer(value, f"Connected with {peer.id}.")


@app.command()
def ban(
    ctx: typer.Context,
    peer: Peer,
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="For how long, as in 1h; at most 30d.")
    ] = "1h",
) -> None:
    """Disconnects a node, and refuses it for a while."""
    here, for_s = Here.of(ctx), bounded_s(lasts, "--for", "1s", "30d")
    here.client.post("peers", peer, "ban", body={"for_s": for_s})
    here.answer({"banned": peer, "for_s": for_s}, f"{peer} is refused for {span(for_s)}.")

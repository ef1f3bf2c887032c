"""``hausctl keys``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import Refused, shaped
from hausctl.context import Here
from hausctl.money import lamports, sol
from hausctl.wallet import KeypairOption, SignerOption, wallet

if TYPE_CHECKING:
    from hausd.core.chain_shapes import AirdropShape

app = typer.Typer(rich_markup_mode=None)


@app.command()
def new(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where the new wallet is written.")],
) -> None:
    """Makes a wallet: a key file as Solana's CLI reads it. It is the only copy of the key."""
    from solders.keypair import Keypair

    here, made, path = Here.of(ctx), Keypair(), Path(file).expanduser()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # never over a file that is there: it may be the only copy of another key
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as opened:
            opened.write(json.dumps(list(bytes(made))))
            opened.flush()
            os.fsync(opened.fileno())
    except FileExistsError:
        hint = "name another file"
        raise Refused("exists", f"{path} is there already, and stays as it is", hint) from None
    except OSError as fault:
        raise Refused("not-written", f"{path} can't be written ({fault.strerror})") from None
    value = {"address": str(made.pubkey()), "file": str(path)}
    here.answer(value, f"{value['address']}, in {path}: keep a copy, nobody else has the key.")


@app.command()
def show(ctx: typer.Context, keypair: KeypairOption = "", signer: SignerOption = "") -> None:
    """Shows a wallet's address."""
    address = str(wallet(keypair, signer).address)
    Here.of(ctx).answer({"address": address}, address)


@app.command()
def airdrop(
    ctx: typer.Context,
    amount: Annotated[str, typer.Argument(metavar="SOL", help="How much, at most 1000.")],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
) -> None:
    """Fills a wallet on the node's own chain, where SOL is worth nothing."""
    here, given = Here.of(ctx), lamports(amount)
    if not 0 < given <= lamports("1000"):
        raise typer.BadParameter("an airdrop is of 0.000000001 to 1000 SOL")
    body = {"to": str(wallet(keypair, signer).address), "lamports": given}
    value = here.client.post("chain", "airdrop", body=body)
    done = cast("AirdropShape", shaped(value))
    here.answer(value, f"{sol(given)} to {done.address}, which has {sol(done.balance)} now.")

"""``hausctl keys``: wallets in files, and the node's keys of gated rooms."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from hausctl.client import Refused, shaped
from hausctl.coins import Coin, coin_of, receiving
from hausctl.completion import RoomName
from hausctl.context import Here
from hausctl.money import lamports, paid, sol, symbol, units
from hausctl.paying import Cashier, DryOption, YesOption, address, nonce
from hausctl.previews import Cost, Step
from hausctl.times import when
from hausctl.wallet import KeypairOption, SignerOption, wallet
from hausctl.words import count as amount

if TYPE_CHECKING:
    from solders.instruction import Instruction

    from hausd.core.chain_shapes import AirdropShape, WalletShape
    from hausd.core.key_shapes import (
        ImportedKeysShape,
        KeyBundleShape,
        KeysShape,
        RoomKeysShape,
    )

app = typer.Typer(rich_markup_mode=None)
_MINT_RENT = 2 * 3_480 * (128 + 82)
"""Lamports: two years of so much a byte. Source: ``Rent::default`` of Solana's solana-rent."""


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


@app.command()
def balance(
    ctx: typer.Context,
    of: Annotated[
        str, typer.Argument(metavar="[ADDRESS]", help="Whose; your wallet's without.")
    ] = "",
    keypair: KeypairOption = "",
    signer: SignerOption = "",
) -> None:
    """Shows what a wallet has: SOL and tokens."""
    from hausctl.sheet import plain_facts

    here = Here.of(ctx)
    who = address(of) if of else wallet(keypair, signer).address
    value = here.client.get("wallets", str(who))
    found = cast("WalletShape", shaped(value))
    pairs = [("Wallet", found.address), ("SOL", sol(found.lamports).removesuffix(" SOL"))]
    for each in found.tokens:
        held = paid(each.amount, each).partition(" ")[0]
        frozen = ", frozen" if each.frozen else ""
        pairs.append(("Token", f"{held} {symbol(each.mint)}, in {each.account}{frozen}"))
    here.answer(value, plain_facts(pairs))


@app.command()
def mint(
    ctx: typer.Context,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="How much of it, as in 1000.")],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
    of: Annotated[
        str, typer.Option("--of", metavar="MINT", help="More of a token that is there.")
    ] = "",
    decimals: Annotated[
        int, typer.Option("--decimals", metavar="N", min=0, max=18, help="Of a new token.")
    ] = 6,
    to: Annotated[
        str, typer.Option("--to", metavar="ADDRESS", help="Whose it shall be, if not yours.")
    ] = "",
    yes: YesOption = False,
    dry_run: DryOption = False,
) -> None:
    """Makes a token to try things out with.

    It is worth nothing; events create --mint takes it."""
    from hausd.core.programs.addresses import TOKEN, token_place
    from hausd.core.programs.minting import mint_place, mint_to, new_mint

    here = Here.of(ctx)
    cashier = Cashier(here, wallet(keypair, signer), yes=yes, dry=dry_run)
    maker, seed = cashier.wallet.address, nonce().hex()
    owner = address(to) if to else maker
    making: list[Instruction] = []
    costs: list[Cost] = []
    if of:
        coin = coin_of(here, of)
    else:
        coin = Coin(str(mint_place(maker, seed)), decimals, str(TOKEN))
        kept = rent_of_a_mint(cashier)
        making = new_mint(maker, seed, decimals, kept)
        costs = [Cost("Mint", kept)]
    given = units(amount, coin)
    place = receiving(here, owner, coin, maker)
    payment = place.payment
    tokens = payment.account or token_place(owner, payment.mint, payment.token_program)
    made = mint_to(maker, payment.mint, payment.token_program, tokens, given, coin.decimals)
    what = f"{paid(given, coin)} to {owner}"
    (sent,) = cashier.pay(Step(what, [*making, *place.opening, made], costs, place.rents))
    value = {
        "mint": coin.mint,
        "decimals": coin.decimals,
        "token_program": coin.token_program,
        "account": str(tokens),
        "amount": str(given),
        "transaction": sent,
    }
    here.answer(value, f"{what}; the token is", str(coin.mint), "for: hausctl events create --mint")


def rent_of_a_mint(cashier: Cashier) -> int:
    """Lamports that are put into a new mint: what is asked for, but never more than it takes."""
    from hausd.core.programs.tokens import MINT_BYTES

    asked = cashier.rent(MINT_BYTES)
    if asked > _MINT_RENT:
        message = f"the chain asks {sol(asked)} for a mint, which takes {sol(_MINT_RENT)}"
        raise Refused("bad-rent", message, "set another chain.rpc_url: nothing was signed")
    return asked


@app.command("list")
def list_keys(ctx: typer.Context) -> None:
    """Shows of which gated rooms this node has keys, and whose tickets it may use."""
    here = Here.of(ctx)
    value = here.client.get("keys")
    if here.json:
        here.answer(value, "")
        return
    found = cast("KeysShape", shaped(value))
    lines = [f"Sealing key of this node  {found.sealing_key}"]
    for room in found.rooms:
        banned = f", {amount(len(room.banned), 'wallet', 'wallets')} banned" if room.banned else ""
        lines.append(f"{room.room}  {amount(room.keys, 'key', 'keys')}{banned}")
    for one in found.delegations:
        where = one.room or "every event"
        lines.append(
            f"{one.wallet} lets it {' and '.join(one.scopes)} in {where} to {when(one.ends)}"
        )
    if found.given_unchecked:
        given = amount(found.given_unchecked, "key was", "keys were")
        lines.append(f"{given} given while the chain did not answer")
    here.answer(value, "\n".join(lines))


@app.command()
def export(
    ctx: typer.Context,
    room: RoomName,
    to: Annotated[
        str,
        typer.Option("--to", metavar="KEY", help="Sealing key of the node that shall have them."),
    ],
    output: Annotated[str, typer.Option("--output", metavar="FILE", help="Where they go.")] = "",
) -> None:
    """Seals the keys of a gated room to another node, which can show the recording with them."""
    here = Here.of(ctx)
    body = {"room": here.room_id(room), "sealing_key": to}
    value = here.client.post("keys", "export", body=body)
    made = cast("KeyBundleShape", shaped(value))
    if not output:
        here.answer(value, json.dumps(value))
        return
    path = Path(output).expanduser()
    try:
        path.write_text(json.dumps(value) + "\n")
    except OSError as fault:
        raise Refused("not-written", f"{path} can't be written ({fault.strerror})") from None
    told = {"room": made.room, "keys": made.keys, "file": str(path)}
    here.answer(told, f"{amount(made.keys, 'key', 'keys')} in {path}, for {to} alone.")


@app.command("import")
def import_keys(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What hausctl keys export wrote.")],
) -> None:
    """Takes keys that were sealed to this node."""
    here, path = Here.of(ctx), Path(file).expanduser()
    try:
        bundle = json.loads(path.read_text())
        body = {"room": str(bundle["room"]), "sealed": str(bundle["sealed"])}
    except OSError as fault:
        raise Refused("no-file", f"{path} can't be read ({fault.strerror})") from None
    except (ValueError, KeyError, TypeError):
        hint = "hausctl keys export writes one"
        raise Refused("bad-file", f"{path} holds no keys", hint) from None
    value = here.client.post("keys", "import", body=body)
    done = cast("ImportedKeysShape", shaped(value))
    here.answer(
        value, f"{amount(done.keys, 'key', 'keys')} of {done.room}, {done.new} of them new."
    )


@app.command()
def ban(
    ctx: typer.Context,
    room: RoomName,
    who: Annotated[str, typer.Argument(metavar="ADDRESS", help="Address of a wallet.")],
    lift: Annotated[bool, typer.Option("--lift", help="Lets it in again.")] = False,
) -> None:
    """Gives a wallet no further key of a gated room, whatever ticket it has."""
    here = Here.of(ctx)
    body = {"room": here.room_id(room), "wallet": who, "banned": not lift}
    value = here.client.post("keys", "ban", body=body)
    told = cast("RoomKeysShape", shaped(value))
    here.answer(value, f"{amount(len(told.banned), 'wallet is', 'wallets are')} banned from it.")

"""The chain: the embedded one, or others' RPC endpoints."""

from __future__ import annotations

from typing import Annotated

from pydantic import PlainSerializer, PlainValidator
from solders.hash import Hash, ParseHashError
from solders.pubkey import Pubkey

from hausd.config import units
from hausd.config.options import ListenOrOff, Seconds, Section, Text, option
from hausd.config.units import Wrong, parse_texts, shown
from hausd.core.programs.addresses import EMBEDDED_EVENT_FACTORY

_MAX_URLS = 8


def parse_rpc_urls(untrusted: object) -> tuple[str, ...]:
    """A list of RPC endpoints' URLs."""
    texts = parse_texts(untrusted)
    if len(texts) > _MAX_URLS:
        raise Wrong(f"{len(texts)} endpoints are too many", f"at most {_MAX_URLS}")
    return tuple(texts)


def parse_program(untrusted: object) -> str:
    """A program's address."""
    right = "write a program's address: base58 text of 32 bytes"
    if not isinstance(untrusted, str):
        raise Wrong(f"{shown(untrusted)} is not an address", right)
    try:
        return str(Pubkey.from_string(untrusted.strip()))
    except ValueError:
        raise Wrong(f"{shown(untrusted)} is not an address", right) from None


def parse_genesis(untrusted: object) -> str:
    """A chain's genesis hash; empty for none."""
    right = "write a genesis hash: base58 text of 32 bytes"
    if not isinstance(untrusted, str):
        raise Wrong(f"{shown(untrusted)} is not a hash", right)
    try:
        return str(Hash.from_string(untrusted.strip())) if untrusted.strip() else ""
    except ParseHashError:
        raise Wrong(f"{shown(untrusted)} is not a hash", right) from None


RpcUrls = Annotated[tuple[str, ...], PlainValidator(parse_rpc_urls), PlainSerializer(list)]
Program = Annotated[str, PlainValidator(parse_program)]
Genesis = Annotated[str, PlainValidator(parse_genesis)]


class ChainConfig(Section):
    """The chain that holds events and tickets."""

    listen: ListenOrOff = option(
        units.Address("127.0.0.1", 8899),
        "Where the embedded chain answers JSON-RPC, HOST:PORT; its WebSocket also on port + 1. "
        "Off loopback it speaks TLS with the certificate of [http]. Empty: not at all.",
    )
    rpc_url: Text = option(
        "",
        'JSON-RPC of the chain to use, as in "https://api.devnet.solana.com". Empty: the embedded '
        "chain.",
        secret=True,
    )
    more_rpc_urls: RpcUrls = option(
        (),
        "Further endpoints of the same chain, asked where the first does not answer, lags behind "
        "or limits how often it is asked.",
        secret=True,
    )
    genesis: Genesis = option(
        "",
        "Genesis hash of that chain: endpoints of another are never believed. Empty: the chain of "
        "the first endpoint that answers after a start.",
    )
    event_factory: Program = option(
        str(EMBEDDED_EVENT_FACTORY),
        "Address of the EventFactory program on that chain; it names the other programs.",
    )
    max_priority_fee: int = option(
        100_000,
        "Most that is bid for one transaction beside its base fee, whatever others bid.",
        unit="lamports",
        ge=0,
        le=10**9,
    )
    answer_s: Seconds = option(
        10.0,
        "An endpoint that does not answer for this long, nor wholly in four times as long, is "
        "passed by.",
        unit="seconds",
        ge=0.5,
        le=120,
    )
    read_only: bool = option(
        False, "The embedded chain answers questions and takes no transactions, nor airdrops."
    )
    checkpoint_every: int = option(
        6,
        "A manifest is written to the chain after so many segments, at a fee each.",
        unit="segments",
        ge=1,
        le=10_000,
    )
    insecure: bool = option(
        False, "Allows listening off loopback without TLS. hausd --insecure sets it as well."
    )

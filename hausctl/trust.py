"""Which programs a wallet's transactions may call: a node names them, its user may pin them.

A node tells the chain's genesis hash and the programs' addresses. One that lies could have a
wallet sign for programs of its own. What is pinned counts: ``--programs``, else the chain's line in
``$XDG_CONFIG_HOME/hausctl/programs`` (``~/.config/hausctl/programs``)::

    # genesis hash, then EventFactory, TicketFactory, LiveTipping
    5eykt4… Ev… Ti… Li…

On a public chain whose programs are not pinned, every command that signs says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hausctl.client import Refused

if TYPE_CHECKING:
    from hausd.core.chain_shapes import ChainShape

PROGRAM_NAMES = ("event_factory", "ticket_factory", "live_tipping")
CLUSTERS = {
    "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d": "mainnet",
    "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG": "devnet",
    "4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY": "testnet",
}
"""Public chains by their genesis hashes. Source: getGenesisHash of each."""
_MAX_FILE_BYTES = 100_000


def told_programs(chain: ChainShape) -> tuple[str, ...]:
    """The addresses that the node names."""
    return tuple(getattr(chain, name) for name in PROGRAM_NAMES)


def chain_name(chain: ChainShape) -> str:
    """What people call it."""
    if chain.embedded:
        return "the node's own chain"
    return CLUSTERS.get(chain.genesis, f"the chain {chain.genesis}")


def warning(chain: ChainShape, option: str) -> str:
    """What is to be said before anything is signed; empty where that is nothing.

    ``option`` is what ``--programs`` says. Raises Refused where others are pinned than the node
    names.
    """
    told = told_programs(chain)
    pinned, where = _pinned(chain.genesis, option)
    if pinned:
        if not _same(pinned, told):
            message = f"the node names other programs than {where}: {' '.join(told)}"
            hint = "sign nothing; compare chain.event_factory of the node with your platform's word"
            raise Refused("other-programs", message, hint)
        return ""
    if chain.embedded:
        from hausd.core.programs.addresses import EMBEDDED

        if _same(tuple(map(str, EMBEDDED)), told):
            return ""
        return "These are not the programs that come with hausd: compare their addresses."
    if chain.genesis in CLUSTERS:
        return (
            f"On {chain_name(chain)}, by programs that only the node names: {' '.join(told)}\n"
            "  Compare them with your platform's word, then: hausctl platform pin"
        )
    return ""


def pin(chain: ChainShape) -> Path:
    """Writes down that these are the programs of this chain. Raises Refused."""
    path = _file()
    pinned, where = _pinned(chain.genesis, "")
    told = told_programs(chain)
    if pinned and not _same(pinned, told):
        hint = f"if that is right, take the line out of {path} first"
        raise Refused("other-programs", f"{where} names others for this chain", hint)
    if pinned:
        return path
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as opened:
            opened.write(f"{' '.join((chain.genesis, *told))}\n")
    except OSError as fault:
        raise Refused("not-written", f"{path} can't be written ({fault.strerror})") from None
    return path


def _pinned(genesis: str, option: str) -> tuple[tuple[str, ...], str]:
    if option:
        given = tuple(option.split(","))
        if len(given) not in (1, len(PROGRAM_NAMES)):
            hint = "write EVENT_FACTORY or EVENT_FACTORY,TICKET_FACTORY,LIVE_TIPPING"
            raise Refused("bad-programs", f"--programs has {len(given)} addresses", hint)
        return _addresses(given, "--programs"), "--programs"
    path = _file()
    try:
        lines = path.read_bytes()[:_MAX_FILE_BYTES].decode("ascii", "replace").splitlines()
    except FileNotFoundError:
        return (), ""
    except OSError as fault:
        raise Refused("bad-programs", f"{path} can't be read ({fault.strerror})") from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words or words[0] != genesis:
            continue
        where = f"{path}, line {number}"
        if len(words) != 1 + len(PROGRAM_NAMES):
            hint = "write GENESIS EVENT_FACTORY TICKET_FACTORY LIVE_TIPPING"
            raise Refused("bad-programs", f"{where}: not four words", hint)
        return _addresses(words[1:], where), where
    return (), ""


def _same(pinned: Sequence[str], told: Sequence[str]) -> bool:
    """Where only EventFactory is pinned, the others follow from its configuration."""
    return tuple(told[: len(pinned)]) == tuple(pinned)


def _addresses(untrusted: Sequence[str], where: str) -> tuple[str, ...]:
    from solders.pubkey import Pubkey

    try:
        return tuple(str(Pubkey.from_string(each.strip())) for each in untrusted)
    except ValueError:
        hint = "an address is base58 text of 32 bytes"
        raise Refused("bad-programs", f"{where}: one is no address", hint) from None


def _file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "hausctl" / "programs"

"""The node's own chain, where its configuration names no other: the programs are there from its
beginning, set up as if their operator had."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import structlog
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.chain.embedded.disk import Held, NotOurs
from hausd.chain.embedded.server import open_embedded
from hausd.config import Config
from hausd.config.home import write_new
from hausd.core.clock import Clock
from hausd.core.programs.accounts import NOBODY, Programs
from hausd.core.programs.addresses import EMBEDDED, config_place
from hausd.core.programs.idl import idl

log = structlog.get_logger("hausd.chain")

_BACKLOG = 128
_LAST_PORT = 65_535
_CHAIN_FILE = "chain.sqlite"
_CHOICES = 8
"""Of ports, where the system chooses."""
_RENT_OF_A_BYTE = 6_960
_ACCOUNT_BYTES = 128
_FEE_BPS = 0


class OwnChainFailed(Exception):
    """The chain can't be opened; ``args[0]`` says why, ``hint`` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class OwnChain:
    """Where it answers: ``url`` for everybody, ``own_url`` for this node itself."""

    url: str
    own_url: str


@asynccontextmanager
async def open_own_chain(
    config: Config, home: Path, clock: Clock
) -> AsyncIterator[OwnChain | None]:
    """The embedded chain, running; None where it is off or another one is used.

    Raises OwnChainFailed.
    """
    at = config.chain.listen
    if not at or config.chain.rpc_url:
        yield None
        return
    with ExitStack() as stack:
        listeners = [stack.enter_context(one) for one in _listening_twice(at.host, at.port)]
        host, port = listeners[0].getsockname()[:2]
        tls, inside = _tls(config), []
        if tls is not None:  # whose certificate is for another name than this node's own loopback
            inside = [stack.enter_context(_listening("127.0.0.1", 0))]
        folder = home / "chain"
        try:
            authority = _authority(folder)
            opening = open_embedded(
                folder / _CHAIN_FILE,
                listeners,
                clock,
                os.urandom,
                programs=programs_code(),
                genesis=[platform(EMBEDDED, authority)],
                read_only=config.chain.read_only,
                tls=tls,
                inside=inside,
            )
        except OSError as fault:
            raise OwnChainFailed(
                f"{folder} can't be used ({fault.strerror})", "mend that, or set chain.listen="
            ) from fault
        try:
            async with opening as chain:
                chain.port = port
                shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 is read only
                url = f"{'https' if tls is not None else 'http'}://{shown}:{port}"
                own = [f"http://127.0.0.1:{one.getsockname()[1]}" for one in inside]
                yield OwnChain(url, *(own or [url]))
        except NotOurs as fault:
            hint = "put it back from a backup, or move it away to begin a new chain"
            raise OwnChainFailed(str(fault), hint) from fault


def _listening_twice(host: str, port: int) -> list[socket.socket]:
    """On a port and the next one, where Solana's clients look for the WebSocket; of the system's
    choice is one (0) whose next is free."""
    for left in reversed(range(_CHOICES)):
        with ExitStack() as opened:
            first = opened.enter_context(_listening(host, port))
            try:
                second = _listening(host, first.getsockname()[1] + 1)
            except OwnChainFailed:
                if port or not left:
                    raise
                continue
            opened.pop_all()
            return [first, second]
    raise AssertionError  # the last choice returns or raises


def _listening(host: str, port: int) -> socket.socket:
    if port > _LAST_PORT:
        hint = "set chain.listen to a lower port"
        raise OwnChainFailed("chain.listen: no port is left for its WebSocket, the next one", hint)
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = infos[0]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind(address)
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError as fault:
        made.close()
        raise OwnChainFailed(
            f"chain.listen: {host}:{port} can't be listened on ({fault.strerror})",
            "another node or a Solana validator may use it: set chain.listen to another port, or "
            "to nothing",
        ) from fault
    return made


def _tls(config: Config) -> ssl.SSLContext | None:
    """Off loopback the chain speaks TLS with the certificate of [http], unless told otherwise."""
    at, http = config.chain.listen, config.http
    if not at or at.loopback or config.chain.insecure or not http.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(str(http.tls_cert), str(http.tls_key))
    return context


def programs_code() -> Mapping[Pubkey, bytes]:
    """The programs' code, as it comes with this package."""
    folder = files("hausd.chain.embedded") / "artifacts"
    found = {}
    for name, address in (
        ("event_factory", EMBEDDED.event_factory),
        ("ticket_factory", EMBEDDED.ticket_factory),
        ("live_tipping", EMBEDDED.live_tipping),
    ):
        artifact = folder / f"{name}_v0.so"
        if artifact.is_file():
            found[address] = artifact.read_bytes()
        else:
            log.warning("program-missing", program=name)
    return found


def _authority(folder: Path) -> Pubkey:
    """The platform's authority on this chain: a key file in Solana's form, made once."""
    path = folder / "authority.json"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _cut_short(path):
        path.unlink()
    write_new(path, json.dumps(list(bytes(Keypair()))).encode(), 0o600)
    try:
        return Keypair.from_bytes(bytes(json.loads(path.read_bytes()))).pubkey()
    except ValueError as fault:
        raise OwnChainFailed(
            f"{path} is no key file ({fault})", "put it back from a backup"
        ) from None


def _cut_short(path: Path) -> bool:
    """Whether an earlier hausd was killed while it made this file: no chain has begun with it."""
    if not path.exists() or path.with_name(_CHAIN_FILE).exists():
        return False
    return not path.stat().st_size


def platform(programs: Programs, authority: Pubkey) -> Held:
    """EventFactory's configuration, as ``initialize`` would have written it."""
    form, place = idl("event_factory").accounts["Config"], config_place(programs)
    data = form.discriminator + form.fields.write(
        {
            "version": 1,
            "bump": place.bump,
            "authority": authority,
            "pending_authority": NOBODY,
            "treasury": authority,
            "fee_bps": _FEE_BPS,
            "ticket_program": programs.ticket_factory,
            "tipping_program": programs.live_tipping,
        }
    )
    lamports = _RENT_OF_A_BYTE * (_ACCOUNT_BYTES + len(data))
    return Held(bytes(place.address), bytes(programs.event_factory), lamports, data, False)

"""An embedded chain in the test's own process, or in one that is killed."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from hausd.chain.embedded.disk import Held
from hausd.chain.embedded.server import EmbeddedChain, open_embedded

SOL = 10**9


class HandClock:
    """Wall time that a test moves."""

    def __init__(self, ms: int = 1_800_000_000_000) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms

    def pass_s(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


@dataclass
class Running:
    """A chain that is served, and a client of it that nobody here wrote."""

    chain: EmbeddedChain
    client: AsyncClient
    clock: HandClock
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    async def rich(self, lamports: int = 10 * SOL) -> Keypair:
        """A new wallet with so much in it."""
        made = Keypair()
        await self.client.request_airdrop(made.pubkey(), lamports)
        return made

    async def transfer(self, payer: Keypair, to: Pubkey, lamports: int) -> Transaction:
        """A signed transfer that was not sent."""
        blockhash = (await self.client.get_latest_blockhash()).value.blockhash
        give = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports))
        return Transaction([payer], Message([give], payer.pubkey()), blockhash)


def held(address: Pubkey, owner: Pubkey = SYSTEM, data: bytes = b"", lamports: int = SOL) -> Held:
    """An account for a chain to begin with."""
    return Held(bytes(address), bytes(owner), lamports, data, False)


@asynccontextmanager
async def running_chain(
    path: Path,
    *,
    clock: HandClock | None = None,
    programs: Mapping[Pubkey, bytes] | None = None,
    genesis: Sequence[Held] = (),
    read_only: bool = False,
) -> AsyncIterator[Running]:
    """A chain on a port of the system's choice."""
    clock = clock or HandClock()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)
        port = listener.getsockname()[1]
        async with (
            open_embedded(
                path,
                [listener],
                clock,
                os.urandom,
                programs=programs or {},
                genesis=genesis,
                read_only=read_only,
            ) as chain,
            AsyncClient(f"http://127.0.0.1:{port}", commitment=Confirmed) as client,
        ):
            yield Running(chain, client, clock, port)

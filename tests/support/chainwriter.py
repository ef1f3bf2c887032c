"""Gives lamports away on an embedded chain, printing each signature once it is confirmed, until it
is killed: ``python -m support.chainwriter FILE``."""

from __future__ import annotations

import sys
from pathlib import Path

import trio
from solders.keypair import Keypair
from support.chain import HandClock, running_chain


async def main() -> None:
    async with running_chain(Path(sys.argv[1]), clock=HandClock()) as one, trio.open_nursery() as n:

        async def give() -> None:
            while True:
                wallet = Keypair().pubkey()
                signature = (await one.client.request_airdrop(wallet, 1_000_000)).value
                print(signature, wallet, flush=True)

        for _ in range(3):
            n.start_soon(give)


if __name__ == "__main__":
    trio.run(main)

"""Programs on the embedded chain: deployed and upgraded, and there again after a restart."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import trio
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM
from solders.system_program import CreateAccountParams, create_account
from solders.sysvar import CLOCK, RENT
from solders.transaction import Transaction
from support.chain import SOL, HandClock, Running, running_chain

from hausd.chain.embedded.disk import Held

ROOT = Path(__file__).parents[2]
LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
BUFFER_HEAD = 37
CHUNK = 900


def code() -> bytes:
    """A real program: LiteSVM brings it along."""
    found = LiteSVM().get_account(MEMO)
    assert found is not None
    return bytes(found.data)


def upgradeable(program: Pubkey, authority: Pubkey) -> list[Held]:
    """A program's two accounts, as a deployment leaves them."""
    place = data_place(program)
    head = struct.pack("<IQB", 3, 0, 1) + bytes(authority)
    data = Held(bytes(place), bytes(LOADER), SOL, head + code() + bytes(len(code())), False)
    body = struct.pack("<I", 2) + bytes(place)
    return [data, Held(bytes(program), bytes(LOADER), SOL, body, True)]


def data_place(program: Pubkey) -> Pubkey:
    return Pubkey.find_program_address([bytes(program)], LOADER)[0]


def at(key: Pubkey, *, writable: bool = True, signs: bool = False) -> AccountMeta:
    return AccountMeta(key, signs, writable)


async def send(
    one: Running, instructions: list[Instruction], payer: Keypair, *more: Keypair
) -> Signature:
    blockhash = (await one.client.get_latest_blockhash()).value.blockhash
    message = Message(instructions, payer.pubkey())
    return (
        await one.client.send_transaction(Transaction([payer, *more], message, blockhash))
    ).value


async def written(one: Running, payer: Keypair) -> Pubkey:
    """A buffer with the program in it."""
    buffer, size = Keypair(), BUFFER_HEAD + len(code())
    rent = one.chain.ledger.rent(size)
    made = create_account(
        CreateAccountParams(
            from_pubkey=payer.pubkey(),
            to_pubkey=buffer.pubkey(),
            lamports=rent,
            space=size,
            owner=LOADER,
        )
    )
    begin = Instruction(
        LOADER, struct.pack("<I", 0), [at(buffer.pubkey()), at(payer.pubkey(), writable=False)]
    )
    await send(one, [made, begin], payer, buffer)
    for offset in range(0, len(code()), CHUNK):
        chunk = code()[offset : offset + CHUNK]
        write = struct.pack("<IIQ", 1, offset, len(chunk)) + chunk
        who = [at(buffer.pubkey()), at(payer.pubkey(), writable=False, signs=True)]
        await send(one, [Instruction(LOADER, write, who)], payer)
    return buffer.pubkey()


async def says(one: Running, program: Pubkey, payer: Keypair) -> list[str]:
    """What the program logs when it is called."""
    sent = await send(one, [Instruction(program, b"hello", [])], payer)
    told = (await one.client.get_transaction(sent)).value
    assert told is not None
    assert told.transaction.meta is not None
    return told.transaction.meta.log_messages or []


async def test_a_program_is_upgraded_and_is_there_after_a_restart(tmp_path: Path) -> None:
    clock, payer, program = HandClock(), Keypair(), Keypair().pubkey()
    genesis, path = upgradeable(program, payer.pubkey()), tmp_path / "chain.sqlite"
    async with running_chain(path, clock=clock, genesis=genesis) as one:
        await one.client.request_airdrop(payer.pubkey(), 10 * SOL)
        assert any("hello" in line for line in await says(one, program, payer))
        buffer = await written(one, payer)
        clock.pass_s(0.4)
        upgrade = [
            at(data_place(program)), at(program), at(buffer), at(payer.pubkey()),
            at(RENT, writable=False), at(CLOCK, writable=False),
            at(payer.pubkey(), writable=False, signs=True),
        ]  # fmt: skip
        await send(one, [Instruction(LOADER, struct.pack("<I", 3), upgrade)], payer)
        assert (await one.client.get_account_info(buffer)).value is None
        clock.pass_s(0.4)
        assert any("hello" in line for line in await says(one, program, payer))
        kept = (await one.client.get_account_info(data_place(program))).value
    async with running_chain(path, clock=clock) as one:
        assert (await one.client.get_account_info(data_place(program))).value == kept
        clock.pass_s(0.4)
        assert any("hello" in line for line in await says(one, program, payer))


async def test_a_program_is_deployed_for_the_first_time(tmp_path: Path) -> None:
    clock, path = HandClock(), tmp_path / "chain.sqlite"
    async with running_chain(path, clock=clock) as one:
        payer, program = await one.rich(), Keypair()
        buffer = await written(one, payer)
        made = create_account(
            CreateAccountParams(
                from_pubkey=payer.pubkey(),
                to_pubkey=program.pubkey(),
                lamports=one.chain.ledger.rent(36),
                space=36,
                owner=LOADER,
            )
        )
        deploy = [
            at(payer.pubkey(), signs=True), at(data_place(program.pubkey())), at(program.pubkey()),
            at(buffer), at(RENT, writable=False), at(CLOCK, writable=False),
            at(SYSTEM, writable=False), at(payer.pubkey(), writable=False, signs=True),
        ]  # fmt: skip
        wanted = Instruction(LOADER, struct.pack("<IQ", 2, len(code())), deploy)
        await send(one, [made, wanted], payer, program)
        clock.pass_s(0.4)
        assert any("hello" in line for line in await says(one, program.pubkey(), payer))
    async with running_chain(path, clock=clock) as one:
        clock.pass_s(0.4)
        assert any("hello" in line for line in await says(one, program.pubkey(), payer))


async def test_the_deploying_script_puts_a_program_there(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain.sqlite", clock=HandClock()) as one:
        payer, program = await one.rich(), Keypair()
        for name, key in (("payer", payer), ("program", program)):
            (tmp_path / f"{name}.json").touch(mode=0o600)
            (tmp_path / f"{name}.json").write_text(json.dumps(list(bytes(key))))
        keys = ["--keypair", "payer.json", "--program", "program.json"]
        for what, more in (("deploy", keys), ("verify", ["--address", str(program.pubkey())])):
            command = [what, "live_tipping", "--rpc", one.url, "--sbpf", "v0", *more]
            done = await trio.run_process(
                [str(ROOT / "scripts/programs"), *command],
                cwd=tmp_path,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr.decode()
            assert "is what is committed" in (done.stdout + done.stderr).decode()

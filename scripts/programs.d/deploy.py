"""Puts a built program on a chain, exchanges it, compares it with the committed one, sets it up.

Source: Solana's upgradeable loader (UpgradeableLoaderInstruction and -State, bincode). The code is
written into a buffer account first, whose key is in a file: interrupted and started again, this
goes on with the bytes that are missing.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import Transaction

from hausctl.client import Refused
from hausctl.wallet import KeyFile, Wallet, wallet
from hausd.core.programs.idl import idl

ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
RENT = Pubkey.from_string("SysvarRent111111111111111111111111111111111")
CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
SYSTEM = Pubkey.default()
BUFFER_HEAD, PROGRAM_BYTES, DATA_HEAD = 37, 36, 45
CHUNK_BYTES = 900
WINDOW = 32
"""Writes that are on their way at once."""
MAX_ROUNDS = 60
WAIT_S = 90
ROOM = 5 / 4
"""A new program's account has room for one that is a quarter larger."""
_NEEDED = {
    "deploy": ["program"],
    "upgrade": ["address"],
    "verify": ["address"],
    "initialize": ["address", "ticket_factory", "live_tipping"],
}
NAMES = ("event_factory", "ticket_factory", "live_tipping")


class Chain:
    """JSON-RPC, as far as this needs it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(timeout=30)
        self._url = url

    def ask(self, method: str, *params: object) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            answer = self._http.post(self._url, json=body).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as fault:
            raise Refused("no-chain", f"the chain does not answer {method}: {fault}") from None
        if "error" in answer:
            told = answer["error"]
            logs = (told.get("data") or {}).get("logs") or []
            raise Refused("chain-refused", " | ".join([str(told.get("message")), *logs]))
        return answer["result"]

    def data(self, address: Pubkey) -> bytes | None:
        """An account's bytes, None where there is none."""
        options = {"encoding": "base64", "commitment": "confirmed"}
        value = self.ask("getAccountInfo", str(address), options)["value"]
        return None if value is None else base64.b64decode(value["data"][0])

    def rent(self, size: int) -> int:
        return int(self.ask("getMinimumBalanceForRentExemption", size))

    def blockhash(self) -> Hash:
        told = self.ask("getLatestBlockhash", {"commitment": "confirmed"})
        return Hash.from_string(told["value"]["blockhash"])

    def send(self, signed: Transaction, *, checked: bool = True) -> str:
        raw = base64.b64encode(bytes(signed)).decode()
        options = {"encoding": "base64", "skipPreflight": not checked}
        if checked:
            options["preflightCommitment"] = "confirmed"
        return str(self.ask("sendTransaction", raw, options))

    def settle(self, names: Sequence[str]) -> None:
        """Waits until these are confirmed, for so long. Raises Refused where one failed."""
        deadline, waiting = time.monotonic() + WAIT_S, list(names)
        while waiting and time.monotonic() < deadline:
            found = self.ask("getSignatureStatuses", waiting)["value"]
            still = []
            for name, status in zip(waiting, found, strict=True):
                if status is None or status["confirmationStatus"] == "processed":
                    still.append(name)
                elif status["err"] is not None:
                    raise Refused("failed", f"transaction {name} failed: {status['err']}")
            waiting = still
            if waiting:
                time.sleep(0.4)


class Deployer:
    """Pays and signs."""

    def __init__(self, chain: Chain, payer: Wallet) -> None:
        self.chain, self.payer = chain, payer

    def signed(
        self, instructions: Sequence[Instruction], blockhash: Hash, *keys: Keypair
    ) -> Transaction:
        message = Message.new_with_blockhash(instructions, self.payer.address, blockhash)
        raw = bytes(message)
        by = {key.pubkey(): key.sign_message(raw) for key in keys}
        by[self.payer.address] = self.payer.sign(raw)
        count = message.header.num_required_signatures
        return Transaction.populate(message, [by[key] for key in message.account_keys[:count]])

    def run(self, instructions: Sequence[Instruction], *keys: Keypair) -> None:
        name = self.chain.send(self.signed(instructions, self.chain.blockhash(), *keys))
        self.chain.settle([name])

    # -- the buffer --

    def fill(self, buffer: Keypair, code: bytes) -> None:
        """Makes the buffer where it is not there, and writes what it lacks."""
        place, me = buffer.pubkey(), self.payer.address
        size = BUFFER_HEAD + len(code)
        held = self.chain.data(place)
        if held is None:
            made = create_account(
                CreateAccountParams(
                    from_pubkey=me,
                    to_pubkey=place,
                    lamports=self.chain.rent(size),
                    space=size,
                    owner=LOADER,
                )
            )
            begin = loader(0, b"", (place, False, True), (me, False, False))
            self.run([made, begin], buffer)
        elif len(held) != size or held[:BUFFER_HEAD] != struct.pack("<IB", 1, 1) + bytes(me):
            message = f"{place} is no buffer of this wallet's for this program"
            raise Refused("other-buffer", message, "name another file with --buffer")
        for _ in range(MAX_ROUNDS):
            held = self.chain.data(place) or b""
            missing = [
                at
                for at in range(0, len(code), CHUNK_BYTES)
                if held[BUFFER_HEAD + at :][:CHUNK_BYTES] != code[at : at + CHUNK_BYTES]
            ]
            if not missing:
                return
            say(f"{len(missing) * CHUNK_BYTES // 1024} KiB to write")
            for first in range(0, len(missing), WINDOW):
                self._write(place, code, missing[first : first + WINDOW])
        raise Refused("not-written", "the chain loses what is written", "start this again")

    def _write(self, place: Pubkey, code: bytes, at: Sequence[int]) -> None:
        blockhash, names = self.chain.blockhash(), []
        for offset in at:
            chunk = code[offset : offset + CHUNK_BYTES]
            data = struct.pack("<IQ", offset, len(chunk)) + chunk
            write = loader(1, data, (place, False, True), (self.payer.address, True, False))
            signed = self.signed([write], blockhash)
            names.append(self.chain.send(signed, checked=False))
        self.chain.settle(names)

    # -- the program --

    def deploy(self, program: Keypair, buffer: Pubkey, size: int) -> None:
        me, place = self.payer.address, program.pubkey()
        made = create_account(
            CreateAccountParams(
                from_pubkey=me,
                to_pubkey=place,
                lamports=self.chain.rent(PROGRAM_BYTES),
                space=PROGRAM_BYTES,
                owner=LOADER,
            )
        )
        put = loader(
            2,
            struct.pack("<Q", int(size * ROOM)),
            (me, True, True),
            (data_place(place), False, True),
            (place, False, True),
            (buffer, False, True),
            (RENT, False, False),
            (CLOCK, False, False),
            (SYSTEM, False, False),
            (me, True, False),
        )
        self.run([made, put], program)

    def upgrade(self, program: Pubkey, buffer: Pubkey) -> None:
        me = self.payer.address
        put = loader(
            3,
            b"",
            (data_place(program), False, True),
            (program, False, True),
            (buffer, False, True),
            (me, False, True),
            (RENT, False, False),
            (CLOCK, False, False),
            (me, True, False),
        )
        self.run([put])


def loader(kind: int, data: bytes, *accounts: tuple[Pubkey, bool, bool]) -> Instruction:
    return Instruction(LOADER, struct.pack("<I", kind) + data, [AccountMeta(*a) for a in accounts])


def data_place(program: Pubkey) -> Pubkey:
    return Pubkey.find_program_address([bytes(program)], LOADER)[0]


def code_on(chain: Chain, program: Pubkey) -> tuple[bytes, Pubkey | None]:
    """The program's code with the zeros behind it, and who may exchange it."""
    head, held = chain.data(program), chain.data(data_place(program))
    if head is None or held is None or len(head) < PROGRAM_BYTES or head[0] != 2:
        raise Refused("no-program", f"the chain has no program of this loader at {program}")
    authority = Pubkey(held[13:45]) if held[12] else None
    return held[DATA_HEAD:], authority


def verify(chain: Chain, program: Pubkey, code: bytes) -> None:
    held, authority = code_on(chain, program)
    if held[: len(code)] != code or any(held[len(code) :]):
        found = hashlib.sha256(held.rstrip(b"\0")).hexdigest()
        raise Refused(
            "differs", f"{program} is another program (sha256 {found} without its padding)"
        )
    may = f"{authority} may exchange it" if authority else "nobody may exchange it"
    print(f"{program} is what is committed (sha256 {hashlib.sha256(code).hexdigest()}); {may}")


def kept_key(path: Path) -> Keypair:
    """The key in a file, made where there is none."""
    if not path.exists():
        made = json.dumps(list(bytes(Keypair()))).encode()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
    KeyFile.read(path)
    return Keypair.from_bytes(bytes(json.loads(path.read_bytes())))


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def put(options: argparse.Namespace, chain: Chain, code: bytes) -> None:
    deployer = Deployer(chain, wallet(options.keypair, options.signer))
    buffer_file = options.buffer or Path(f"{options.name}.buffer.json")
    if options.what == "deploy":
        program = kept_key(options.program)
        place = program.pubkey()
        if chain.data(place) is not None:
            raise Refused("there", f"there is a program at {place}", "scripts/programs upgrade")
    else:
        place = address(options.address)
        held, authority = code_on(chain, place)
        if authority != deployer.payer.address:
            raise Refused(
                "not-yours", f"{authority or 'nobody'} may exchange {place}, not this wallet"
            )
        if len(code) > len(held):
            message = f"{place} has room for {len(held)} bytes, this is {len(code)}"
            raise Refused("too-small", message, "solana program extend")
    buffer = kept_key(buffer_file)
    deployer.fill(buffer, code)
    if options.what == "deploy":
        deployer.deploy(program, buffer.pubkey(), len(code))
    else:
        deployer.upgrade(place, buffer.pubkey())
    buffer_file.unlink()
    verify(chain, place, code)


def initialize(options: argparse.Namespace, chain: Chain) -> None:
    """Writes a new platform's configuration."""
    deployer = Deployer(chain, wallet(options.keypair, options.signer))
    me, place = deployer.payer.address, address(options.address)
    config, bump = Pubkey.find_program_address([b"config"], place)
    accounts = {
        "authority": me,
        "config": config,
        "program": place,
        "program_data": data_place(place),
        "system_program": SYSTEM,
    }
    arguments = {
        "bump": bump,
        "fee_bps": options.fee_bps,
        "treasury": address(options.treasury) if options.treasury else me,
        "ticket_program": address(options.ticket_factory),
        "tipping_program": address(options.live_tipping),
    }
    deployer.run([idl("event_factory").build(place, "initialize", accounts, arguments)])
    print(f"the platform of {place} is {me}'s, its fee {options.fee_bps} bps")


def address(text: str) -> Pubkey:
    try:
        return Pubkey.from_string(text)
    except ValueError:
        raise Refused("bad-address", f"{text!r} is no address") from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/programs", description=__doc__)
    parser.add_argument("what", choices=["deploy", "upgrade", "verify", "initialize"])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--rpc", required=True, help="URL of a Solana JSON-RPC")
    parser.add_argument("--sbpf", choices=["v0", "v3"], default="v3", help="v0: embedded chains")
    parser.add_argument("--keypair", default="", help="who pays and may exchange the program")
    parser.add_argument("--signer", default="", help="a program that signs instead (docs/chain.md)")
    parser.add_argument("--program", type=Path, help="deploy: key file of the new address")
    parser.add_argument("--address", help="upgrade, verify: where the program is")
    parser.add_argument("--buffer", type=Path, help="key file of the buffer; kept until it is done")
    parser.add_argument("--ticket-factory", help="initialize: TicketFactory's address")
    parser.add_argument("--live-tipping", help="initialize: LiveTipping's address")
    parser.add_argument("--fee-bps", type=int, default=0, help="initialize: at most 1000")
    parser.add_argument("--treasury", help="initialize: who gets the fee, else the wallet")
    options = parser.parse_args()
    for needed in _NEEDED[options.what]:
        if getattr(options, needed) is None:
            parser.error(f"{options.what} needs --{needed.replace('_', '-')}")
    code = (ARTIFACTS / f"{options.name}_{options.sbpf}.so").read_bytes()
    chain = Chain(options.rpc)
    try:
        if options.what == "verify":
            verify(chain, address(options.address), code)
        elif options.what == "initialize":
            initialize(options, chain)
        else:
            put(options, chain, code)
    except Refused as refused:
        say(f"error: {refused.message}" + (f" ({refused.hint})" if refused.hint else ""))
        sys.exit(1)


if __name__ == "__main__":
    main()

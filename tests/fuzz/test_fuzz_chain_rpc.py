"""Anything at all asked of the embedded chain: answered, never a fault, and no lamport is made."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import httpx
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction, VersionedTransaction
from support.chain import SOL, HandClock, Running, running_chain
from support.tls import TLS
from trio_websocket import open_websocket_url

from hausd.chain.embedded.disk import Disk
from hausd.chain.embedded.ledger import Ledger, Refused
from hausd.chain.embedded.questions import RpcFault
from hausd.chain.embedded.records import account_form
from hausd.chain.embedded.rpc import METHODS
from hausd.chain.embedded.rpc_sending import transaction_of

PAYER = Keypair.from_seed(bytes(31) + b"\1")
GIVE = transfer(TransferParams(from_pubkey=PAYER.pubkey(), to_pubkey=SYSTEM, lamports=1))
TABLE = AddressLookupTableAccount(Pubkey(bytes(31) + b"\2"), [SYSTEM])
LEGACY = bytes(Transaction([PAYER], Message([GIVE], PAYER.pubkey()), Hash.default()))
V0 = bytes(
    VersionedTransaction(
        MessageV0.try_compile(PAYER.pubkey(), [GIVE], [TABLE], Hash.default()), [PAYER]
    )
)
SUBSCRIPTIONS = tuple(
    f"{kind}{what}"
    for kind in ("account", "program", "logs", "signature", "slot", "root", "block", "")
    for what in ("Subscribe", "Unsubscribe")
)
SEEDS = (
    b"",
    b"[]",
    b"[" * 5_000,
    b'{"jsonrpc":"2.0","id":1,"method":"getSlot","params":[1e999]}',
    b'{"jsonrpc":"2.0","id":1,"method":"getBlock","params":[18446744073709551615]}',
    b'{"jsonrpc":"2.0","id":1,"method":"getBlocks","params":[0,18446744073709551615]}',
    b'{"jsonrpc":"2.0","id":1,"method":"getBlockTime","params":[9223372036854775808]}',
    b'{"jsonrpc":"2.0","id":{},"method":"getSlot"}',
    b'{"jsonrpc":"2.0","id":1,"method":"__init__"}',
    b'{"jsonrpc":"2.0","id":1,"method":"getBalance","params":["\\ud800"]}',
    b'{"jsonrpc":"2.0","id":1,"method":"accountSubscribe","params":["1",{"encoding":7}]}',
)


def with_seeds(test):
    for seed in SEEDS:
        test = example([seed], 0)(test)
    for raw in (LEGACY, V0):
        for method in ("sendTransaction", "simulateTransaction"):
            body = call(method, [base64.b64encode(raw).decode(), {"encoding": "base64"}])
            test = example([body], 0)(test)
    return test


def call(method: str, params: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


@st.composite
def transactions(draw: st.DrawFn) -> str:
    """A transaction with some of its bytes changed, in base64."""
    raw = bytearray(draw(st.sampled_from([LEGACY, V0])))
    for _ in range(draw(st.integers(0, 4))):
        raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, 8))
    return base64.b64encode(bytes(raw[: len(raw) - cut if cut < 4 else len(raw)])).decode()


ADDRESSES = st.sampled_from([str(SYSTEM), str(PAYER.pubkey()), str(TABLE.key), "1" * 88])
NUMBERS = st.sampled_from([0, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -1, 0.5])
WORDS = st.sampled_from(["base64", "base58", "jsonParsed", "json", "full", "none", "confirmed"])
LEAVES = st.none() | st.booleans() | NUMBERS | ADDRESSES | WORDS | st.text(max_size=8)
KEYS = st.sampled_from(
    [
        "encoding", "commitment", "filters", "memcmp", "offset", "bytes", "dataSize", "dataSlice",
        "length", "limit", "before", "until", "accounts", "addresses", "mint", "programId",
        "skipPreflight", "sigVerify", "replaceRecentBlockhash", "minContextSlot", "withContext",
        "maxSupportedTransactionVersion", "transactionDetails", "rewards", "mentions",
    ]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
CALLS = st.builds(
    call,
    st.sampled_from([*METHODS, *SUBSCRIPTIONS]),
    st.lists(VALUES | ADDRESSES | transactions(), max_size=3) | VALUES,
)
SENT = st.builds(
    lambda method, raw, config: call(method, [raw, {"encoding": "base64", **config}]),
    st.sampled_from(["sendTransaction", "simulateTransaction"]),
    transactions(),
    st.just({"replaceRecentBlockhash": True})
    | st.dictionaries(KEYS.filter(lambda key: key != "encoding"), VALUES, max_size=3),
)
BODIES = st.lists(CALLS | SENT | st.binary(max_size=40), min_size=1, max_size=8)


async def lamports(one: Running) -> int:
    return (await one.client.get_balance(PAYER.pubkey())).value


@settings(max_examples=settings().max_examples)
@with_seeds
@given(BODIES, st.integers(0, 2))
def test_whatever_is_asked_is_answered(bodies: list[bytes], batched: int) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                running_chain(Path(folder) / "chain.sqlite") as one,
                httpx.AsyncClient(verify=TLS) as http,
                open_websocket_url(one.ws_url) as socket,
            ):
                await one.client.request_airdrop(PAYER.pubkey(), SOL)
                for body in [*bodies, *[b"[" + b",".join(bodies) + b"]"] * batched]:
                    answer = await http.post(one.url, content=body)
                    assert answer.status_code in (200, 413, 429), (answer.status_code, body)
                    assert_answers(answer.json(), body)
                with trio.fail_after(20):
                    for body in bodies:
                        await socket.send_message(body.decode("utf-8", "replace"))
                        assert_answers(await answer_of(socket), body)
                assert await lamports(one) <= SOL

    trio.run(main)


def form_of(ledger: Ledger, address: Pubkey) -> object:
    account = ledger.account(address)
    return account and account_form(address, account, "base64")


async def answer_of(socket) -> object:
    """The next message that is an answer rather than news."""
    while "method" in (message := json.loads(await socket.get_message())):
        pass
    return message


def assert_answers(answer: object, body: bytes) -> None:
    for one in answer if isinstance(answer, list) else [answer]:
        assert ("result" in one) != ("error" in one), (one, body)
        if "error" in one:
            assert one["error"]["code"] != -32603, (one, body)


@settings(max_examples=settings().max_examples)
@given(st.data())
def test_whatever_was_signed_is_executed_or_refused(data: st.DataObject) -> None:
    """Messages that only their signer made sense of, with a blockhash of now."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder) / "chain.sqlite")
        ledger = Ledger(disk, HandClock(), os.urandom, {})
        ledger.airdrop(PAYER.pubkey(), SOL, os.urandom)
        for model in (LEGACY, V0):
            message = bytearray(model[65:])
            for _ in range(data.draw(st.integers(0, 3))):
                message[data.draw(st.integers(0, len(message) - 1))] = data.draw(
                    st.integers(0, 255)
                )
            place = message.find(bytes(Hash.default()), 3 + 1 + 32)
            message[place : place + 32] = bytes(ledger.time.blockhash()[0])
            raw = b"\1" + bytes(PAYER.sign_message(bytes(message))) + bytes(message)
            try:
                tx = transaction_of(raw)
            except RpcFault:
                continue
            ledger.simulate(tx)
            with suppress(Refused):
                ledger.execute(tx, raw)
        ledger.take()()
        disk.close()
        again = Disk(Path(folder) / "chain.sqlite")
        reopened = Ledger(again, HandClock(), os.urandom, {})
        for address in (PAYER.pubkey(), SYSTEM):
            assert form_of(reopened, address) == form_of(ledger, address)
        again.close()

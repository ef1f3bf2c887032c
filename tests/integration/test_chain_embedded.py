"""The embedded chain as Solana's own clients see it, and as it survives."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from solana.exceptions import SolanaRpcException
from solana.rpc.core import RPCException
from solana.rpc.types import MemcmpOpts, TxOpts
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction
from solders.transaction_status import TransactionConfirmationStatus
from support.chain import SOL, HandClock, Running, held, running_chain
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from hausd.chain.embedded.disk import Disk, NotOurs
from hausd.chain.embedded.subscriptions import MAX_WAITING

TESTS = Path(__file__).parents[1]


async def call(one: Running, method: str, *params: object) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    async with httpx.AsyncClient() as http:
        answer: dict[str, Any] = (await http.post(one.url, json=body)).json()
    return answer


async def test_a_wallet_is_filled_pays_and_sees_what_it_paid(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one:
        client = one.client
        payer, to = await one.rich(2 * SOL), Pubkey.new_unique()
        sent = (await client.send_transaction(await one.transfer(payer, to, SOL))).value
        assert (await client.get_balance(to)).value == SOL
        assert (await client.get_balance(payer.pubkey())).value == SOL - 5000
        (status,) = (await client.get_signature_statuses([sent])).value
        assert status is not None
        assert status.confirmation_status == TransactionConfirmationStatus.Finalized
        told = (await client.get_transaction(sent)).value
        assert told is not None
        meta = told.transaction.meta
        assert meta is not None
        assert (meta.fee, meta.err) == (5000, None)
        assert sum(meta.pre_balances) - sum(meta.post_balances) == 5000
        assert told.block_time == one.clock.ms // 1000
        (listed,) = (await client.get_signatures_for_address(to)).value
        assert listed.signature == sent
        block = (await client.get_block(told.slot)).value
        assert block is not None
        assert block.transactions is not None
        assert len(block.transactions) == 2


async def test_what_fails_is_told_before_it_is_paid_for_unless_nobody_asks(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one:
        payer = await one.rich(SOL)
        bad = await one.transfer(payer, Pubkey.new_unique(), 2 * SOL)
        with pytest.raises(RPCException) as caught:
            await one.client.send_transaction(bad)
        assert "custom program error: 0x1" in str(caught.value)
        assert "insufficient lamports" in str(caught.value), "the log comes with it"
        assert (await one.client.get_balance(payer.pubkey())).value == SOL
        sent = (await one.client.send_transaction(bad, TxOpts(skip_preflight=True))).value
        (status,) = (await one.client.get_signature_statuses([sent])).value
        assert status is not None
        assert status.err is not None
        assert (await one.client.get_balance(payer.pubkey())).value == SOL - 5000


async def test_a_transaction_is_executed_once_in_its_time_and_by_who_signed_it(
    tmp_path: Path,
) -> None:
    clock = HandClock()
    async with running_chain(tmp_path / "chain.sqlite", clock=clock) as one:
        payer, to = await one.rich(), Pubkey.new_unique()
        tx = await one.transfer(payer, to, SOL)
        late = await one.transfer(payer, to, 2 * SOL)
        skip = TxOpts(skip_preflight=True)
        for _ in range(3):
            assert (await one.client.send_transaction(tx, skip)).value == tx.signatures[0]
        with pytest.raises(RPCException, match="already been processed"):
            await one.client.send_transaction(tx)
        assert (await one.client.get_balance(to)).value == SOL
        forged = await one.transfer(payer, to, SOL // 2)
        forged.signatures = [Signature.default()]
        with pytest.raises(RPCException, match="SignatureVerificationFailure"):
            await one.client.send_transaction(forged)
        clock.pass_s(151 * 0.4)
        asked = await call(one, "isBlockhashValid", str(late.message.recent_blockhash))
        assert asked["result"]["value"] is False
        for options in (skip, TxOpts()):
            with pytest.raises(RPCException, match="Blockhash not found"):
                await one.client.send_transaction(late, options)
        assert (await one.client.get_balance(to)).value == SOL


def signed_otherwise(signer: Keypair, message: bytes) -> Signature:
    """Another valid signature than the one of RFC 8032: its nonce is free to choose."""
    seed = os.urandom(32)

    def scalar(of: bytes) -> int:
        clamped = int.from_bytes(hashlib.sha512(of).digest()[:32], "little")
        return (clamped & ((1 << 254) - 8)) | (1 << 254)

    nonce = bytes(Keypair.from_seed(seed).pubkey())
    digest = hashlib.sha512(nonce + bytes(signer.pubkey()) + message).digest()
    order = 2**252 + 27742317777372353535851937790883648493
    answer = scalar(seed) + int.from_bytes(digest, "little") * scalar(signer.secret())
    return Signature(nonce + (answer % order).to_bytes(32, "little"))


async def test_who_pays_the_fee_has_no_others_payment_made_twice_by_signing_again(
    tmp_path: Path,
) -> None:
    path, killed, clock = tmp_path / "one" / "chain.sqlite", tmp_path / "killed", HandClock()
    async with running_chain(path, clock=clock) as one:
        payer, fan = await one.rich(), await one.rich()
        blockhash = (await one.client.get_latest_blockhash()).value.blockhash
        give = TransferParams(from_pubkey=fan.pubkey(), to_pubkey=payer.pubkey(), lamports=SOL)
        tx = Transaction([payer, fan], Message([transfer(give)], payer.pubkey()), blockhash)
        await one.client.send_transaction(tx)
        message = tx.message_data()

        async def refused(at: Running) -> None:
            again = signed_otherwise(payer, message)
            tx.signatures = [again, fan.sign_message(message)]
            assert again.verify(payer.pubkey(), message)
            with pytest.raises(RPCException, match="already been processed"):
                await at.client.send_transaction(tx)
            # unrehearsed there is no answer but the status, as on a cluster
            await at.client.send_transaction(tx, TxOpts(skip_preflight=True))
            assert (await at.client.get_signature_statuses([again])).value == [None]
            assert (await at.client.get_balance(fan.pubkey())).value == 9 * SOL

        await refused(one)
        clock.pass_s(150 * 0.4)
        await refused(one)
        # as a kill leaves it
        shutil.copytree(path.parent, killed)
    for left in (path, killed / path.name):
        async with running_chain(left, clock=clock) as one:
            await refused(one)
    clock.pass_s(0.4)
    async with running_chain(path, clock=clock) as one:
        with pytest.raises(RPCException, match="Blockhash not found"):
            await one.client.send_transaction(tx)


async def test_a_chain_goes_on_where_it_was_and_every_home_has_its_own(tmp_path: Path) -> None:
    clock = HandClock()
    async with running_chain(tmp_path / "a.sqlite", clock=clock) as one:
        genesis = (await one.client.get_genesis_hash()).value
        payer = await one.rich()
        blockhash = (await one.client.get_latest_blockhash()).value.blockhash
        tx = await one.transfer(payer, Pubkey.new_unique(), SOL)
        await one.client.send_transaction(tx)
        slot = (await one.client.get_slot()).value
    clock.pass_s(-3600)
    async with running_chain(tmp_path / "a.sqlite", clock=clock) as one:
        assert (await one.client.get_genesis_hash()).value == genesis
        assert (await one.client.get_balance(payer.pubkey())).value == 9 * SOL - 5000
        assert (await call(one, "isBlockhashValid", str(blockhash)))["result"]["value"] is True
        assert (await one.client.get_slot()).value >= slot, "a clock put back brings none again"
        with pytest.raises(RPCException, match="already been processed"):
            await one.client.send_transaction(tx)
    async with running_chain(tmp_path / "b.sqlite", clock=clock) as other:
        assert (await other.client.get_genesis_hash()).value != genesis
        with pytest.raises(RPCException, match="Blockhash not found"):
            await other.client.send_transaction(tx)


async def test_what_was_confirmed_is_there_after_a_kill_at_any_instant(tmp_path: Path) -> None:
    chain, confirmed = tmp_path / "chain.sqlite", []
    for round_ in range(6):
        with subprocess.Popen(
            [sys.executable, "-m", "support.chainwriter", str(chain)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=TESTS,
        ) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(random.Random(round_).random() * 0.5)  # real time: in the midst of it
            writer.kill()
            confirmed += [first, *writer.stdout.readlines()]
    lines = [line.split() for line in confirmed if line.endswith("\n")]
    assert len(lines) > 6
    async with running_chain(chain) as one:
        for signature, wallet in lines:
            (status,) = (
                await one.client.get_signature_statuses([Signature.from_string(signature)])
            ).value
            assert status is not None
            assert (await one.client.get_balance(Pubkey.from_string(wallet))).value == 1_000_000
    with sqlite3.connect(chain) as db:
        (lamports,) = db.execute("SELECT sum(lamports) FROM account").fetchone()
        (count,) = db.execute("SELECT count(*) FROM tx").fetchone()
    assert lamports == 500_000_000 * SOL - 5000 * count, "no lamport came or went but the fees"


async def test_a_damaged_file_is_refused_rather_than_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(NotOurs, match="damaged"):
        async with running_chain(path):
            raise AssertionError
    assert path.read_bytes().startswith(b"this is no database")


async def test_accounts_of_a_program_are_found_by_size_and_content(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one:
        some = [await one.rich(SOL + number) for number in range(3)]
        found = (await one.client.get_program_accounts(SYSTEM)).value
        assert {each.pubkey() for each in some} < {each.pubkey for each in found}
        none = await one.client.get_program_accounts(SYSTEM, filters=[8])
        assert none.value == []
        none = await one.client.get_program_accounts(
            SYSTEM, filters=[MemcmpOpts(offset=0, bytes="1")]
        )
        assert none.value == []


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("getNothing", [], -32601),
        ("getBalance", [], -32602),
        ("getBalance", ["not an address"], -32602),
        ("getBalance", [str(SYSTEM), {"commitment": "often"}], -32602),
        ("getBalance", [str(SYSTEM), {"minContextSlot": 10**9}], -32016),
        ("getMultipleAccounts", [[str(SYSTEM)] * 101], -32602),
        ("sendTransaction", ["AAAA", {"encoding": "base64"}], -32602),
        ("sendTransaction", ["A" * 5000], -32602),
        ("getBlock", [10**9], -32007),
        ("getSignaturesForAddress", [str(SYSTEM), {"limit": 1001}], -32602),
        ("requestAirdrop", [str(SYSTEM), 10**16], -32602),
        ("getAccountInfo", [str(SYSTEM), {"encoding": "base32"}], -32600),
    ],
)
async def test_a_wrong_call_gets_a_clusters_error(
    tmp_path: Path, method: str, params: list[object], code: int
) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one:
        answer = await call(one, method, *params)
        assert answer["error"]["code"] == code, answer
        assert answer["error"]["message"]


async def test_what_is_no_call_is_refused_and_floods_are_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as from another machine
    monkeypatch.setattr("hausd.chain.embedded.server._TIMES_HERE", 1.0)
    async with running_chain(tmp_path / "chain.sqlite") as one, httpx.AsyncClient() as http:
        for body, code in ((b"{", -32700), (b"[]", -32600), (b"7", -32600), (b'{"id":1}', -32600)):
            assert (await http.post(one.url, content=body)).json()["error"]["code"] == code
        assert (await http.post(one.url, content=b"[" * 200_000)).status_code == 413
        batch = [{"jsonrpc": "2.0", "id": n, "method": "getSlot"} for n in range(3)]
        assert [each["id"] for each in (await http.post(one.url, json=batch)).json()] == [0, 1, 2]
        many = [{"jsonrpc": "2.0", "id": 1, "method": "getHealth"}] * 100
        for _ in range(200):
            answer = await http.post(one.url, json=many)
            if answer.status_code == 429:
                break
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("size", [0, 1, 200, 128 * 1024, 300_000])
async def test_accounts_are_read_as_clients_in_rust_ask_for_them(size: int, tmp_path: Path) -> None:
    key, data = Keypair().pubkey(), random.Random(size).randbytes(size)
    genesis = [held(key, data=data)]
    async with running_chain(tmp_path / "chain.sqlite", genesis=genesis) as one:
        # solders has Solana's own decoder
        found = (await one.client.get_account_info(key, encoding="base64+zstd")).value
        assert found is not None
        assert found.data == data


async def test_a_read_only_chain_takes_no_transactions(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain.sqlite", read_only=True) as one:
        with pytest.raises((RPCException, SolanaRpcException)):
            await one.rich()
        assert (await one.client.get_slot()).value >= 0


# -- subscriptions --


async def ask(ws: WebSocketConnection, method: str, *params: object) -> Any:
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
    await ws.send_message(json.dumps(message))
    answer: dict[str, Any] = {}
    while answer.get("id") != 7:
        answer = json.loads(await ws.get_message())
    return answer.get("result", answer.get("error"))


async def told(ws: WebSocketConnection, method: str) -> Any:
    with trio.fail_after(20):
        while True:
            message = json.loads(await ws.get_message())
            if message.get("method") == method:
                return message["params"]


async def test_subscribers_are_told_of_accounts_programs_logs_and_their_transaction(
    tmp_path: Path,
) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one:
        payer, to = await one.rich(), Keypair().pubkey()
        tx = await one.transfer(payer, to, SOL)
        base64 = {"encoding": "base64"}
        async with (
            open_websocket_url(one.ws_url) as accounts,
            open_websocket_url(one.ws_url) as logs,
            open_websocket_url(one.ws_url) as mine,
        ):
            number = await ask(accounts, "accountSubscribe", str(to), base64)
            await ask(accounts, "programSubscribe", str(SYSTEM), base64)
            await ask(logs, "logsSubscribe", {"mentions": [str(to)]})
            await ask(mine, "signatureSubscribe", str(tx.signatures[0]))
            await one.client.send_transaction(tx)
            account = await told(accounts, "accountNotification")
            assert account["subscription"] == number
            assert account["result"]["value"]["lamports"] == SOL
            program = await told(accounts, "programNotification")
            assert program["result"]["value"]["pubkey"] in (str(to), str(payer.pubkey()))
            log = (await told(logs, "logsNotification"))["result"]["value"]
            assert log["signature"] == str(tx.signatures[0])
            assert (await told(mine, "signatureNotification"))["result"]["value"] == {"err": None}
            assert await ask(accounts, "accountUnsubscribe", number) is True
            assert (await ask(accounts, "accountUnsubscribe", number))["code"] == -32602
            assert (await ask(accounts, "blockSubscribe", "all"))["code"] == -32601
        async with open_websocket_url(one.ws_url) as slots:
            for _ in range(2):
                assert not one.chain.subscriptions.followed.is_set(), "nobody counts for nobody"
                number = await ask(slots, "slotSubscribe")
                one.clock.pass_s(0.4)
                slot = (await told(slots, "slotNotification"))["result"]
                assert slot["parent"] == slot["slot"] - 1
                assert await ask(slots, "slotUnsubscribe", number) is True
            await ask(slots, "slotSubscribe")
        with trio.fail_after(20):
            while one.chain.subscriptions.followed.is_set():
                await trio.sleep(0.01)


async def test_a_subscriber_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one:
        async with open_websocket_url(one.ws_url, message_queue_size=0) as deaf:
            await ask(deaf, "slotSubscribe")
            (subscriber,) = one.chain.subscriptions._subscribers
            for _ in range(MAX_WAITING + 500):
                subscriber.push({"jsonrpc": "2.0", "words": "x" * 4_000})
            with trio.fail_after(20), suppress(ConnectionClosed):
                while True:
                    await deaf.get_message()
            assert deaf.closed is not None
        with trio.fail_after(20):
            while one.chain.subscriptions._subscribers:
                await trio.sleep(0.01)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of 32 KiB at most, as if they were 32 MiB."""
    for place in ("questions.MAX_ANSWER_BYTES", "answers.MAX_ANSWER_BYTES"):
        monkeypatch.setattr(f"hausd.chain.embedded.{place}", 32 * 1024)


LARGE = held(Keypair().pubkey(), data=bytes(20_000))


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("getMultipleAccounts", [[str(Pubkey(LARGE.address))] * 2]),
        ("getProgramAccounts", [str(SYSTEM), {"encoding": "base64"}]),
    ],
)
async def test_an_answer_has_a_bound(tmp_path: Path, method: str, params: list[object]) -> None:
    other = held(Keypair().pubkey(), data=bytes(20_000))
    async with running_chain(tmp_path / "chain.sqlite", genesis=[LARGE, other]) as one:
        answer = await call(one, method, *params)
        assert answer["error"]["code"] == -32600
        assert "less at a time" in answer["error"]["message"]
        part = {"encoding": "base64", "dataSlice": {"offset": 0, "length": 10}}
        assert "result" in await call(one, method, params[0], part)


@pytest.mark.usefixtures("narrow")
async def test_a_list_of_answers_has_the_same_bound_and_nothing_is_done_beyond_it(
    tmp_path: Path,
) -> None:
    async with running_chain(tmp_path / "chain.sqlite", genesis=[LARGE]) as one:
        to = str(Keypair().pubkey())
        read = ("getAccountInfo", [str(Pubkey(LARGE.address)), {"encoding": "base64"}])
        wanted = [read, read, ("requestAirdrop", [to, SOL])]
        calls = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            for number, (method, params) in enumerate(wanted)
        ]
        async with httpx.AsyncClient() as http:
            answers = (await http.post(one.url, json=calls)).json()
        assert [each["id"] for each in answers] == [0, 1, 2]
        assert ["result" in each for each in answers] == [True, False, False]
        assert (await call(one, "getBalance", to))["result"]["value"] == 0


async def test_answers_on_their_way_have_a_bound_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hausd.chain.embedded.answers.MAX_HELD_BYTES", 1_000_000)
    large = held(Keypair().pubkey(), data=bytes(6_000_000))
    async with running_chain(tmp_path / "chain.sqlite", genesis=[large]) as one:
        wanted = {"jsonrpc": "2.0", "id": 1, "method": "getAccountInfo"}
        wanted["params"] = [str(Pubkey(large.address)), {"encoding": "base64"}]
        async with httpx.AsyncClient() as http:
            async with http.stream("POST", one.url, json=wanted) as answer:
                assert answer.status_code == 200
                refused = await http.post(one.url, json=wanted)
                assert refused.status_code == 503
                assert refused.json()["error"]["code"] == 429
            with trio.fail_after(20):
                while (await http.post(one.url, json=wanted)).status_code != 200:
                    await trio.sleep(0.01)
        with trio.fail_after(20):
            while one.chain._held.count:
                await trio.sleep(0.01)


async def test_who_reads_no_answers_is_heard_no_further(tmp_path: Path) -> None:
    large = held(Keypair().pubkey(), data=bytes(3_000_000))
    async with running_chain(tmp_path / "chain.sqlite", genesis=[large]) as one:
        asked = 0
        answered = one.chain.rpc.call

        async def counted(method: str, untrusted: object) -> Any:
            nonlocal asked
            asked += 1
            return await answered(method, untrusted)

        one.chain.rpc.call = counted  # type: ignore[method-assign]  # to count
        opened = open_websocket_url(one.ws_url, message_queue_size=0, max_message_size=10**8)
        async with opened as deaf:
            wanted = {"jsonrpc": "2.0", "id": 1, "method": "getAccountInfo"}
            wanted["params"] = [str(Pubkey(large.address)), {"encoding": "base64"}]
            for _ in range(12):
                await deaf.send_message(json.dumps(wanted))
            with trio.move_on_after(1):
                while asked < 12:
                    await trio.sleep(0.01)
            assert 1 <= asked < 9
            with trio.fail_after(20):
                for _ in range(12):
                    assert '"result"' in await deaf.get_message()


async def test_who_sends_waits_for_no_transaction_that_came_later(tmp_path: Path) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one, trio.open_nursery() as nursery:
        answered: list[int] = []

        async def send(number: int) -> None:
            to = str(Keypair().pubkey())
            assert "result" in await call(one, "requestAirdrop", to, SOL)
            answered.append(number)

        for number in range(100):
            nursery.start_soon(send, number)
            await trio.sleep(0.002)
        assert answered, "a chain that is never idle answers nobody"


@pytest.mark.parametrize(
    ("fields", "gives"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:8080"}, True),
        ({"Origin": "http://localhost:3000"}, True),
        ({"Origin": "https://evil.example", "Content-Type": "text/plain"}, False),
        ({"Origin": "https://localhost.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"X-Forwarded-For": "203.0.113.9"}, False),
        ({"X-Real-IP": "127.0.0.1"}, False),
        ({"Forwarded": "for=203.0.113.9"}, False),
        ({"Via": "1.1 proxy"}, False),
    ],
)
async def test_the_faucet_gives_to_its_own_machine_not_to_what_comes_through_it(
    tmp_path: Path, fields: dict[str, str], gives: bool
) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one:
        wanted = {"jsonrpc": "2.0", "id": 7, "method": "requestAirdrop", "params": [str(SYSTEM), 1]}
        body = json.dumps(wanted)
        async with httpx.AsyncClient() as http:
            answer = (await http.post(one.url, content=body, headers=fields)).json()
        assert ("result" in answer) == gives
        given = [(name, value.encode()) for name, value in fields.items()]
        async with open_websocket_url(one.ws_url, extra_headers=given) as ws:
            await ws.send_message(body)
            assert ("result" in json.loads(await ws.get_message())) == gives
        assert {each.here for each in one.chain._allowances} == {gives}


async def test_nothing_is_shown_as_confirmed_before_it_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_chain(tmp_path / "chain.sqlite") as one, trio.open_nursery() as nursery:
        may_write, write = threading.Event(), Disk.write

        def write_late(disk: Disk, *given: Any) -> None:
            assert may_write.wait(20)
            write(disk, *given)

        monkeypatch.setattr(Disk, "write", write_late)
        to = str(Keypair().pubkey())
        shown: list[int] = []

        async def look() -> None:
            shown.append((await call(one, "getBalance", to))["result"]["value"])

        nursery.start_soon(call, one, "requestAirdrop", to, SOL)
        hasty = {"commitment": "processed"}
        with trio.fail_after(20):
            while (await call(one, "getBalance", to, hasty))["result"]["value"] != SOL:
                await trio.sleep(0.01)
        nursery.start_soon(look)
        for _ in range(10):  # long enough for an answer
            await call(one, "getBalance", to, hasty)
        assert shown == []
        may_write.set()
        with trio.fail_after(20):
            while not shown:
                await trio.sleep(0.01)
        assert shown == [SOL]

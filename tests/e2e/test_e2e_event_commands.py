"""Every command of artists, guests, holders, tippers and a platform's owner, on real programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.cid import CID
from hausd.core.programs.addresses import SYSTEM, TOKEN_2022, token_place
from hausd.core.programs.payments import Payment, open_tokens
from tests.support.eventstage import ARTIFACTS, SOL, Stage, stage
from tests.support.node import node

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not ARTIFACTS.is_dir(), reason="the programs are not built"),
]


def _refusal(here: Stage, *arguments: str) -> str:
    """The name of the error, which always comes with a way out."""
    error = here.ctl(*arguments, code=1)["error"]
    assert error["message"]
    assert error["hint"]
    code: str = error["code"]
    return code


def test_a_draft_is_arranged_opened_and_changed(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        friend_file, friend = here.wallet("friend")
        me = ("--keypair", artist_file)
        made = here.ctl("events", "create", "Sundown", "--draft", "--ends", "+2h", *me)
        event = made["id"]
        assert made["status"] == "draft"
        assert _refusal(here, "tickets", "gift", event, friend, *me) == "WrongState"

        options = ("--supply", "3", "--per-wallet", "2", "--not-transferable")
        here.ctl("events", "add-tier", event, "Balcony", "0.5", *options, *me)
        now = here.ctl("events", "add-tier", event, "Floor", "0", "--refundable-until", "+1h", *me)
        assert [(tier["name"], tier["price"], tier["per_wallet"]) for tier in now["tiers"]] == [
            ("Balcony", str(SOL // 2), 2),
            ("Floor", "0", 0),
        ]
        now = here.ctl("events", "set-split", event, f"{friend}=12.5", *me)
        assert now["split"] == [{"payee": friend, "bps": 1250}]
        too_much = [f"{Keypair().pubkey()}=30" for _ in range(4)]
        assert _refusal(here, "events", "set-split", event, *too_much, *me) == "BadSplit"
        assert _refusal(here, "events", "open", event, "--keypair", friend_file) == "Unauthorized"
        assert (here.ctl("events", "open", event, *me))["status"] == "open"
        assert _refusal(here, "events", "set-split", event, *me) == "WrongStatus"

        now = here.ctl("events", "set-schedule", event, "--ends", "+5h", *me)
        assert now["ends"] > made.get("ends", "")
        assert (
            _refusal(here, "events", "set-schedule", event, "--ends", "+40d", *me) == "BadSchedule"
        )
        before = now["metadata"]
        now = here.ctl("events", "set-metadata", event, "--description", "A late show", *me)
        assert now["metadata"] != before
        assert now["metadata"] in {pin["target"] for pin in here.ctl("pins", "list")}
        named = str(CID.of(b"elsewhere"))
        now = here.ctl("events", "set-metadata", event, "--cid", named, *me)
        assert now["metadata"] == named
        other = str(Keypair().pubkey())
        now = here.ctl("events", "set-stream-authority", event, other, *me)
        assert now["stream_authority"] == other
        assert (here.ctl("events", "live", event, *me))["status"] == "live"
        here.ctl("events", "end", event, *me)
        assert (here.ctl("events", "set-recording", event, named, *me))["recording"] == named
        assert _refusal(here, "events", "finalize", event, "--keypair", friend_file) == "TooEarly"


def test_guests_by_a_list_that_can_be_given_again(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        me = ("--keypair", artist_file)
        made = here.ctl("events", "create", "Sundown", "--ticket-price", "0.25", *me)
        event = made["id"]
        guests = [str(Keypair().pubkey()) for _ in range(11)]
        listed = tmp_path / "guests.csv"
        listed.write_text("# friends\n" + "".join(f"{each}\n" for each in guests[:10]))
        told = here.ctl("tickets", "gift", event, "--file", str(listed), *me, "--dry-run")
        assert len(told["transactions"]) == 2
        assert here.ctl("tickets", "list", event) == []
        done = here.ctl("tickets", "gift", event, "--file", str(listed), *me)
        assert (len(done["guests"]), len(done["transactions"])) == (10, 2)
        listed.write_text(listed.read_text() + f"{guests[10]},3 # the band\n")
        done = here.ctl("tickets", "gift", event, "--file", str(listed), *me)
        assert done["guests"] == [{"holder": guests[10], "count": 3}]
        assert done["passed_over"] == 10
        done = here.ctl("tickets", "gift", event, "--file", str(listed), *me)
        assert done["guests"] == []
        held = {each["holder"]: each["count"] for each in here.ctl("tickets", "list", event)}
        assert held == dict.fromkeys(guests[:10], 1) | {guests[10]: 3}
        here.ctl("tickets", "gift", event, guests[0], *me)
        assert (here.ctl("tickets", "verify", event, guests[0]))["count"] == 2
        listed.write_text(f"{guests[0]}\nnobody\n")
        fault = here.ctl("tickets", "gift", event, "--file", str(listed), *me, code=1)
        assert "line 2" in fault["error"]["message"]


def test_tickets_are_passed_on_given_back_and_their_deposits_come_back(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        friend_file, friend = here.wallet("friend")
        me, fans, friends = (("--keypair", each) for each in (artist_file, fan_file, friend_file))
        made = here.ctl("events", "create", "Sundown", "--draft", *me)
        event = made["id"]
        for name, more in (("Floor", ()), ("Named", ("--not-transferable", "--supply", "1"))):
            here.ctl("events", "add-tier", event, name, "0.25", *more, *me)
        here.ctl("events", "open", event, *me)
        here.ctl("tickets", "buy", event, "--count", "2", *fans)
        here.ctl("tickets", "buy", event, "--tier", "1", *friends)
        assert _refusal(here, "tickets", "buy", event, "--tier", "1", *fans) == "SoldOut"
        passing = ("tickets", "transfer", event, fan, "--tier", "1")
        assert _refusal(here, *passing, *friends) == "NotTransferable"
        assert _refusal(here, "tickets", "refund", event, *fans) == "NotRefundable"
        assert _refusal(here, "tickets", "transfer", event, friend, *me) == "no-ticket"
        passing = ("tickets", "transfer", event, friend)
        assert _refusal(here, *passing, "--count", "3", *fans) == "NotEnoughTickets"
        here.ctl(*passing, "--count", "2", *fans)
        assert (here.ctl("tickets", "verify", event, friend))["count"] == 3
        before = here.balance(fan)
        here.ctl("tickets", "close", event, *fans)  # it is empty
        assert here.balance(fan) > before
        assert _refusal(here, "tickets", "close", event, *friends) == "TicketNotEmpty"
        closing = ("tickets", "close", event, "--give-up", *friends)
        assert _refusal(here, *closing) == "TicketNotEmpty"  # it is not settled
        here.ctl("events", "live", event, *me)
        here.ctl("events", "end", event, *me)
        here.ctl("events", "finalize", event, *me)
        here.ctl(*closing)
        assert here.ctl("tickets", "list", event) == []


def test_a_cancelled_event_gives_tips_tickets_and_rta_back(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        me, fans = ("--keypair", artist_file), ("--keypair", fan_file)
        event = here.ctl("events", "create", "Off", "--ticket-price", "0.25", *me)["id"]
        here.ctl("tickets", "buy", event, *fans)
        here.ctl("tips", "send", event, "0.5", *fans)
        assert _refusal(here, "tips", "refund", event, *fans) == "WrongState"
        assert _refusal(here, "tips", "close", event, *fans) == "WrongState"
        here.ctl("events", "cancel", event, *me)
        assert _refusal(here, "tips", "close", event, *fans) == "RecordHasTips"
        here.ctl("tips", "refund", event, *fans)
        here.ctl("tickets", "refund", event, *fans)
        spent = 10 * SOL - here.balance(fan)
        assert spent == 4 * 5000  # fees; deposits came back
        assert _refusal(here, "tips", "refund", event, *fans) == "no-tips"
        keeper = str(Keypair().pubkey())
        here.ctl("events", "set-rta-recipient", event, keeper, *me)
        assert (here.ctl("events", "deliver", event, *me))["rta_owner"] == keeper
        assert _refusal(here, "events", "deliver", event, *me) == "AlreadyDelivered"


def test_a_tip_record_is_closed_after_the_event(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        me, fans = ("--keypair", artist_file), ("--keypair", fan_file)
        event = here.ctl("events", "create", "Tipped", *me)["id"]
        here.ctl("tips", "send", event, "0.5", *fans)
        here.ctl("events", "live", event, *me)
        here.ctl("events", "end", event, *me)
        here.ctl("events", "finalize", event, *me)
        here.ctl("tips", "close", event, *fans)
        assert 10 * SOL - here.balance(fan) == SOL // 2 + 2 * 5000


def test_one_payee_that_can_not_be_paid_holds_no_other_up(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        fan_file, _ = here.wallet("fan")
        me = ("--keypair", artist_file)
        nobody = str(Keypair().pubkey())  # has nothing, and would get less than its rent
        event = here.ctl("events", "create", "Shared", "--split", f"{nobody}=1", *me)["id"]
        here.ctl("tips", "send", event, "0.01", "--keypair", fan_file)
        here.ctl("events", "live", event, *me)
        here.ctl("events", "end", event, *me)
        here.ctl("events", "finalize", event, *me)
        done = here.ctl("events", "claim", event, *me, code=1)
        paid = {payout["payee"]: payout["claimed"] for payout in done["payouts"]}
        assert paid == {nobody: False, artist: True}
        (refused,) = done["refused"]
        assert refused["what"] == f"0.0001 SOL of tips to {nobody}"
        assert refused["code"] == "PayeeBelowRent"
        assert refused["message"]
        assert "0.001 SOL" in refused["hint"]
        assert _refusal(here, "events", "claim", event, *me) == "PayeeBelowRent"
        here.rpc("requestAirdrop", nobody, SOL)
        assert here.ctl("events", "claim", event, *me)["refused"] == []
        assert _refusal(here, "events", "claim", event, *me) == "nothing-owed"
        assert here.balance(nobody) == SOL + SOL // 100 // 100


def test_the_platform_is_set_handed_over_and_marks_events(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        owner = ("--keypair", str(here.node.home / "chain" / "authority.json"))
        here.rpc("requestAirdrop", here.ctl("platform", "show")["authority"], SOL)
        new_file, new = here.wallet("new")
        assert (
            _refusal(here, "platform", "set", "--fee", "2", "--keypair", new_file) == "Unauthorized"
        )
        shown = here.ctl("platform", "set", "--fee", "2.5", "--treasury", new, *owner)
        assert (shown["fee_bps"], shown["treasury"]) == (250, new)
        event = here.ctl("events", "create", "Premium", "--keypair", new_file)["id"]
        now = here.ctl("platform", "set-premium", event, *owner)
        assert (now["premium"], now["fee_bps"]) == (True, 250)
        assert not here.ctl("platform", "set-premium", event, "--off", *owner)["premium"]
        accepting = ("platform", "accept-authority", "--keypair", new_file)
        assert _refusal(here, *accepting) == "Unauthorized"
        here.ctl("platform", "propose-authority", new, *owner)
        assert here.ctl("platform", "show")["pending_authority"] == new
        assert here.ctl(*accepting)["authority"] == new
        assert _refusal(here, "platform", "set", "--fee", "1", *owner) == "Unauthorized"


def test_an_event_moves_to_another_node(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, artist = here.wallet("artist")
        me = ("--keypair", artist_file)
        event = here.ctl("events", "create", "Moves", *me)["id"]
        rpc = f"chain.rpc_url={here.node.words['chain']}"
        with node(tmp_path / "second", rpc, "chain.listen=") as second:
            moving = ("events", "set-stream-authority", event, *me)
            told = second.ctl(*moving, "--dry-run")
            assert len(second.ctl("rooms", "list")) == 1  # the node's own
            before = here.balance(artist)
            made = second.ctl(*moving)
            assert before - here.balance(artist) == int(told["total"])
            assert (made["id"], made["status"]) == (event, "open")
            assert made["stream_key"]
            now = second.ctl("events", "show", event)
            assert here.balance(now["stream_authority"]) == SOL // 100
            assert _refusal(here, *moving) == "room-exists"


def test_a_winner_who_refuses_the_rta_does_not_hold_the_money_up(tmp_path: Path) -> None:
    with stage(tmp_path) as here:
        artist_file, _ = here.wallet("artist")
        fan_file, fan = here.wallet("fan")
        me = ("--keypair", artist_file)
        event = here.ctl("events", "create", "Refused", *me)["id"]
        here.ctl("tips", "send", event, "0.5", "--keypair", fan_file)
        key = Keypair.from_bytes(bytes(json.loads(Path(fan_file).read_text())))
        rta = Pubkey.from_string(here.ctl("events", "show", event)["rta_mint"])
        account = token_place(key.pubkey(), rta, TOKEN_2022)
        whole = [AccountMeta(account, False, True), AccountMeta(key.pubkey(), True, True)]
        longer = [*whole, AccountMeta(SYSTEM, False, False), AccountMeta(key.pubkey(), True, False)]
        here.send(
            open_tokens(key.pubkey(), key.pubkey(), Payment(rta, TOKEN_2022)),
            Instruction(TOKEN_2022, bytes([29, 8, 0]), longer),  # Reallocate, for MemoTransfer
            Instruction(TOKEN_2022, bytes([30, 0]), whole),  # demand a memo
            by=[key],
        )
        here.ctl("events", "live", event, *me)
        here.ctl("events", "end", event, *me)
        done = here.ctl("events", "finalize", event, *me)
        assert (done["status"], done["rta_owner"], done["rta_recipient"]) == (
            "finalized",
            None,
            fan,
        )
        assert done["payouts"]
        assert _refusal(here, "events", "deliver", event, *me) == "NoMemo"
        here.send(Instruction(TOKEN_2022, bytes([30, 1]), whole), by=[key])
        assert here.ctl("events", "deliver", event, *me)["rta_owner"] == fan

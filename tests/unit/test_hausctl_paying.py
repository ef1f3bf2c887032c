"""What a command says of its payments where node, chain and terminal are not to be trusted."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from hausctl.advice import ADVICE
from hausctl.client import NotRunning, Refused
from hausctl.context import Here
from hausctl.creating import half_made
from hausctl.keys import rent_of_a_mint
from hausctl.paying import Cashier
from hausctl.previews import Cost, Step
from hausctl.wallet import KeyFile
from hausd.core.programs.messages import transfer

STOPPED = NotRunning(Path("/home"), "no node runs in /home", "start it")
BROKEN = Refused("disconnected", "the node broke the connection off")
EVENT = "4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM"
MINT_RENT = 1_461_600


class NodeByScript:
    """What the node's socket answers to ``chain send``, one after the other."""

    def __init__(self, *fates: object) -> None:
        self.fates = list(fates)
        self.bodies: list[dict[str, Any]] = []
        self.closed: list[tuple[str, ...]] = []
        self.rent = MINT_RENT
        self.event: Refused | None = Refused("no-such-event", "the chain has no such event")

    def get(self, *path: str) -> Any:
        if path[0] == "events":
            if self.event is not None:
                raise self.event
            return {}
        names = ("event_factory", "ticket_factory", "live_tipping")
        programs = {name: str(Keypair().pubkey()) for name in names}
        return {"genesis": str(Hash.default()), "embedded": True, **programs}

    def post(self, *path: str, body: dict[str, Any] | None = None) -> Any:
        if path[-1] == "close":
            self.closed.append(path)
            return {}
        assert path == ("chain", "plan")
        assert body is not None
        return {
            "blockhash": str(Hash.default()),
            "last_valid_block_height": 150,
            "units": 1000,
            "unit_price": 0,
            "fee": "5000",
            "rents": [str(self.rent)] * len(body["sizes"]),
        }

    def lines(self, method: str, *path: str, body: dict[str, Any]) -> Iterator[Any]:
        self.bodies.append(dict(body))
        fate = self.fates.pop(0)
        if isinstance(fate, BaseException):
            raise fate
        yield {"result": fate}

    @property
    def signature(self) -> str:
        signed = base64.b64decode(self.bodies[0]["transaction"])
        return str(VersionedTransaction.from_bytes(signed).signatures[0])


def here(node: NodeByScript, *, json: bool = True) -> Here:
    made = Here(Path("/home"), json)
    made.__dict__["client"] = node
    return made


def cashier(node: NodeByScript, *, json: bool = True) -> Cashier:
    return Cashier(here(node, json=json), KeyFile(Keypair()), yes=True, dry=False)


def pay(node: NodeByScript, what: str = "A gift", *, json: bool = True) -> list[Any]:
    paying = cashier(node, json=json)
    gift = transfer(paying.wallet.address, Pubkey.default(), 1)
    return paying.pay(Step(what, [gift], [Cost("Gift", 1)]))


@pytest.mark.parametrize(
    "fates",
    [
        [BROKEN, STOPPED],
        [BROKEN, Refused("no-programs", "this chain has no EventFactory")],
        [Refused("timeout", "the node doesn't answer")] * 5,
        [Refused("internal", "the node failed at this")] * 5,
        [Refused("bad-answer", "the node broke off within its answer")] * 5,
        [KeyboardInterrupt()],
    ],
    ids=["stops", "other chain", "slow", "fails", "breaks off", "Ctrl-C"],
)
def test_what_may_be_on_its_way_is_to_be_looked_up_under_its_signature(
    fates: Sequence[BaseException],
) -> None:
    node = NodeByScript(*fates, *[STOPPED] * 5)
    with pytest.raises(Refused) as caught:
        pay(node)
    assert caught.value.code == "unknown"
    assert node.signature in caught.value.message
    assert "before you pay again" in caught.value.hint
    assert len({body["transaction"] for body in node.bodies}) == 1


def test_a_node_that_never_ran_was_paid_nothing_through() -> None:
    with pytest.raises(NotRunning):
        pay(NodeByScript(STOPPED))


@pytest.mark.parametrize("code", ["internal", "bad-answer", "disconnected", "chain-unavailable"])
def test_a_payment_is_taken_up_again_where_the_node_failed_at_it(code: str) -> None:
    node = NodeByScript(Refused(code, "?"), {"signature": "S"})
    assert pay(node) == [{"signature": "S"}]
    assert [body.get("resumed", False) for body in node.bodies] == [False, True]


@pytest.mark.parametrize("code", ["SoldOut", "custom-6000", "bad-transaction"])
def test_what_the_chain_refuses_is_refused_whenever_it_says_so(code: str) -> None:
    for before in ([], [BROKEN]):
        with pytest.raises(Refused) as caught:
            pay(NodeByScript(*before, Refused(code, "?")))
        assert caught.value.code == code


@pytest.mark.parametrize("json", [False, True])
def test_the_signature_is_said_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str], json: bool
) -> None:
    said: list[str] = []

    class Watched(NodeByScript):
        def lines(self, method: str, *path: str, body: dict[str, Any]) -> Iterator[Any]:
            said.append(capsys.readouterr().err)
            return super().lines(method, *path, body=body)

    node = Watched({})
    pay(node, json=json)
    assert f"Sending transaction {node.signature}\n" in said[0]


def test_of_several_what_is_refused_is_told_with_a_way_out_before_the_others_are_signed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []

    class Choosy(NodeByScript):
        """Refuses the first at its rehearsal, the second when it is sent."""

        plans = 0

        def post(self, *path: str, body: dict[str, Any] | None = None) -> Any:
            self.plans += 1
            if self.plans == 1:
                raise Refused("PayeeBelowRent", "The payee would have too little.")
            return super().post(*path, body=body)

        def lines(self, method: str, *path: str, body: dict[str, Any]) -> Iterator[Any]:
            said.append(capsys.readouterr().err)
            return super().lines(method, *path, body=body)

    node = Choosy(Refused("AlreadyClaimed", "It was paid."), {"signature": "S"})
    paying = cashier(node, json=False)
    gift = transfer(paying.wallet.address, Pubkey.default(), 1)
    outcomes = paying.pay_each(*(Step(f"To {name}", [gift]) for name in "abc"))
    assert [each.refused.code if each.refused else each.sent for each in outcomes] == [
        "PayeeBelowRent",
        "AlreadyClaimed",
        {"signature": "S"},
    ]
    first = f"To a: not done, The payee would have too little.\n  {ADVICE['PayeeBelowRent']}\n"
    assert said[0].startswith(first)
    assert f"To b: not done, It was paid.\n  {ADVICE['AlreadyClaimed']}\n" in said[1]


def test_what_others_wrote_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    pay(NodeByScript({}), "Grüße \x1b[2J\r\x9b1A \u202eto you", json=False)
    told = capsys.readouterr().err
    assert "Grüße" in told
    assert all(each.isprintable() for each in told.replace("\n", ""))


@pytest.mark.parametrize("code", ["expired", "WrongStatus", "signer-refuses"])
def test_the_room_of_an_event_that_never_will_be_is_closed(code: str) -> None:
    node = NodeByScript()
    refused = Refused(code, "?", "a way out")
    assert half_made(here(node), EVENT, refused) is refused
    assert node.closed == [("rooms", EVENT, "close")]


@pytest.mark.parametrize("code", ["unknown", "not-running", "chain-unavailable", "timeout"])
@pytest.mark.parametrize("asked", ["no-such-event", "not-running"])
def test_the_room_of_an_event_that_may_yet_be_stays(code: str, asked: str) -> None:
    node = NodeByScript()
    node.event = Refused(asked, "?")
    told = half_made(here(node), EVENT, Refused(code, "?", "look it up before you pay again"))
    assert not node.closed
    assert told.code == code
    assert "may yet come to be" in told.hint
    assert "before you pay again" in told.hint


def test_what_is_on_the_chain_goes_on_as_a_draft() -> None:
    node = NodeByScript()
    node.event = None
    told = half_made(here(node), EVENT, Refused("unknown", "?"))
    assert not node.closed
    assert "draft" in told.hint


def test_no_more_is_put_into_a_mint_than_it_takes() -> None:
    node = NodeByScript()
    assert rent_of_a_mint(cashier(node)) == MINT_RENT
    node.rent = MINT_RENT // 10
    assert rent_of_a_mint(cashier(node)) == MINT_RENT // 10
    node.rent = MINT_RENT + 1
    with pytest.raises(Refused) as caught:
        rent_of_a_mint(cashier(node))
    assert caught.value.code == "bad-rent"

"""Each account, each signature and each byte of a pot's instructions matters.

Every instruction is made so that it would succeed; then one thing of it is changed, and it has to
fail. What may be changed without harm stands in ``_MAY`` with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.programs.addresses import (
    COMPUTE_BUDGET,
    TOKEN,
    TOKEN_2022,
    pot_tokens_place,
)
from tests.support.pots import (
    BUILD,
    LOTS,
    PROGRAMS,
    TIER,
    Pots,
    Refused,
    payouts_data,
    tier_data,
)
from tests.support.tokens import Coin

_WRONG_ACCOUNT, _NOT_THE_EVENT = 6100, 6101
_Made = tuple[Instruction, list[Keypair]]
_MOST = 2**64 - 1


def _bought(pots: Pots, count: int = 2) -> Keypair:
    buyer = pots.fan()
    pots.buy(buyer, count)
    return buyer


def _tipped(pots: Pots) -> Keypair:
    tipper = pots.fan()
    pots.tip(tipper, 50_000_000)
    return tipper


def _buy(pots: Pots) -> _Made:
    buyer = _bought(pots)
    return pots.buying(buyer), [buyer]


def _buy_first(pots: Pots) -> _Made:
    buyer = pots.fan()
    return pots.buying(buyer), [buyer]


def _gift(pots: Pots) -> _Made:
    guest = pots.person().pubkey()
    return BUILD.gift(pots.artist.pubkey(), pots.event.address, guest, 0, 1), [pots.artist]


def _transfer(pots: Pots) -> _Made:
    holder, other = _bought(pots), _bought(pots)
    sent = BUILD.transfer(holder.pubkey(), pots.event.address, other.pubkey(), 0, 1)
    return sent, [holder]


def _refund(pots: Pots) -> _Made:
    holder = _bought(pots)
    who = holder.pubkey()
    return BUILD.refund_ticket(who, pots.event.address, who, 0, 2, pots.payment), [holder]


def _claim_sale(pots: Pots) -> _Made:
    holder = _bought(pots)
    pots.sale_told("close_sale")
    artist = pots.artist.pubkey()
    pots.sale_told("settle", payouts_data([(artist, 2 * TIER.price)]))
    return BUILD.claim_sale(pots.event.address, artist, 0, pots.payment), [holder]


def _close_ticket(pots: Pots) -> _Made:
    holder = _bought(pots)
    pots.sale_told("close_sale")
    pots.sale_told("settle", payouts_data([(pots.artist.pubkey(), 2 * TIER.price)]))
    return pots.close_ticket(holder.pubkey(), holder.pubkey(), signed=True), [holder]


def _open_record(pots: Pots) -> _Made:
    tipper = pots.person()
    who = tipper.pubkey()
    return BUILD.open_record(who, pots.event.address, who), [tipper]


def _tip(pots: Pots) -> _Made:
    tipper = _tipped(pots)
    tip = BUILD.tip(tipper.pubkey(), pots.event.address, 20_000_000, "encore", pots.payment)
    return tip, [tipper]


def _claim_tips(pots: Pots) -> _Made:
    tipper = _tipped(pots)
    pots.vault_told("close_vault")
    artist = pots.artist.pubkey()
    pots.vault_told("settle", payouts_data([(artist, 50_000_000)]))
    return BUILD.claim_tips(pots.event.address, artist, 0, pots.payment), [tipper]


def _refund_tips(pots: Pots) -> _Made:
    tipper = _tipped(pots)
    pots.vault_told("cancel_vault")
    who = tipper.pubkey()
    return BUILD.refund_tips(who, pots.event.address, who, pots.payment), [tipper]


def _close_record(pots: Pots) -> _Made:
    tipper = _tipped(pots)
    pots.vault_told("close_vault")
    pots.vault_told("settle", payouts_data([(pots.artist.pubkey(), 50_000_000)]))
    return pots.close_record(tipper.pubkey(), tipper.pubkey()), [tipper]


_INSTRUCTIONS: dict[str, Callable[[Pots], _Made]] = {
    "buy": _buy,
    "buy_first": _buy_first,
    "gift": _gift,
    "transfer": _transfer,
    "refund": _refund,
    "claim_sale": _claim_sale,
    "close_ticket": _close_ticket,
    "open_record": _open_record,
    "tip": _tip,
    "claim_tips": _claim_tips,
    "refund_tips": _refund_tips,
    "close_record": _close_record,
}
_MAY = {
    ("open_record", 0): "anyone may pay for another's record",
    ("transfer", 5): "where both have tickets already, the system program is not called",
}
_MAY_IN_SOL = {
    ("buy", 0): "anyone may pay for another's tickets",
    ("buy_first", 0): "anyone may pay for another's tickets",
}
_MAY_IN_TOKENS = {
    ("buy", 4): "where there is a ticket already, the system program is not called",
    ("tip", 3): "the system program is not called",
}
_PAID_IN = {"SOL": None, "SPL Token": TOKEN, "Token-2022": TOKEN_2022}


@pytest.fixture(params=_PAID_IN.values(), ids=_PAID_IN.keys())
def pots(request: pytest.FixtureRequest) -> Pots:
    return Pots.opened(token_program=request.param)


def _may(pots: Pots, name: str, index: int) -> bool:
    more = _MAY_IN_SOL if pots.coin is None else _MAY_IN_TOKENS
    return (name, index) in _MAY or (name, index) in more


def _fakes(pots: Pots, other: Pots, meta: AccountMeta) -> Iterator[tuple[str, Pubkey]]:
    """What an attacker would put in an account's place."""
    yield "a wallet", pots.person().pubkey()
    yield "another event's sale", other.places.sale.address
    yield "another event's vault", other.places.vault.address
    yield "the pot of the other kind", pots.places.sale.address
    yield "the pot of the other kind", pots.places.vault.address
    found = pots.svm.get_account(meta.pubkey)
    if found is not None and len(found.data) > 0 and not found.executable:
        copy = Pubkey.new_unique()
        data = bytes(found.data)
        pots.svm.set_account(copy, Account(found.lamports, data, PROGRAMS.event_factory))
        yield "the same data of a hostile program", copy
    if pots.coin is not None:
        yield from _token_fakes(pots, other, pots.coin)


def _token_fakes(pots: Pots, other: Pots, coin: Coin) -> Iterator[tuple[str, Pubkey]]:
    for each, what in ((pots, "this"), (other, "another")):
        for pot in (each.places.sale.address, each.places.vault.address):
            yield (
                f"the tokens of a pot of {what} event's",
                pot_tokens_place(pot, coin.token_program),
            )
    yield "a token program that does nothing, and says that it did", COMPUTE_BUDGET
    yield "a stranger's tokens", coin.give(pots.person().pubkey(), LOTS)
    yield "a pot's tokens at another address", coin.opened(pots.places.sale.address)
    yield "a pot's tokens at another address", coin.opened(pots.places.vault.address)
    for program in (TOKEN, TOKEN_2022):
        false = Coin.made(pots, program)
        yield "another mint", false.mint
        yield "another token program", program
        yield "the artist's tokens of another mint", false.opened(pots.artist.pubkey())


def _with(made: Instruction, index: int, meta: AccountMeta) -> Instruction:
    accounts = list(made.accounts)
    accounts[index] = meta
    return Instruction(made.program_id, bytes(made.data), accounts)


def _refused(pots: Pots, made: Instruction, by: list[Keypair], what: str) -> None:
    try:
        pots.send(made, by=by)
    except Refused:
        return
    raise AssertionError(f"not refused: {what}")


@pytest.mark.parametrize("name", _INSTRUCTIONS)
def test_it_succeeds_as_it_is_meant(pots: Pots, name: str) -> None:
    made, by = _INSTRUCTIONS[name](pots)
    pots.send(made, by=by)


@pytest.mark.parametrize("name", _INSTRUCTIONS)
def test_no_account_can_be_another(pots: Pots, name: str) -> None:
    made, by = _INSTRUCTIONS[name](pots)
    other = Pots.opened(beside=pots)
    for index, meta in enumerate(made.accounts):
        if _may(pots, name, index) or meta.is_signer:
            continue
        for what, fake in _fakes(pots, other, meta):
            if fake == meta.pubkey:
                continue
            changed = _with(made, index, AccountMeta(fake, False, meta.is_writable))
            _refused(pots, changed, by, f"{what} as account {index} of {name}")


@pytest.mark.parametrize("name", _INSTRUCTIONS)
def test_account_of_another_form_is_not_read(pots: Pots, name: str) -> None:
    """At its own place, of its own program: of another length, kind or version."""
    made, by = _INSTRUCTIONS[name](pots)
    for index, meta in enumerate(made.accounts):
        found = pots.svm.get_account(meta.pubkey)
        if found is None or found.owner not in PROGRAMS:
            continue
        data = bytes(found.data)
        for other in (data + b"\0", bytes([data[0] ^ 1]) + data[1:], data[:8] + b"\2" + data[9:]):
            pots.svm.set_account(meta.pubkey, Account(found.lamports, other, found.owner))
            _refused(pots, made, by, f"another form of account {index} of {name}")
        pots.svm.set_account(meta.pubkey, found)
    pots.send(made, by=by)


@pytest.mark.parametrize("name", _INSTRUCTIONS)
def test_what_is_written_has_to_be_writable(pots: Pots, name: str) -> None:
    made, by = _INSTRUCTIONS[name](pots)
    for index, meta in enumerate(made.accounts):
        keys = [by[0].pubkey(), *(each.pubkey for each in made.accounts)]
        if not meta.is_writable or keys.count(meta.pubkey) > 1:
            continue
        if name.startswith("claim") and index == 1 and len(made.accounts) > 2:
            continue  # a payee's wallet, where they are paid in tokens
        fixed = _with(made, index, AccountMeta(meta.pubkey, meta.is_signer, False))
        why = pots.why_not(fixed, by=by)
        if name.startswith("claim") and index < 2:  # in others the runtime may say it
            assert why == _WRONG_ACCOUNT


@pytest.mark.parametrize("name", _INSTRUCTIONS)
def test_nobody_signs_for_another(pots: Pots, name: str) -> None:
    made, _ = _INSTRUCTIONS[name](pots)
    stranger = pots.person()
    for index, meta in enumerate(made.accounts):
        if not meta.is_signer:
            continue
        unsigned = _with(made, index, AccountMeta(meta.pubkey, False, meta.is_writable))
        _refused(pots, unsigned, [stranger], f"account {index} of {name} unsigned")
        if not _may(pots, name, index):
            theirs = _with(made, index, AccountMeta(stranger.pubkey(), True, meta.is_writable))
            _refused(pots, theirs, [stranger], f"a stranger as account {index} of {name}")


@pytest.mark.parametrize("name", _INSTRUCTIONS)
def test_no_account_stands_twice(pots: Pots, name: str) -> None:
    made, by = _INSTRUCTIONS[name](pots)
    for index, meta in enumerate(made.accounts):
        for double in made.accounts:
            if double.pubkey == meta.pubkey or _may(pots, name, index) or meta.is_signer:
                continue
            changed = _with(made, index, AccountMeta(double.pubkey, False, meta.is_writable))
            _refused(pots, changed, by, f"{double.pubkey} twice, as account {index} of {name}")


@pytest.mark.parametrize("name", _INSTRUCTIONS)
def test_every_account_is_needed(pots: Pots, name: str) -> None:
    made, by = _INSTRUCTIONS[name](pots)
    needed = len([each for each in made.accounts if each.pubkey != made.program_id])
    for length in range(needed):
        short = Instruction(made.program_id, bytes(made.data), list(made.accounts[:length]))
        _refused(pots, short, by, f"{name} with {length} accounts")


@pytest.mark.parametrize("name", _INSTRUCTIONS)
def test_every_byte_of_data_is_needed_and_none_more(pots: Pots, name: str) -> None:
    made, by = _INSTRUCTIONS[name](pots)
    data = bytes(made.data)
    for changed in (b"", data[:4], data[:-1], data + b"\0", bytes(8) + data[8:]):
        _refused(pots, Instruction(made.program_id, changed, made.accounts), by, changed.hex())


_PRIVILEGED = [
    (PROGRAMS.ticket_factory, "add_tier", tier_data(TIER)),
    (PROGRAMS.ticket_factory, "open_sale", b""),
    (PROGRAMS.ticket_factory, "close_sale", b""),
    (PROGRAMS.ticket_factory, "settle", payouts_data([])),
    (PROGRAMS.ticket_factory, "cancel_sale", b""),
    (PROGRAMS.live_tipping, "open_vault", b""),
    (PROGRAMS.live_tipping, "set_close", (2**40).to_bytes(8, "little") * 2),
    (PROGRAMS.live_tipping, "close_vault", b""),
    (PROGRAMS.live_tipping, "settle", payouts_data([])),
    (PROGRAMS.live_tipping, "cancel_vault", b""),
]


@pytest.mark.parametrize(("program", "name", "data"), _PRIVILEGED)
def test_only_the_event_itself_tells_its_pots(program: Pubkey, name: str, data: bytes) -> None:
    pots = Pots.opened()
    other = Pots.opened(beside=pots)
    places = pots.places
    pot = (places.sale if program == PROGRAMS.ticket_factory else places.vault).address
    told = pots.told(program, pot, name, data)
    unsigned = _with(told, 1, AccountMeta(pots.event.address, False, False))
    assert pots.why_not(unsigned, by=pots.artist) == _NOT_THE_EVENT
    theirs = _with(told, 1, AccountMeta(other.event.address, True, False))
    assert pots.why_not(other.relayed(theirs), by=pots.artist) == _NOT_THE_EVENT
    artists = _with(told, 1, AccountMeta(pots.artist.pubkey(), True, False))
    assert pots.why_not(artists, by=pots.artist) == _NOT_THE_EVENT


def test_a_wallet_is_no_event() -> None:
    pots = Pots.opened()
    for made in (pots.init_sale(), pots.init_vault()):
        inner = made.accounts[0].pubkey
        wallet = pots.person()
        data = bytes(made.data)
        accounts = list(made.accounts[1:])
        accounts[2] = AccountMeta(wallet.pubkey(), True, False)
        start = 1 + 1 + 8 + 1 + len(accounts)
        direct = Instruction(inner, data[start:], accounts)
        assert pots.why_not(direct, by=[pots.artist, wallet]) == _NOT_THE_EVENT


def test_a_pot_is_made_once() -> None:
    pots = Pots.opened()
    for made in (pots.init_sale(), pots.init_vault()):
        assert pots.why_not(made, by=pots.artist) == "AccountAlreadyInitialized"
    assert pots.why_not(pots.made_event(), by=pots.artist) == "AccountAlreadyInitialized"


def test_lamports_sent_ahead_keep_nobody_from_a_ticket_or_a_record() -> None:
    pots = Pots.opened()
    for ahead in (1, 890_880, 10**9):
        buyer = pots.person()
        buy = pots.buying(buyer)
        record = BUILD.open_record(buyer.pubkey(), pots.event.address, buyer.pubkey())
        for place in (buy.accounts[2].pubkey, record.accounts[2].pubkey):
            pots.svm.airdrop(place, ahead)
        pots.send(buy, record, by=buyer)
        pots.tip(buyer, 5_000)
        assert pots.ticket(buyer).paid[0] == 1
        assert pots.record(buyer).total == 5_000


def test_a_closed_account_does_not_come_back() -> None:
    pots = Pots.opened()
    made, by = _refund_tips(pots)
    [tipper] = by
    opened = BUILD.open_record(tipper.pubkey(), pots.event.address, tipper.pubkey())
    assert pots.why_not(made, opened, by=by) == 6001
    assert pots.why_not(made, made, by=by) == 6100
    pots.send(made, by=by)
    assert pots.why_not(made, by=by) == 6100


def test_a_callers_program_can_be_hostile_and_gains_nothing() -> None:
    """By way of the puppet: a tip, whose tipper signed the outer instruction, is one tip."""
    pots = Pots.opened()
    tipper = pots.person()
    pots.record_opened(tipper)
    tip = BUILD.tip(tipper.pubkey(), pots.event.address, 5_000, "")
    pots.send(pots.relayed(tip, tipper.pubkey()), by=tipper)
    assert pots.record(tipper).total == pots.holds(pots.places.vault.address) == 5_000
    unsigned = pots.relayed(tip)
    assert pots.why_not(unsigned, by=pots.artist) != 0

"""Which mints an event can be paid in, and why not in the others."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import NOBODY, EventAccount
from hausd.core.programs.addresses import (
    EMBEDDED,
    SYSTEM,
    TOKEN,
    TOKEN_2022,
    EventPlaces,
    event_place,
    pot_tokens_place,
)
from hausd.core.programs.idl import idl
from hausd.core.programs.instructions import NewEvent
from hausd.core.programs.payments import SOL, Payment
from tests.support.programs import BUILT, MANIFEST, NOW, TIER, ProgramChain, Refused, Show
from tests.support.tokens import ACCOUNT_BYTES, HARMFUL, HARMLESS, Coin, set_data

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")
CODES = {fault.name: number for number, fault in idl("event_factory").errors.items()}
WELL_KNOWN = {
    "USDC": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
    "EURC": "HzwqbKZw8HxMN6bF2yFZNrht3c2iXXzpKcFu7uBEDKtr",
    "USDT": "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB",
    "USDC for development": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
}
NONCE = b"t" * 16
# Token-2022 has them, but the runtime of the tests makes none: by the error that refuses them
RAW = {
    16: "MintConfidential",
    24: "MintConfidential",
    25: "MintScales",
    26: "MintPausable",
    28: "MintExtended",
    999: "MintExtended",
}


def creating(chain: ProgramChain, payment: Payment) -> tuple[Instruction, Keypair]:
    artist = chain.person()
    who = artist.pubkey()
    new = NewEvent("Tokens", NOW + 60, NOW + 7_200, 0, who, MANIFEST, payment)
    return chain.build.create_event(who, NONCE, new), artist


def why_not(chain: ProgramChain, payment: Payment) -> int | str:
    made, artist = creating(chain, payment)
    return chain.why_not(made, by=artist)


def raw_mint(chain: ProgramChain, extensions: bytes) -> Payment:
    """A mint of Token-2022 with these bytes of extensions."""
    coin = Coin.made(chain, TOKEN_2022)
    mint = chain.data(coin.mint)
    data = mint + bytes(ACCOUNT_BYTES - len(mint)) + b"\1" + extensions
    chain.put(coin.mint, TOKEN_2022, data)
    return coin.payment


def entry(kind: int, length: int = 4) -> bytes:
    return kind.to_bytes(2, "little") + length.to_bytes(2, "little") + bytes(length)


@pytest.mark.parametrize("fault", HARMFUL)
def test_a_mint_that_can_take_or_lock_what_was_paid_is_refused(fault: str) -> None:
    chain = ProgramChain()
    freezer = chain.person().pubkey() if fault == "MintFreezesNew" else None
    coin = Coin.made(chain, TOKEN_2022, HARMFUL[fault], freezer=freezer)
    assert why_not(chain, coin.payment) == CODES[fault]


@pytest.mark.parametrize("fault", ["MintTakesFees", "MintHasHook"])
def test_what_harms_is_found_behind_what_does_not(fault: str) -> None:
    chain = ProgramChain()
    coin = Coin.made(chain, TOKEN_2022, *HARMLESS.values(), HARMFUL[fault])
    assert why_not(chain, coin.payment) == CODES[fault]


@pytest.mark.parametrize("kind", RAW)
def test_an_extension_that_is_not_known_to_be_harmless_is_refused(kind: int) -> None:
    chain = ProgramChain()
    assert why_not(chain, raw_mint(chain, entry(18, 64) + entry(kind))) == CODES[RAW[kind]]


def test_extensions_that_are_cut_short_are_no_mint() -> None:
    chain = ProgramChain()
    short = raw_mint(chain, entry(18, 64)[:-1])
    assert why_not(chain, short) == CODES["NotAMint"]


@pytest.mark.parametrize("program", [TOKEN, TOKEN_2022])
def test_a_mint_that_freezes_is_refused_until_that_is_given_up(program: Pubkey) -> None:
    chain = ProgramChain()
    freezer = chain.person()
    coin = Coin.made(chain, program, freezer=freezer.pubkey())
    assert why_not(chain, coin.payment) == CODES["MintFreezes"]
    metas = [AccountMeta(coin.mint, False, True), AccountMeta(freezer.pubkey(), True, False)]
    chain.send(Instruction(program, bytes([6, 1, 0]), metas), by=freezer)
    made, artist = creating(chain, coin.payment)
    chain.send(made, by=artist)


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_the_well_known_may_freeze(name: str) -> None:
    chain = ProgramChain()
    coin = Coin.made(chain, TOKEN, freezer=chain.person().pubkey())
    coin = coin.moved(Pubkey.from_string(WELL_KNOWN[name]))
    show = Show.opened(chain, payment=coin.payment)
    fan = chain.person()
    coin.give(fan.pubkey(), TIER.price)
    show.buy(fan)
    assert show.sale.proceeds == TIER.price


def test_a_well_known_mint_may_do_no_more_than_freeze() -> None:
    chain = ProgramChain()
    coin = Coin.made(chain, TOKEN_2022, HARMFUL["MintHasDelegate"])
    coin = coin.moved(Pubkey.from_string(WELL_KNOWN["USDC"]))
    assert why_not(chain, coin.payment) == CODES["MintHasDelegate"]


def test_a_mint_is_of_one_of_the_two_token_programs() -> None:
    chain = ProgramChain()
    coin = Coin.made(chain, TOKEN)
    false = Pubkey.new_unique()
    chain.put(false, EMBEDDED.event_factory, chain.data(coin.mint))
    theirs = Payment(false, EMBEDDED.ticket_factory)
    assert why_not(chain, theirs) == CODES["UnknownTokenProgram"]
    assert why_not(chain, Payment(coin.mint, TOKEN_2022)) == CODES["WrongAccount"]
    nothing = Payment(Keypair().pubkey(), TOKEN)
    assert why_not(chain, nothing) == CODES["UnknownTokenProgram"]


@pytest.mark.parametrize("program", [TOKEN, TOKEN_2022])
def test_what_is_no_mint_is_refused(program: Pubkey) -> None:
    chain = ProgramChain()
    coin = Coin.made(chain, program)
    for account in (
        coin.opened(chain.person().pubkey()),
        coin.another(chain.person().pubkey()),
    ):
        assert why_not(chain, Payment(account, program)) == CODES["NotAMint"]
    unready = Coin.made(chain, program)
    set_data(chain, unready.mint, 45, b"\0")
    assert why_not(chain, unready.payment) == CODES["NotAMint"]
    longer = Pubkey.new_unique()
    chain.put(longer, program, chain.data(coin.mint) + b"\0")
    assert why_not(chain, Payment(longer, program)) == CODES["NotAMint"]


def test_spl_tokens_mint_has_no_extensions() -> None:
    chain = ProgramChain()
    mint = raw_mint(chain, entry(18, 64)).mint
    chain.put(mint, TOKEN, chain.data(mint))
    assert why_not(chain, Payment(mint, TOKEN)) == CODES["NotAMint"]


@pytest.mark.parametrize("index", [12, 13, 14, 15])
def test_an_event_is_made_with_its_own_token_accounts_alone(index: int) -> None:
    chain = ProgramChain()
    coin, other = Coin.made(chain, TOKEN), Coin.made(chain, TOKEN_2022)
    show = Show.draft(chain, payment=coin.payment)
    made, artist = creating(chain, coin.payment)
    for fake in (
        other.token_program,
        coin.opened(artist.pubkey()),
        pot_tokens_place(show.places.sale.address, TOKEN),
        pot_tokens_place(event_places(artist).sale.address, TOKEN_2022),
        Keypair().pubkey(),
        made.program_id,
    ):
        metas = list(made.accounts)
        metas[index] = AccountMeta(fake, False, metas[index].is_writable)
        changed = Instruction(made.program_id, bytes(made.data), metas)
        chain.why_not(changed, by=artist)
    for length in (13, 14, 15):
        short = Instruction(made.program_id, bytes(made.data), made.accounts[:length])
        assert chain.why_not(short, by=artist) == CODES["PaidInTokens"]
    chain.send(made, by=artist)


def event_places(artist: Keypair) -> EventPlaces:
    return EventPlaces.of(EMBEDDED, event_place(EMBEDDED, artist.pubkey(), NONCE).address)


def test_lamports_sent_ahead_keep_no_token_account_from_being_made() -> None:
    for ahead in (1_000_000, 10**9):
        chain = ProgramChain()
        coin = Coin.made(chain, TOKEN)
        made, artist = creating(chain, coin.payment)
        for place in (made.accounts[14].pubkey, made.accounts[15].pubkey):
            chain.svm.set_account(place, Account(ahead, b"", Pubkey.default()))
        chain.send(made, by=artist)


def test_left_out_accounts_are_the_program_itself_or_nothing() -> None:
    """As anchorpy and Anchor's own client leave them out."""
    chain = ProgramChain()
    made, artist = creating(chain, SOL)
    nothing = [AccountMeta(made.program_id, False, False)] * 4
    chain.send(
        Instruction(made.program_id, bytes(made.data), [*made.accounts, *nothing]), by=artist
    )
    address = event_place(EMBEDDED, artist.pubkey(), NONCE).address
    event = chain.read(EventAccount, address)
    assert event.mint == event.token_program == Pubkey.default()


def test_the_system_program_is_no_mint() -> None:
    """Its address is what stands for SOL."""
    chain = ProgramChain()
    made, artist = creating(chain, SOL)
    false = [AccountMeta(SYSTEM, False, False)] * 2 + [AccountMeta(NOBODY, False, True)] * 2
    zero = Instruction(made.program_id, bytes(made.data), [*made.accounts, *false])
    assert chain.why_not(zero, by=artist) == CODES["PaidInSol"]


_FAULTS = RAW | {each.number: fault for fault, each in HARMFUL.items()}


def expected(extensions: bytes) -> str | None:
    """What the program should say of these bytes: the first that does harm, in plain Python."""
    at = 0
    while len(extensions) - at >= 4:
        kind = int.from_bytes(extensions[at : at + 2], "little")
        at += 4 + int.from_bytes(extensions[at + 2 : at + 4], "little")
        if kind == 0:
            return None
        if not 18 <= kind <= 23:
            return _FAULTS.get(kind, "MintExtended")
        if at > len(extensions):
            return "NotAMint"
    return None


_ENTRIES = st.builds(entry, st.integers(0, 30) | st.sampled_from([18, 19]), st.integers(0, 40))


@settings(max_examples=150, deadline=None)
@given(
    extensions=st.lists(_ENTRIES, max_size=5).map(b"".join) | st.binary(max_size=60),
    cut=st.integers(0, 6),
)
def test_whatever_extensions_say_the_program_reads_them_as_a_model_does(
    extensions: bytes, cut: int
) -> None:
    chain, why = one_chain(), None
    untrusted = extensions[: len(extensions) - cut]
    made, artist = creating(chain, raw_mint(chain, untrusted))
    try:
        chain.send(made, by=artist)
    except Refused as refused:
        why = refused.why
    fault = expected(untrusted)
    if fault:
        assert why == CODES[fault]
    else:  # what the token program itself makes of bytes that are let in is its business
        assert why not in CODES.values()


@cache
def one_chain() -> ProgramChain:
    return ProgramChain()

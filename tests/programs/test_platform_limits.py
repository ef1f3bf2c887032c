"""What the platform's instructions, schedules, shares and mints refuse by a word of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from hausd.core.programs.addresses import COMPUTE_BUDGET, EMBEDDED, TOKEN_2022, config_place
from hausd.core.programs.idl import idl
from hausd.core.programs.instructions import Share
from tests.programs.test_event_factory_refusals import (
    CODES,
    DAY,
    Fresh,
    Scene,
    platform,
    without_right,
)
from tests.programs.test_tokens_mints import raw_mint, why_not
from tests.support.programs import BUILT, NOW, ProgramChain, Show
from tests.support.tokens import ACCOUNT_BYTES

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")


def told(chain: ProgramChain, show: Show, new: Keypair) -> Iterator[tuple[Instruction, Keypair]]:
    """What the platform is told, each once, and by whom."""
    by = chain.authority
    fee = {"fee_bps": 100, "treasury": chain.treasury.pubkey()}
    yield platform(chain, "set_config", by, **fee), by
    accounts = {"authority": by.pubkey(), "config": config_place(EMBEDDED).address}
    accounts["event"] = show.address
    factory = EMBEDDED.event_factory
    yield idl("event_factory").build(factory, "set_premium", accounts, {"premium": True}), by
    yield platform(chain, "propose_authority", by, new=new.pubkey()), by
    yield platform(chain, "accept_authority", new), new


def test_the_platform_is_told_just_what_there_is_to_tell_by_who_signs() -> None:
    chain = ProgramChain()
    new, stranger = chain.person(), chain.person()
    for made, by in told(chain, Show.draft(chain), new):
        more = Instruction(made.program_id, bytes(made.data) + b"\0", made.accounts)
        assert chain.why_not(more, by=by) == CODES["BadData"]
        unsigned = without_right(made, 0, "signer")
        assert chain.why_not(unsigned, by=stranger) == CODES["Unauthorized"]
        chain.send(made, by=by)


def test_a_deployment_is_set_up_with_just_what_there_is_to_tell() -> None:
    fresh = Fresh()
    made = fresh.initialize(fresh.upgrader)
    more = Instruction(made.program_id, bytes(made.data) + b"\0", made.accounts)
    assert fresh.chain.why_not(more, by=fresh.upgrader) == CODES["BadData"]


def test_only_the_loaders_account_says_who_may_upgrade_a_program() -> None:
    fresh = Fresh()
    fresh.chain.put(fresh.data, fresh.stranger.pubkey(), fresh.chain.data(fresh.data))
    made = fresh.initialize(fresh.upgrader)
    assert fresh.chain.why_not(made, by=fresh.upgrader) == CODES["Unauthorized"]


@pytest.mark.parametrize(
    ("starts", "ends"),
    [(NOW - 7_200, NOW), (NOW + 60, NOW + 60), (NOW + 60, NOW + 59), (NOW - 400 * DAY, NOW + 60)],
)
def test_a_schedule_is_changed_to_one_with_an_end_to_come_and_some_length(
    starts: int, ends: int
) -> None:
    scene = Scene()
    wrong = scene.build.set_schedule(scene.artist.pubkey(), scene.show.address, starts, ends)
    assert scene.chain.why_not(wrong, by=scene.artist) == CODES["BadSchedule"]


def test_an_empty_account_of_a_program_is_nobodys_wallet() -> None:
    scene, theirs = Scene(), Keypair().pubkey()
    scene.chain.put(theirs, COMPUTE_BUDGET, b"")
    split = scene.build.set_split(scene.artist.pubkey(), scene.show.address, [Share(theirs, 100)])
    assert scene.chain.why_not(split, by=scene.artist) == CODES["BadPayee"]


def test_what_says_that_it_is_another_kind_is_no_mint() -> None:
    chain = ProgramChain()
    payment = raw_mint(chain, b"")
    data = bytearray(chain.data(payment.mint))
    assert data[ACCOUNT_BYTES] == 1
    data[ACCOUNT_BYTES] = 2  # an account's
    chain.put(payment.mint, TOKEN_2022, bytes(data))
    assert why_not(chain, payment) == CODES["NotAMint"]

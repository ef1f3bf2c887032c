"""What EventFactory refuses by a word of its own, before a program that it calls would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair

from hausd.core.ids import SessionId
from hausd.core.programs.accounts import EventStatus
from hausd.core.programs.addresses import COMPUTE_BUDGET, EMBEDDED, TOKEN_2022
from hausd.core.programs.instructions import NewEvent
from tests.programs.test_event_factory_refusals import CODES, OTHER, Fresh, Scene, changed, steps
from tests.support.programs import BUILT, NOW, UPGRADEABLE_LOADER, ProgramChain

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")


def calling(scene: Scene) -> Iterator[tuple[str, EventStatus, Instruction, Keypair]]:
    """Every instruction that calls other programs."""
    artist = scene.chain.person()
    new = NewEvent("Mine", NOW + 60, NOW + 7_200, 0, artist.pubkey(), OTHER)
    create = scene.build.create_event(artist.pubkey(), b"m" * 16, new)
    yield "create_event", EventStatus.DRAFT, create, artist
    for each in steps(scene):
        if {meta.pubkey for meta in each[2].accounts} & {*EMBEDDED, TOKEN_2022}:
            yield each


def at(name: str) -> tuple[Scene, Instruction, Keypair]:
    scene = Scene()
    status, made, signer = next(rest for each, *rest in calling(scene) if each == name)
    scene.reach(status)
    return scene, made, signer


CALLING = [name for name, *_ in calling(Scene())] if BUILT else []


@pytest.mark.parametrize("name", CALLING)
def test_a_program_that_does_nothing_stands_in_for_none(name: str) -> None:
    scene, made, signer = at(name)
    expected = dict.fromkeys(EMBEDDED, CODES["WrongAccount"])
    expected[TOKEN_2022] = CODES["Unauthorized"]
    tried = 0
    for index, meta in enumerate(made.accounts):
        if meta.pubkey in expected:
            fake = changed(made, index, COMPUTE_BUDGET)
            assert scene.chain.why_not(fake, by=signer) == expected[meta.pubkey]
            tried += 1
    assert tried
    scene.chain.send(made, by=signer)


@pytest.mark.parametrize(
    ("name", "pot"), [("end_event", "vault"), ("finalize", "sale"), ("finalize", "vault")]
)
def test_another_events_pot_is_not_read(name: str, pot: str) -> None:
    scene, made, signer = at(name)
    own = getattr(scene.show.places, pot).address
    theirs = getattr(scene.other.places, pot).address
    index = [meta.pubkey for meta in made.accounts].index(own)
    assert scene.chain.why_not(changed(made, index, theirs), by=signer) == CODES["WrongAccount"]


def test_rta_is_delivered_by_who_signs_from_its_own_mint_with_a_place_for_the_rent() -> None:
    scene, made, helper = at("deliver_rta")
    chain, artist = scene.chain, scene.artist.pubkey()
    wrong = CODES["WrongAccount"]
    unsigned = list(made.accounts)
    unsigned[0] = AccountMeta(helper.pubkey(), False, True)
    plain = Instruction(made.program_id, bytes(made.data), unsigned)
    assert chain.why_not(plain, by=chain.person()) == "MissingRequiredSignature"
    others = changed(made, 2, scene.other.places.rta_mint.address)
    assert chain.why_not(others, by=helper) == wrong
    fixed = [*made.accounts[:-1], AccountMeta(artist, False, False)]
    held = Instruction(made.program_id, bytes(made.data), fixed)
    assert chain.why_not(held, by=helper) == wrong
    chain.send(made, by=helper)


@pytest.mark.parametrize("wrong", ["short", "a buffer"])
def test_only_a_programs_data_says_who_may_upgrade_it(wrong: str) -> None:
    fresh = Fresh()
    data = fresh.chain.data(fresh.data)
    other = data[:40] if wrong == "short" else b"\1" + data[1:]
    fresh.chain.put(fresh.data, UPGRADEABLE_LOADER, other)
    made = fresh.initialize(fresh.upgrader)
    assert fresh.chain.why_not(made, by=fresh.upgrader) == CODES["Unauthorized"]


@pytest.mark.parametrize("session", [SessionId(4, 9), SessionId(5, 8), SessionId(5, 10)])
def test_a_later_number_of_another_session_is_no_later_checkpoint(session: SessionId) -> None:
    scene = Scene()
    scene.reach(EventStatus.LIVE)
    show, stream = scene.show, scene.show.stream
    who, event = stream.pubkey(), show.address
    scene.chain.send(scene.build.checkpoint(who, event, OTHER, SessionId(5, 9), 7), by=stream)
    later = scene.build.checkpoint(who, event, OTHER, session, 8)
    assert scene.chain.why_not(later, by=stream) == CODES["CheckpointBehind"]


def test_an_event_is_made_of_just_what_is_told() -> None:
    chain = ProgramChain()
    artist = chain.person()
    new = NewEvent("Just", NOW + 60, NOW + 7_200, 0, artist.pubkey(), OTHER)
    create = chain.build.create_event(artist.pubkey(), b"j" * 16, new)
    more = Instruction(create.program_id, bytes(create.data) + b"\0", create.accounts)
    assert chain.why_not(more, by=artist) == CODES["BadData"]


def test_recipient_of_the_rta_is_named_after_the_end_and_before_it_is_delivered() -> None:
    scene = Scene()
    artist, build = scene.artist.pubkey(), scene.build
    name = build.set_rta_recipient(artist, scene.show.address, scene.stranger.pubkey())
    scene.reach(EventStatus.ENDED)
    assert scene.chain.why_not(name, by=scene.artist) == CODES["WrongStatus"]
    scene.show.finalize()
    scene.chain.send(build.deliver_rta(artist, scene.show.address, artist, artist), by=scene.artist)
    assert scene.chain.why_not(name, by=scene.artist) == CODES["Unauthorized"]

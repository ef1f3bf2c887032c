"""Nobody gets EventFactory to do what is not theirs, or what is not due."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.programs.accounts import EventStatus, PlatformConfig, Share
from hausd.core.programs.addresses import (
    EMBEDDED,
    SYSTEM,
    TOKEN,
    EventPlaces,
    Pda,
    config_place,
    event_place,
)
from hausd.core.programs.idl import idl
from hausd.core.programs.instructions import NewEvent
from hausd.core.programs.payments import Payment
from tests.support.programs import (
    BUILT,
    NOW,
    TIER,
    UPGRADEABLE_LOADER,
    ProgramChain,
    Show,
)

pytestmark = pytest.mark.skipif(not BUILT, reason="the programs are not built")
SOL = 10**9
DAY = 24 * 3_600
CODES = {fault.name: number for number, fault in idl("event_factory").errors.items()}
OTHER = CID.of(b"another")


def changed(instruction: Instruction, index: int, to: Pubkey) -> Instruction:
    """The instruction with another account in one place, with the same rights."""
    metas = list(instruction.accounts)
    was = metas[index]
    metas[index] = AccountMeta(to, was.is_signer, was.is_writable)
    return Instruction(instruction.program_id, bytes(instruction.data), metas)


def without_right(instruction: Instruction, index: int, right: str) -> Instruction:
    metas = list(instruction.accounts)
    was = metas[index]
    signs, writes = was.is_signer and right != "signer", was.is_writable and right != "writable"
    metas[index] = AccountMeta(was.pubkey, signs, writes)
    return Instruction(instruction.program_id, bytes(instruction.data), metas)


class Scene:
    """Two shows, of two artists, as far as a test needs them."""

    def __init__(self) -> None:
        self.chain = ProgramChain()
        self.show = Show.draft(self.chain)
        self.other = Show.draft(self.chain)
        self.stranger = self.chain.person()
        self.build = self.chain.build

    @property
    def artist(self) -> Keypair:
        return self.show.artist

    def reach(self, status: EventStatus) -> None:
        """Both shows get as far as this."""
        for show in (self.show, self.other):
            who, event = show.artist.pubkey(), show.address
            if status >= EventStatus.OPEN:
                show.artists("add_tier", self.build.add_tier(who, event, TIER))
                show.artists("open", self.build.open_event(who, event))
            if status >= EventStatus.LIVE:
                show.artists("go_live", self.build.go_live(who, event))
            if status >= EventStatus.ENDED:
                show.end()
            if status >= EventStatus.FINALIZED:
                show.finalize()


def steps(scene: Scene) -> Iterator[tuple[str, EventStatus, Instruction, Keypair]]:
    """Every instruction about an event, the status it is for, and who may give it."""
    build, show = scene.build, scene.show
    artist, stream, event = show.artist, show.stream, show.address
    who = artist.pubkey()
    split = [Share(scene.stranger.pubkey(), 100)]
    yield "add_tier", EventStatus.DRAFT, build.add_tier(who, event, TIER), artist
    yield "set_split", EventStatus.DRAFT, build.set_split(who, event, split), artist
    yield "open", EventStatus.DRAFT, build.open_event(who, event), artist
    yield "set_metadata", EventStatus.OPEN, build.set_metadata(who, event, OTHER), artist
    yield (
        "set_schedule",
        EventStatus.OPEN,
        build.set_schedule(who, event, NOW + 10, NOW + 100),
        artist,
    )
    yield (
        "set_stream_authority",
        EventStatus.OPEN,
        build.set_stream_authority(who, event, scene.stranger.pubkey()),
        artist,
    )
    yield "go_live", EventStatus.OPEN, build.go_live(stream.pubkey(), event), stream
    yield (
        "checkpoint",
        EventStatus.LIVE,
        build.checkpoint(stream.pubkey(), event, OTHER, SessionId(1, 1), 1),
        stream,
    )
    yield "end_event", EventStatus.LIVE, build.end_event(stream.pubkey(), event), stream
    yield "cancel", EventStatus.LIVE, build.cancel(who, event), artist
    yield "finalize", EventStatus.ENDED, build.finalize(who, event), artist
    yield (
        "set_recording",
        EventStatus.ENDED,
        build.set_recording(stream.pubkey(), event, OTHER),
        stream,
    )
    yield (
        "set_rta_recipient",
        EventStatus.FINALIZED,
        build.set_rta_recipient(who, event, scene.stranger.pubkey()),
        artist,
    )
    helper = scene.stranger
    delivery = build.deliver_rta(helper.pubkey(), event, who, who)
    yield "deliver_rta", EventStatus.FINALIZED, delivery, helper


NAMES = [name for name, *_ in steps(Scene())] if BUILT else []


def at_step(name: str) -> tuple[Scene, Instruction, Keypair]:
    scene = Scene()
    status, instruction, signer = next(rest for each, *rest in steps(scene) if each == name)
    scene.reach(status)
    return scene, instruction, signer


@pytest.mark.parametrize("name", NAMES)
def test_each_step_is_done_by_who_may(name: str) -> None:
    scene, instruction, signer = at_step(name)
    assert scene.chain.send(instruction, by=signer).units < 200_000


@pytest.mark.parametrize("name", [name for name in NAMES if name != "deliver_rta"])
def test_stranger_does_nothing_with_anothers_event(name: str) -> None:
    scene, instruction, _ = at_step(name)
    stranger = scene.stranger
    why = scene.chain.why_not(changed(instruction, 0, stranger.pubkey()), by=stranger)
    expected = CODES["TooEarly"] if name == "finalize" else CODES["Unauthorized"]
    assert why == expected


@pytest.mark.parametrize("name", [name for name in NAMES if name != "deliver_rta"])
def test_who_may_has_to_sign(name: str) -> None:
    """The right address alone is nothing: anybody can write it into an instruction."""
    scene, instruction, _ = at_step(name)
    unsigned = without_right(instruction, 0, "signer")
    why = scene.chain.why_not(unsigned, by=scene.stranger)
    assert why in (CODES["Unauthorized"], CODES["TooEarly"], "MissingRequiredSignature")


@pytest.mark.parametrize("name", NAMES)
def test_no_account_can_be_anothers(name: str) -> None:
    """In every place: the other show's account of that kind, and one that a stranger made."""
    scene, instruction, signer = at_step(name)
    show, other = scene.show, scene.other
    twin = {
        getattr(show.places, each).address: getattr(other.places, each).address
        for each in ("checkpoint", "rta_mint", "escrow", "sale", "vault")
    } | {show.address: other.address}
    rejected = 0
    for index, meta in enumerate(instruction.accounts):
        if index == 0 or meta.pubkey == SYSTEM:
            continue
        fakes = [scene.stranger.pubkey(), TOKEN]
        if meta.pubkey in twin:
            fakes.append(twin[meta.pubkey])
            forged = Keypair().pubkey()
            data = scene.chain.data(meta.pubkey)
            scene.chain.put(forged, scene.stranger.pubkey(), data)
            fakes.append(forged)
        for fake in fakes:
            if fake == meta.pubkey:
                continue
            scene.chain.why_not(changed(instruction, index, fake), by=signer)
            rejected += 1
    assert rejected
    scene.chain.send(instruction, by=signer)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_has_to_be_writable(name: str) -> None:
    scene, instruction, signer = at_step(name)
    for index, meta in enumerate(instruction.accounts):
        if index and meta.is_writable:
            fixed = without_right(instruction, index, "writable")
            why = scene.chain.why_not(fixed, by=signer)
            account = scene.chain.svm.get_account(meta.pubkey)
            if account is not None and account.owner == EMBEDDED.event_factory:
                assert why == CODES["WrongAccount"]


@pytest.mark.parametrize("name", NAMES)
def test_too_few_accounts_or_other_data_is_refused(name: str) -> None:
    scene, instruction, signer = at_step(name)
    program, data, metas = (
        instruction.program_id,
        bytes(instruction.data),
        list(instruction.accounts),
    )
    for count in range(len(metas)):
        if any(meta.is_signer for meta in metas[:count]) or not count:
            scene.chain.why_not(Instruction(program, data, metas[:count]), by=signer)
    for wrong in [data[:4], data[:-1], data + b"\0", b"\xff" * 8 + data[8:]]:
        if wrong != data:
            scene.chain.why_not(Instruction(program, wrong, metas), by=signer)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("add_tier", EventStatus.OPEN),
        ("set_split", EventStatus.OPEN),
        ("open", EventStatus.OPEN),
        ("go_live", EventStatus.LIVE),
        ("set_metadata", EventStatus.ENDED),
        ("set_schedule", EventStatus.ENDED),
        ("set_stream_authority", EventStatus.ENDED),
        ("end_event", EventStatus.ENDED),
        ("cancel", EventStatus.ENDED),
        ("finalize", EventStatus.LIVE),
        ("finalize", EventStatus.FINALIZED),
        ("set_recording", EventStatus.LIVE),
        ("set_rta_recipient", EventStatus.ENDED),
        ("deliver_rta", EventStatus.ENDED),
    ],
)
def test_nothing_is_done_out_of_its_time(name: str, status: EventStatus) -> None:
    scene = Scene()
    _, instruction, signer = next(rest for each, *rest in steps(scene) if each == name)
    scene.reach(status)
    assert scene.chain.why_not(instruction, by=signer) in (
        CODES["WrongStatus"],
        CODES["Unauthorized"],
    )


# -- made once --


def test_event_is_made_once() -> None:
    scene = Scene()
    show = Show.draft(scene.chain)
    new = NewEvent("Again", NOW + 60, NOW + 7_200, 0, show.stream.pubkey(), OTHER)
    again = scene.build.create_event(show.artist.pubkey(), bytes(range(16)), new)
    assert scene.chain.why_not(again, by=show.artist) == "AccountAlreadyInitialized"


def test_mint_is_refused_rather_than_passed_over() -> None:
    """Who names a token must not get an event that is paid in SOL."""
    chain = ProgramChain()
    artist, mint = chain.person(), Keypair().pubkey()
    payment = Payment(mint, TOKEN)
    new = NewEvent("Tokens", NOW + 60, NOW + 7_200, 0, artist.pubkey(), OTHER, payment)
    create = chain.build.create_event(artist.pubkey(), b"t" * 16, new)
    assert chain.why_not(create, by=artist) == CODES["UnknownTokenProgram"]


def test_lamports_sent_ahead_keep_no_event_from_being_made() -> None:
    chain = ProgramChain()
    artist, nonce = chain.person(), b"n" * 16
    event = event_place(EMBEDDED, artist.pubkey(), nonce).address
    places = EventPlaces.of(EMBEDDED, event)
    for place in ("checkpoint", "rta_mint", "escrow", "sale", "vault"):
        chain.svm.airdrop(getattr(places, place).address, 1_000_000)
    chain.svm.airdrop(event, 1_000_000)
    new = NewEvent("Ahead", NOW + 60, NOW + 7_200, 0, artist.pubkey(), OTHER)
    chain.send(chain.build.create_event(artist.pubkey(), nonce, new), by=artist)


@pytest.mark.parametrize(
    "index", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], ids=lambda index: f"account {index}"
)
def test_event_is_made_of_its_own_accounts_alone(index: int) -> None:
    scene = Scene()
    artist, nonce = scene.chain.person(), b"m" * 16
    new = NewEvent("Mine", NOW + 60, NOW + 7_200, 0, artist.pubkey(), OTHER)
    create = scene.build.create_event(artist.pubkey(), nonce, new)
    for fake in (scene.stranger.pubkey(), scene.show.address, Keypair().pubkey()):
        scene.chain.why_not(changed(create, index, fake), by=artist)
    if index in (2, 3, 4, 5):  # what the program makes: one that signs for itself is none of its
        own = Keypair()
        metas = list(create.accounts)
        metas[index] = AccountMeta(own.pubkey(), True, True)
        signing = Instruction(create.program_id, bytes(create.data), metas)
        assert scene.chain.why_not(signing, by=[artist, own]) == "InvalidSeeds"
    scene.chain.send(create, by=artist)


@pytest.mark.parametrize(
    ("starts", "ends", "extension"),
    [
        (NOW + 100, NOW + 100, 0),
        (NOW + 100, NOW + 50, 0),
        (NOW - 100, NOW - 50, 0),
        (NOW + 1, NOW + 1 + 367 * DAY, 0),
        (-(2**63), 2**63 - 1, 0),
        (0, 2**63 - 1, 0),
        (2**63 - 2, 2**63 - 1, 0),
        (NOW + 1, NOW + 100, 3_601),
    ],
)
def test_schedule_has_an_end_within_bounds(starts: int, ends: int, extension: int) -> None:
    chain = ProgramChain()
    artist = chain.person()
    new = NewEvent("When", starts, ends, extension, artist.pubkey(), OTHER)
    create = chain.build.create_event(artist.pubkey(), b"s" * 16, new)
    assert chain.why_not(create, by=artist) == CODES["BadSchedule"]


def test_end_can_be_postponed_by_thirty_days_in_all() -> None:
    scene = Scene()
    who, event, latest = scene.artist.pubkey(), scene.show.address, scene.show.event.latest_end
    assert latest == scene.show.event.scheduled_end + 30 * DAY
    later = scene.build.set_schedule(who, event, NOW + 60, latest)
    scene.chain.send(later, by=scene.artist)
    scene.chain.at(latest - 100)
    more = scene.build.set_schedule(who, event, NOW + 60, latest + 1)
    assert scene.chain.why_not(more, by=scene.artist) == CODES["BadSchedule"]


@pytest.mark.parametrize("shares", [[10_001], [5_000, 5_001], [65_535] * 8, [1] * 9])
def test_split_is_no_more_than_the_whole(shares: list[int]) -> None:
    scene = Scene()
    payees = [Share(scene.chain.person(0).pubkey(), bps) for bps in shares]
    split = scene.build.set_split(scene.artist.pubkey(), scene.show.address, payees)
    assert isinstance(scene.chain.why_not(split, by=scene.artist), int)


# -- the stream --


def test_checkpoint_only_moves_forward() -> None:
    scene = Scene()
    scene.reach(EventStatus.LIVE)
    show, stream = scene.show, scene.show.stream

    def point(session: SessionId, sequence: int) -> Instruction:
        return scene.build.checkpoint(stream.pubkey(), show.address, OTHER, session, sequence)

    first, later = SessionId(1, 7), SessionId(2, 8)
    scene.chain.send(point(first, 5), by=stream)
    assert scene.chain.why_not(point(first, 5), by=stream) == CODES["CheckpointBehind"]
    assert scene.chain.why_not(point(first, 4), by=stream) == CODES["CheckpointBehind"]
    scene.chain.send(point(first, 6), by=stream)
    scene.chain.send(point(later, 0), by=stream)
    assert scene.chain.why_not(point(first, 9), by=stream) == CODES["CheckpointBehind"]
    assert show.checkpoint.count == 3


def test_new_stream_authority_begins_anew_and_the_old_one_is_out() -> None:
    """Another node has its own count of sessions, which may be lower."""
    scene = Scene()
    scene.reach(EventStatus.LIVE)
    show, old, new = scene.show, scene.show.stream, scene.chain.person()
    build = scene.build
    scene.chain.send(
        build.checkpoint(old.pubkey(), show.address, OTHER, SessionId(9, 1), 1), by=old
    )
    replace = build.set_stream_authority(scene.artist.pubkey(), show.address, new.pubkey())
    scene.chain.send(replace, by=scene.artist)
    assert show.event.authority_since == scene.chain.slot
    late = build.checkpoint(old.pubkey(), show.address, OTHER, SessionId(9, 1), 2)
    assert scene.chain.why_not(late, by=old) == CODES["Unauthorized"]
    first = build.checkpoint(new.pubkey(), show.address, OTHER, SessionId(1, 1), 0)
    scene.chain.send(first, by=new)


def test_stream_authority_tells_the_recording_once_and_the_artist_always() -> None:
    scene = Scene()
    scene.reach(EventStatus.ENDED)
    show, stream, build = scene.show, scene.show.stream, scene.build
    told = build.set_recording(stream.pubkey(), show.address, OTHER)
    scene.chain.send(told, by=stream)
    assert scene.chain.why_not(told, by=stream) == CODES["RecordingTold"]
    mended = build.set_recording(scene.artist.pubkey(), show.address, CID.of(b"mended"))
    scene.chain.send(mended, by=scene.artist)
    assert show.event.recording == CID.of(b"mended")


# -- the end --


def test_rta_is_delivered_once() -> None:
    scene = Scene()
    scene.reach(EventStatus.FINALIZED)
    who = scene.artist.pubkey()
    deliver = scene.build.deliver_rta(who, scene.show.address, who, who)
    scene.chain.send(deliver, by=scene.artist)
    assert scene.chain.why_not(deliver, by=scene.artist) == CODES["AlreadyDelivered"]
    assert not scene.chain.data(scene.show.places.escrow.address)


def test_rta_goes_to_nobody_but_whom_it_belongs_to() -> None:
    """A stranger's own account, made and named as the winner's would be."""
    scene = Scene()
    scene.reach(EventStatus.FINALIZED)
    stranger = scene.stranger
    stolen = scene.build.deliver_rta(
        stranger.pubkey(), scene.show.address, stranger.pubkey(), scene.artist.pubkey()
    )
    assert scene.chain.why_not(stolen, by=stranger) == CODES["WrongAccount"]


def test_event_has_a_title() -> None:
    chain = ProgramChain()
    artist = chain.person()
    new = NewEvent("", NOW + 60, NOW + 7_200, 0, artist.pubkey(), OTHER)
    create = chain.build.create_event(artist.pubkey(), b"t" * 16, new)
    assert chain.why_not(create, by=artist) == CODES["BadText"]


def test_share_is_not_nothing() -> None:
    scene = Scene()
    nothing = [Share(scene.stranger.pubkey(), 0)]
    split = scene.build.set_split(scene.artist.pubkey(), scene.show.address, nothing)
    assert scene.chain.why_not(split, by=scene.artist) == CODES["BadSplit"]


def test_recipient_that_refuses_blocks_nothing_but_itself() -> None:
    """Its token account is in the way; the winner names another, and all else went on before."""
    scene = Scene()
    scene.reach(EventStatus.OPEN)
    show, fan = scene.show, scene.chain.person()
    show.tip(fan, SOL)
    show.end()
    show.finalize()
    anyone, artist = scene.stranger.pubkey(), show.artist.pubkey()
    deliver = scene.build.deliver_rta(anyone, show.address, fan.pubkey(), artist)
    place = deliver.accounts[5].pubkey
    scene.chain.put(place, scene.stranger.pubkey(), b"in the way")
    scene.chain.why_not(deliver, by=scene.stranger)
    named = scene.chain.person(0).pubkey()
    to = scene.build.set_rta_recipient(fan.pubkey(), show.address, named)
    scene.chain.send(to, by=fan)
    again = scene.build.deliver_rta(anyone, show.address, named, artist)
    scene.chain.send(again, by=scene.stranger)
    assert show.event.rta_delivered


# -- the platform --


def platform(chain: ProgramChain, name: str, by: Keypair, **arguments: object) -> Instruction:
    signer = "pending" if name == "accept_authority" else "authority"
    accounts = {signer: by.pubkey(), "config": config_place(EMBEDDED).address}
    return idl("event_factory").build(EMBEDDED.event_factory, name, accounts, arguments)


def config(chain: ProgramChain) -> PlatformConfig:
    return chain.read(PlatformConfig, config_place(EMBEDDED).address)


def test_platform_is_its_authoritys_and_handed_over_in_two_steps() -> None:
    chain = ProgramChain()
    new, stranger = chain.person(), chain.person()
    fee = {"fee_bps": 100, "treasury": stranger.pubkey()}
    for name, arguments in (("set_config", fee), ("propose_authority", {"new": new.pubkey()})):
        refused = platform(chain, name, stranger, **arguments)
        assert chain.why_not(refused, by=stranger) == CODES["Unauthorized"]
    chain.send(platform(chain, "set_config", chain.authority, **fee), by=chain.authority)
    assert config(chain).fee_bps == 100
    propose = platform(chain, "propose_authority", chain.authority, new=new.pubkey())
    chain.send(propose, by=chain.authority)
    assert config(chain).authority == chain.authority.pubkey()
    accept = platform(chain, "accept_authority", stranger)
    assert chain.why_not(accept, by=stranger) == CODES["Unauthorized"]
    chain.send(platform(chain, "accept_authority", new), by=new)
    assert config(chain).authority == new.pubkey()


def test_fee_has_a_cap_and_never_changes_for_events_that_are_there() -> None:
    chain = ProgramChain(fee_bps=100)
    show = Show.opened(chain)
    treasury = chain.treasury.pubkey()
    high = platform(chain, "set_config", chain.authority, fee_bps=1_001, treasury=treasury)
    assert chain.why_not(high, by=chain.authority) == CODES["FeeTooHigh"]
    lost = platform(chain, "set_config", chain.authority, fee_bps=100, treasury=SYSTEM)
    assert chain.why_not(lost, by=chain.authority) == CODES["NoTreasury"]
    cap = platform(chain, "set_config", chain.authority, fee_bps=1_000, treasury=treasury)
    chain.send(cap, by=chain.authority)
    assert show.event.fee_bps == 100


def test_premium_is_the_platforms_word() -> None:
    chain = ProgramChain()
    show = Show.draft(chain)

    def premium(by: Keypair) -> Instruction:
        accounts = {
            "authority": by.pubkey(),
            "config": config_place(EMBEDDED).address,
            "event": show.address,
        }
        return idl("event_factory").build(
            EMBEDDED.event_factory, "set_premium", accounts, {"premium": True}
        )

    assert chain.why_not(premium(show.artist), by=show.artist) == CODES["Unauthorized"]
    chain.send(premium(chain.authority), by=chain.authority)
    assert show.event.premium


class Fresh:
    """A deployment of EventFactory that nobody has set up, with somebody who may upgrade it."""

    def __init__(self) -> None:
        self.chain = ProgramChain()
        self.upgrader, self.stranger = self.chain.person(), self.chain.person()
        self.program = Pubkey(bytes([7]) * 32)
        self.data = self.chain.deploy("event_factory", self.program, self.upgrader.pubkey())
        self.config = Pda.of(self.program, b"config")

    def initialize(
        self, by: Keypair, fee_bps: int = 100, treasury: Pubkey | None = None
    ) -> Instruction:
        accounts = {
            "authority": by.pubkey(),
            "config": self.config.address,
            "program": self.program,
            "program_data": self.data,
            "system_program": SYSTEM,
        }
        arguments = {
            "bump": self.config.bump,
            "fee_bps": fee_bps,
            "treasury": treasury or by.pubkey(),
            "ticket_program": EMBEDDED.ticket_factory,
            "tipping_program": EMBEDDED.live_tipping,
        }
        return idl("event_factory").build(self.program, "initialize", accounts, arguments)


def test_only_who_may_upgrade_the_program_sets_it_up_and_once() -> None:
    """Else anybody could be the platform of somebody's fresh deployment."""
    fresh = Fresh()
    chain, stranger, upgrader = fresh.chain, fresh.stranger, fresh.upgrader
    theirs = fresh.initialize(stranger)
    assert chain.why_not(theirs, by=stranger) == CODES["Unauthorized"]
    # data of another program, which the stranger may upgrade
    own = chain.deploy("live_tipping", Pubkey(bytes([8]) * 32), stranger.pubkey())
    assert chain.why_not(changed(theirs, 3, own), by=stranger) == CODES["Unauthorized"]
    another = changed(changed(theirs, 3, own), 2, Pubkey(bytes([8]) * 32))
    assert chain.why_not(another, by=stranger) == CODES["Unauthorized"]
    # the same bytes, in an account of nobody's loader
    forged = Keypair().pubkey()
    chain.put(forged, stranger.pubkey(), chain.data(own))
    assert chain.why_not(changed(theirs, 3, forged), by=stranger) == CODES["Unauthorized"]
    unsigned = without_right(fresh.initialize(upgrader), 0, "signer")
    assert chain.why_not(unsigned, by=stranger) == "MissingRequiredSignature"
    high = fresh.initialize(upgrader, fee_bps=1_001)
    assert chain.why_not(high, by=upgrader) == CODES["FeeTooHigh"]
    nobodys = fresh.initialize(upgrader, treasury=SYSTEM)
    assert chain.why_not(nobodys, by=upgrader) == CODES["NoTreasury"]

    chain.send(fresh.initialize(upgrader), by=upgrader)
    again = chain.why_not(fresh.initialize(upgrader), by=upgrader)
    assert again == "AccountAlreadyInitialized"


def test_program_that_nobody_may_upgrade_is_nobodys_to_set_up() -> None:
    fresh = Fresh()
    final = bytearray(fresh.chain.data(fresh.data))
    final[12] = 0
    fresh.chain.put(fresh.data, UPGRADEABLE_LOADER, bytes(final))
    refused = fresh.chain.why_not(fresh.initialize(fresh.upgrader), by=fresh.upgrader)
    assert refused == CODES["Unauthorized"]


def test_nobody_accepts_what_was_not_proposed() -> None:
    chain = ProgramChain()
    accept = platform(chain, "accept_authority", chain.authority)
    assert chain.why_not(accept, by=chain.authority) == CODES["Unauthorized"]

"""Wallets sign in at a node; what they get ends with the ticket."""

from __future__ import annotations

import ctypes
import mmap
import platform
import shutil
import sqlite3
import stat
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from solders.keypair import Keypair
from solders.signature import Signature
from support.chain import HandClock
from support.delegations import BEGIN_S, EVENT, NODE, NODE_SEED, SEALING, WALLET, WALLET_SEED
from support.keyholding import ScriptedEvents, ScriptedTickets, gated
from trio.testing import MockClock

from hausd.core.delegation import parse
from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.peers import PeerAddress
from hausd.core.release import Held, Missing, SignedIn, Unknown
from hausd.keys.leases import FILE, MAX_LEASES, Leases, open_leases
from hausd.keys.playing import CHALLENGE_S, Playing
from hausd.keys.ring import KeyRing, open_ring
from hausd.keys.wrapping import Wrapper
from hausd.policy.playback import IDLE_S, TOKEN_S, TurnedAway

HERE, ELSEWHERE, HOST = "203.0.113.7", "198.51.100.9", "live.example.org"
GRACE_S = 600.0


class Box:
    """A node with a gated room, one ticket, and a clock that the test moves."""

    def __init__(
        self, ring: KeyRing, leases: Leases, clock: HandClock, mono: MockClock, home: Path
    ) -> None:
        self.ring, self.leases, self.clock, self.mono = ring, leases, clock, mono
        self.home = home
        self.tickets, self.events = ScriptedTickets(), ScriptedEvents()
        self.events.events[EVENT] = gated()
        self.tickets.told[EVENT, WALLET] = Held(1)
        self.playing = self.node()

    def node(self) -> Playing:
        me = (NODE, SEALING.public)
        return Playing(
            self.ring, self.tickets, self.events, self.clock, self.leases, NODE_SEED, me,
            each=2, grace_s=GRACE_S,
        )  # fmt: skip

    @asynccontextmanager
    async def restarted(self) -> AsyncIterator[None]:
        """The node's next process, after it was killed: with what lay on disk then."""
        before, self.home = self.home, self.home / "next"
        self.home.mkdir()
        for file in before.glob(f"{FILE}*"):
            shutil.copy(file, self.home)
        async with open_leases(self.home, self.clock.now_ms() / 1000) as self.leases:
            self.playing = self.node()
            yield

    def pass_s(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        self.mono.jump(seconds)

    async def signed(self, seed: bytes = WALLET_SEED, host: str = HOST) -> tuple[str, str]:
        wallet = Keypair.from_seed(seed)
        text = await self.playing.challenge(EVENT, str(wallet.pubkey()), HERE, host)
        return text, str(wallet.sign_message(text.encode()))

    async def enter(self, seed: bytes = WALLET_SEED) -> SignedIn:
        return await self.playing.sign_in(*await self.signed(seed), HERE, HOST)

    def look(self, token: str, address: str = HERE, agent: str = "mpv") -> TurnedAway | None:
        return self.playing.look(EVENT, token, address, agent)


@pytest.fixture
async def box(tmp_path: Path, mock_clock: MockClock) -> AsyncIterator[Box]:
    clock = HandClock(BEGIN_S * 1000)
    async with (
        open_ring(tmp_path, Wrapper(bytes(32)), clock) as ring,
        open_leases(tmp_path, BEGIN_S) as leases,
    ):
        yield Box(ring, leases, clock, mock_clock, tmp_path)


async def refused(box: Box, text: str, signature: str, at: str = HERE, host: str = HOST) -> str:
    with pytest.raises(Problem) as found:
        await box.playing.sign_in(text, signature, at, host)
    return found.value.code


async def test_who_has_a_ticket_signs_in_and_the_node_may_ask_for_keys(
    box: Box, mock_clock: MockClock
) -> None:
    signed = await box.enter()
    assert (signed.room, signed.wallet) == (EVENT, WALLET)
    assert signed.token not in repr(signed)
    assert box.look(signed.token) is None
    (kept,) = box.ring.delegations_for(EVENT)
    assert (kept.delegation.wallet, kept.delegation.domain) == (WALLET, HOST)
    assert box.look(signed.token, ELSEWHERE) is TurnedAway.ELSEWHERE
    assert box.playing.look(RoomId("5" * 44), signed.token, HERE, "mpv") is TurnedAway.BAD_TOKEN


async def test_a_key_holder_needs_no_delegation(box: Box, mock_clock: MockClock) -> None:
    box.events.events[EVENT] = gated(PeerAddress(NODE, ()))
    await box.enter()
    assert not box.ring.delegations


async def test_who_has_no_ticket_hears_that(box: Box, mock_clock: MockClock) -> None:
    for ticket, why in (
        (Missing(), "no-ticket"),
        (Missing(had=True), "refunded"),
        (Unknown(), "chain-unknown"),
    ):
        box.tickets.told[EVENT, WALLET] = ticket
        text, signature = await box.signed()
        assert await refused(box, text, signature) == why
    # nobody has to be looked up again, and the text is not used up
    assert not box.playing.playbacks.inside(0)
    box.tickets.told[EVENT, WALLET] = Held(1)
    await box.playing.sign_in(text, signature, HERE, HOST)
    await box.ring.ban(EVENT, WALLET, banned=True)
    assert await refused(box, *await box.signed()) == "banned"
    assert len(box.ring.delegations) == 1


async def test_a_text_lets_one_in_however_many_bring_it_at_once(
    box: Box, mock_clock: MockClock
) -> None:
    text, signature = await box.signed()
    outcomes: list[str] = []

    async def bring() -> None:
        try:
            await box.playing.sign_in(text, signature, HERE, HOST)
            outcomes.append("in")
        except Problem as problem:
            outcomes.append(problem.code)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(bring)
    assert sorted(outcomes) == ["bad-delegation", "bad-delegation", "in"]


async def test_only_a_fresh_text_of_this_node_for_this_address_signs_in_and_once(
    box: Box, mock_clock: MockClock
) -> None:
    text, signature = await box.signed()
    assert await refused(box, text, signature, ELSEWHERE) == "bad-delegation"
    assert await refused(box, text, signature, host="other.example") == "bad-delegation"
    other = Keypair.from_seed(bytes([3]) * 32)
    forged = str(other.sign_message(text.encode()))
    assert await refused(box, text, forged) == "bad-delegation"
    assert await refused(box, text, "no signature") == "bad-delegation"
    own = replace(parse(text), nonce=bytes(16)).text  # a delegation, and not asked for
    theirs = str(Keypair.from_seed(WALLET_SEED).sign_message(own.encode()))
    assert await refused(box, own, theirs) == "bad-delegation"
    longer = replace(parse(text), not_after_s=parse(text).not_after_s + 1).text
    theirs = str(Keypair.from_seed(WALLET_SEED).sign_message(longer.encode()))
    assert await refused(box, longer, theirs) == "bad-delegation"
    assert (await box.playing.sign_in(text, signature, HERE, HOST)).wallet == WALLET
    assert await refused(box, text, signature) == "bad-delegation"  # replayed
    text, signature = await box.signed()
    box.pass_s(CHALLENGE_S + 1)
    assert await refused(box, text, signature) == "bad-delegation"
    assert bytes(Signature.from_string(signature))


async def test_a_token_ends_and_goes_on_while_it_is_used_to_the_delegations_end(
    box: Box, mock_clock: MockClock
) -> None:
    idle, used = (await box.enter()).token, (await box.enter()).token
    for _ in range(int(TOKEN_S * 2 / 30)):
        box.pass_s(30)
        assert box.look(used) is None
        await box.playing.look_again()
    assert box.look(idle) is TurnedAway.EXPIRED
    assert box.look(used, agent="another player") is TurnedAway.EXPIRED
    box.pass_s(IDLE_S)
    assert box.look(used) is TurnedAway.EXPIRED
    kept = (await box.enter()).token
    for _ in range(24 * 60 * 2):
        box.pass_s(30)
        if box.look(kept) is not None:
            break
    last_s = parse(box.ring.delegations[-1].delegation.text).not_after_s
    assert box.look(kept) is TurnedAway.EXPIRED
    assert 0 <= box.clock.now_ms() / 1000 - last_s < 60


async def test_a_token_is_renewed_while_it_is_good_and_its_ticket_is(
    box: Box, mock_clock: MockClock
) -> None:
    first = await box.enter()
    box.pass_s(TOKEN_S - 10)
    second = await box.playing.renew(EVENT, first.token, HERE, "mpv")
    assert second.ends_s > first.ends_s
    box.pass_s(20)
    assert box.look(second.token) is None
    for token, address in ((first.token, HERE), (second.token, ELSEWHERE), ("", HERE)):
        with pytest.raises(Problem):
            await box.playing.renew(EVENT, token, address, "another player")
    # over, and in use
    for _ in range(TOKEN_S // 30):
        assert box.look(second.token) is None
        box.pass_s(30)
        await box.playing.look_again()
    third = await box.playing.renew(EVENT, second.token, HERE, "mpv")
    assert third.ends_s > second.ends_s
    with pytest.raises(Problem):
        await box.playing.renew(EVENT, second.token, HERE, "another player")
    second = third
    box.tickets.told[EVENT, WALLET] = Missing(had=True)
    with pytest.raises(Problem) as found:
        await box.playing.renew(EVENT, second.token, HERE, "mpv")
    assert found.value.code == "refunded"
    await box.ring.ban(EVENT, WALLET, banned=True)
    with pytest.raises(Problem) as found:
        await box.playing.renew(EVENT, second.token, HERE, "mpv")
    assert found.value.code == "banned"


async def test_who_signs_out_leaves_a_place_and_a_token_that_opens_nothing(
    box: Box, mock_clock: MockClock
) -> None:
    first, other = (await box.enter()).token, (await box.enter()).token
    newer = (await box.playing.renew(EVENT, first, HERE, "mpv")).token
    assert box.look(first) is None
    assert box.look(other) is None
    third = (await box.enter()).token
    assert box.look(third) is TurnedAway.TOO_MANY
    await box.playing.leave(EVENT, newer, ELSEWHERE)  # who found it can't end the show with it
    await box.playing.leave(EVENT, "no token", HERE)
    assert box.look(first) is None
    await box.playing.leave(EVENT, newer, HERE)
    assert box.look(first) is box.look(newer) is TurnedAway.BAD_TOKEN
    with pytest.raises(Problem):
        await box.playing.renew(EVENT, newer, HERE, "mpv")
    assert box.look(third) is None


async def watch_on(box: Box, *tokens: str) -> None:
    """Players go on for longer than a token is good."""
    for _ in range(TOKEN_S // 30 + 2):
        for token in tokens:
            assert box.look(token) is None
        box.pass_s(30)
        await box.playing.keep()


async def looked_up(box: Box, token: str) -> TurnedAway | None:
    """As HTTP does: the ticket is looked up first where it is not known."""
    if box.look(token) is TurnedAway.UNCHECKED:
        await box.playing.checked(EVENT, token)
    return box.look(token)


async def test_a_player_inside_goes_on_after_a_restart_and_who_left_or_lost_the_ticket_does_not(
    box: Box, mock_clock: MockClock
) -> None:
    stays, left, idle = [(await box.enter()).token for _ in range(3)]
    assert box.look(idle, agent="for a minute") is None
    box.pass_s(IDLE_S + 1)
    await watch_on(box, stays, left)
    await box.playing.leave(EVENT, left, HERE)
    box.pass_s(120)  # the node is down
    async with box.restarted():
        assert await looked_up(box, stays) is None
        assert await looked_up(box, idle) is TurnedAway.EXPIRED
        assert box.look(stays, agent="another player") is TurnedAway.EXPIRED
        assert box.look(stays, ELSEWHERE) is TurnedAway.ELSEWHERE
        assert await looked_up(box, left) is TurnedAway.BAD_TOKEN
        async with box.restarted():  # at once again
            assert await looked_up(box, stays) is None
            box.tickets.told[EVENT, WALLET] = Missing(had=True)
            async with box.restarted():
                assert await looked_up(box, stays) is TurnedAway.LOST
        box.tickets.told[EVENT, WALLET] = Held(1)
        box.pass_s(TOKEN_S)
        async with box.restarted():
            assert await looked_up(box, stays) is TurnedAway.EXPIRED
            await box.playing.keep()
            assert not rows(box.home)  # what is over is gone


async def test_a_fresh_token_of_who_left_opens_nothing_after_a_restart(
    box: Box, mock_clock: MockClock
) -> None:
    token = (await box.enter()).token
    await box.playing.leave(EVENT, token, HERE)
    async with box.restarted():
        assert await looked_up(box, token) is TurnedAway.BAD_TOKEN


def rows(home: Path) -> list[tuple[bytes, int, int]]:
    with closing(sqlite3.connect(home / FILE)) as db:
        return db.execute("SELECT * FROM leases").fetchall()


async def test_no_token_lies_on_disk_nor_may_others_read_what_does(
    box: Box, mock_clock: MockClock
) -> None:
    token = (await box.enter()).token
    await watch_on(box, token)
    await box.playing.leave(EVENT, token, HERE)
    assert len(rows(box.home)) == 2
    raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for file in box.home.glob(f"{FILE}*"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        held = file.read_bytes()
        for secret in (token.encode(), raw[9:17], WALLET.encode(), HERE.encode()):
            assert secret not in held


async def test_what_is_kept_of_players_has_a_bound(tmp_path: Path) -> None:
    names = [number.to_bytes(16) for number in range(MAX_LEASES + 5)]
    async with open_leases(tmp_path, BEGIN_S) as leases:
        await leases.keep(names, BEGIN_S + 60, BEGIN_S)
    assert len(rows(tmp_path)) == MAX_LEASES


@pytest.mark.skipif(platform.machine() != "x86_64", reason="there is no x87 here")
async def test_registers_that_a_library_left_in_use_take_nobodys_place(tmp_path: Path) -> None:
    """As the embedded chain does: who uses x87 next in that thread gets one wrong result."""
    names = [bytes([number]) * 16 for number in range(3)]
    with mmap.mmap(
        -1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    ) as code:
        code.write(b"\x0f\xef\xc0\xc3")  # pxor mm0, mm0; ret
        place = ctypes.c_char.from_buffer(code)
        use_mmx = ctypes.CFUNCTYPE(None)(ctypes.addressof(place))
        async with open_leases(tmp_path, BEGIN_S) as leases:
            use_mmx()
            for name in names:
                await leases.leave(name, BEGIN_S + 60.0, float(BEGIN_S))
        use_mmx()
        async with open_leases(tmp_path, BEGIN_S + 1.0) as leases:
            assert all(leases.has_left(name) for name in names)
        del use_mmx, place


@pytest.mark.parametrize("content", [b"no database" * 400, b""])
async def test_where_the_file_is_damaged_it_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    async with open_leases(tmp_path, BEGIN_S) as leases:
        await leases.leave(bytes(16), BEGIN_S + 60, BEGIN_S)
    async with open_leases(tmp_path, BEGIN_S + 1) as leases:
        assert leases.has_left(bytes(16))


async def test_without_the_ticket_the_token_is_worth_nothing(
    box: Box, mock_clock: MockClock
) -> None:
    token = (await box.enter()).token
    assert box.look(token) is None
    box.tickets.told[EVENT, WALLET] = Missing(had=True)
    await box.playing.look_again()
    assert box.look(token) is TurnedAway.LOST
    box.tickets.told[EVENT, WALLET] = Held(1)
    await box.playing.look_again()
    assert box.look(token) is None
    await box.ring.ban(EVENT, WALLET, banned=True)
    assert box.look(token) is TurnedAway.LOST


async def test_a_clock_that_is_set_anew_opens_nothing_without_the_ticket(
    box: Box, mock_clock: MockClock
) -> None:
    token = (await box.enter()).token
    box.clock.pass_s(-86_400)
    assert box.look(token) is None
    box.tickets.told[EVENT, WALLET] = Missing(had=True)
    await box.playing.look_again()
    assert box.look(token) is TurnedAway.LOST
    box.clock.pass_s(30 * 86_400)
    assert box.look(token) is TurnedAway.EXPIRED


async def test_while_the_chain_is_away_those_inside_go_on_for_an_epoch(
    box: Box, mock_clock: MockClock
) -> None:
    token = (await box.enter()).token
    box.tickets.told[EVENT, WALLET] = Unknown()
    for _ in range(int(GRACE_S / 30)):
        box.pass_s(30)
        await box.playing.look_again()
        assert box.look(token) is None
    box.pass_s(30)
    await box.playing.look_again()
    assert box.look(token) is TurnedAway.UNCHECKED


async def test_a_token_outlives_a_restart_and_is_looked_up_again(
    box: Box, mock_clock: MockClock
) -> None:
    token = (await box.enter()).token
    box.playing = box.node()
    assert box.look(token) is TurnedAway.UNCHECKED
    await box.playing.checked(EVENT, token)
    assert box.look(token) is None


async def test_no_text_is_good_after_a_restart(box: Box, mock_clock: MockClock) -> None:
    text, signature = await box.signed()
    await box.playing.sign_in(text, signature, HERE, HOST)
    box.playing = box.node()
    assert await refused(box, text, signature) == "bad-delegation"


async def test_a_crowd_leaves_room_for_other_rooms_delegations(
    box: Box, mock_clock: MockClock
) -> None:
    box.tickets.everybody = Held(1)
    for number in range(40):
        box.pass_s(1)
        await box.enter(bytes([200, number]) * 16)
    assert len(box.ring.delegations) == 32
    # those who came first are gone, or their tickets are
    box.tickets.everybody = Missing(had=True)
    await box.playing.look_again()
    box.tickets.everybody = Held(1)
    await box.enter()
    assert len(box.ring.delegations) == 33


async def test_who_tries_too_often_waits(box: Box, mock_clock: MockClock) -> None:
    async def tries() -> str:
        for _ in range(100):
            try:
                await box.playing.challenge(EVENT, WALLET, HERE, HOST)
            except Problem as problem:
                return problem.code
        return "never"

    token = (await box.enter()).token
    assert await tries() == "try-later"
    # who is inside is not kept out by others of the same network
    await box.playing.renew(EVENT, token, HERE, "mpv")
    with pytest.raises(Problem) as found:
        await box.playing.renew(EVENT, "guessed", HERE, "mpv")
    assert found.value.code == "try-later"
    assert await box.playing.challenge(EVENT, WALLET, ELSEWHERE, HOST)


async def test_where_no_tickets_are_nobody_signs_in(box: Box, mock_clock: MockClock) -> None:
    for room, wallet, why in (
        ("5" * 44, WALLET, "no-tickets"),
        ("no room", WALLET, "bad-room"),
        (EVENT, "no wallet", "bad-wallet"),
    ):
        with pytest.raises(Problem) as found:
            await box.playing.challenge(room, wallet, HERE, HOST)
        assert found.value.code == why

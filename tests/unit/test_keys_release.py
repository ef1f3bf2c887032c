"""Nodes ask each other for keys over real connections; who has no right to one hears why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from support.chain import HandClock
from support.delegations import BEGIN_S, DELEGATION, END_S, EVENT, WALLET, signed
from support.hosts import seed_of
from support.keyholding import KeyNode, epoch, gated, key_node

from hausd.core.delegation import DelegationError, Scope, SignedDelegation, verify
from hausd.core.gating import EpochKey, Withheld
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.peers import PeerAddress, PeerStream, peer_id_of
from hausd.core.release import Held, Missing, Refusal, Unknown
from hausd.core.sealing import SealingKey
from hausd.keys import asking, holder
from hausd.keys.holder import PEER_BURST
from hausd.keys.metrics import UNKEPT, WRONG_KEYS
from hausd.keys.operating import KeysOperator
from hausd.wire.keys import PROTOCOL, KeyQuestion, Shown, open_keys

EPOCH, KEY = epoch(1)
NEXT, NEXT_KEY = epoch(2)
LATER, LATER_KEY = epoch(3)
OTHER_WALLET_SEED = bytes([5]) * 32
OTHER_WALLET = str(Keypair.from_seed(OTHER_WALLET_SEED).pubkey())


def delegated(
    node: KeyNode, wallet_seed: bytes = bytes([7]) * 32, **changed: Any
) -> SignedDelegation:
    made = replace(
        DELEGATION,
        wallet=str(Keypair.from_seed(wallet_seed).pubkey()),
        node=node.host.peer_id,
        sealing_key=SealingKey.of_node(node.seed).public,
        **changed,
    )
    return verify(*signed(made, wallet_seed))


class Stage:
    """An origin that has keys, and a viewer's node that knows of it."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self.nursery, self.folder = nursery, folder
        self.clock = HandClock(BEGIN_S * 1000)

    async def node(
        self, name: str, *, knows: bool = True, clock: HandClock | None = None
    ) -> KeyNode:
        made: KeyNode = await self.nursery.start(self._run, name, clock or self.clock)
        if knows:
            made.events.events[EVENT] = gated(self.origin.address)
        return made

    async def _run(
        self, name: str, clock: HandClock, task_status: trio.TaskStatus[KeyNode]
    ) -> None:
        async with key_node(name, self.folder, clock=clock) as node:
            task_status.started(node)
            await trio.sleep_forever()

    async def set(self) -> None:
        self.origin = await self.node("origin", knows=False)
        self.origin.events.events[EVENT] = gated(self.origin.address)
        for one, key in ((EPOCH, KEY), (NEXT, NEXT_KEY), (LATER, LATER_KEY)):
            await self.origin.ring.keep(EVENT, one, key)
        self.viewer = await self.node("viewer")

    def may(self, wallet: str = WALLET) -> None:
        self.origin.tickets.told[EVENT, wallet] = Held(1)

    async def asked(self, node: KeyNode, of: Any = EPOCH) -> EpochKey | str:
        """The key, or why not."""
        node.asking.forget()
        answer = await node.ring.ask(EVENT, of)
        return answer.code if isinstance(answer, Withheld) else answer


@pytest.fixture
async def stage(nursery: trio.Nursery, tmp_path: Path) -> Stage:
    made = Stage(nursery, tmp_path)
    await made.set()
    return made


async def test_a_ticket_holders_node_gets_the_key_and_keeps_it(stage: Stage) -> None:
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY
    await stage.origin.host.disconnect(stage.viewer.host.peer_id)
    stage.origin.tickets.told.clear()
    assert await stage.asked(stage.viewer) == KEY, "it is here"


async def test_without_a_delegation_nobody_is_asked(stage: Stage) -> None:
    stage.may()
    assert await stage.asked(stage.viewer) == "no-delegation"
    assert not stage.origin.host.connected()


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"room": RoomId(WALLET)}, "no-delegation"),
        ({"scopes": frozenset({Scope.CHAT})}, "no-delegation"),
        ({"not_before_s": BEGIN_S + 3600}, "not-yet"),
        ({"not_before_s": BEGIN_S - 7200, "not_after_s": BEGIN_S - 3600}, "expired"),
    ],
)
async def test_what_is_no_good_is_refused_with_the_reason(
    stage: Stage, changed: dict[str, Any], because: str
) -> None:
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer, **changed))
    assert await stage.asked(stage.viewer) == because
    assert not stage.origin.tickets.asked, "the chain is not troubled with it"


async def test_a_wallet_without_a_ticket_hears_that(stage: Stage) -> None:
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == "no-ticket"


async def test_an_artist_needs_no_ticket(stage: Stage) -> None:
    stage.origin.events.events[EVENT] = gated(stage.origin.address, artist=WALLET)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY


async def test_after_a_refund_there_is_no_next_epoch(stage: Stage) -> None:
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY
    stage.origin.tickets.told[EVENT, WALLET] = Missing(had=True)
    assert await stage.asked(stage.viewer, NEXT) == "refunded"
    stage.origin.tickets.told[EVENT, WALLET] = Unknown()
    assert await stage.asked(stage.viewer, NEXT) == "chain-unknown", "there is no grace for it"
    assert await stage.origin.holder.lost(EVENT) == set()
    stage.origin.tickets.told[EVENT, WALLET] = Missing(had=True)
    assert await stage.origin.holder.lost(EVENT) == {WALLET}


async def test_after_a_ban_there_is_no_next_epoch(stage: Stage) -> None:
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY
    await stage.origin.ring.ban(EVENT, WALLET, banned=True)
    assert await stage.asked(stage.viewer, NEXT) == "banned"


async def test_while_the_chain_is_away_those_inside_have_one_epoch_more(stage: Stage) -> None:
    stage.may()
    stage.may(OTHER_WALLET)
    late = await stage.node("late")
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    await late.ring.add_delegation(delegated(late, OTHER_WALLET_SEED))
    assert await stage.asked(stage.viewer) == KEY
    stage.origin.tickets.told.clear()
    stage.origin.tickets.everybody = Unknown()
    assert await stage.asked(late) == "chain-unknown"
    assert await stage.asked(stage.viewer, NEXT) == NEXT_KEY
    assert stage.origin.holder.graced == 1
    key = SealingKey.of_node(stage.origin.seed)
    operator = KeysOperator(stage.origin.ring, key, stage.origin.host.peer_id, None)
    operator.holder = stage.origin.holder
    told = operator.check()
    assert (told.state, "1 given to viewers inside" in told.found) == ("warn", True)
    assert operator.keys().given_unchecked == 1
    assert await stage.asked(stage.viewer, LATER) == "chain-unknown"
    stage.origin.tickets.everybody = Held(1)
    assert await stage.asked(stage.viewer, LATER) == LATER_KEY


async def test_a_key_holder_whose_clock_is_wrong_lets_nobody_in_without_a_ticket(
    stage: Stage,
) -> None:
    late = await stage.node("late")
    over = delegated(
        late, OTHER_WALLET_SEED, not_before_s=BEGIN_S - 7200, not_after_s=BEGIN_S - 3600
    )
    await late.ring.add_delegation(over)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    stage.may()
    stage.clock.pass_s(-90_000)
    assert await stage.asked(stage.viewer) == "not-yet"
    stage.clock.pass_s(90_000 + END_S - BEGIN_S + 61)
    assert await stage.asked(stage.viewer) == "expired"
    assert not stage.origin.tickets.asked
    stage.clock.pass_s(BEGIN_S - END_S - 61 - 3600)  # what was over long ago is taken, at worst
    assert await stage.asked(late) == "no-ticket"
    stage.may(OTHER_WALLET)
    assert await stage.asked(late) == KEY


@pytest.mark.parametrize("off_s", [-(10**9), 10**9])
async def test_who_asks_with_a_wrong_clock_still_gets_the_key(stage: Stage, off_s: int) -> None:
    stage.may()
    astray = await stage.node("astray", clock=HandClock((BEGIN_S + off_s) * 1000))
    await astray.ring.add_delegation(delegated(astray))
    assert await stage.asked(astray) == KEY


async def test_an_origin_that_lost_keys_with_a_restored_backup_gets_them_from_its_viewers(
    stage: Stage,
) -> None:
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY
    restored = await stage.node("restored")
    named = gated(restored.address, stage.viewer.address)
    for each in (restored, stage.viewer):
        each.events.events[EVENT] = named
    assert await stage.asked(restored) == KEY
    assert await stage.asked(restored, NEXT) == "not-a-key-holder", "nobody saw it"


async def test_one_ticket_brings_a_key_to_three_nodes(stage: Stage) -> None:
    stage.may()
    answers = []
    for n in range(5):
        node = await stage.node(f"node {n}")
        await node.ring.add_delegation(delegated(node))
        answers.append(await stage.asked(node))
    assert answers == [KEY] * 3 + ["too-many-delegates"] * 2


async def test_a_ticket_that_is_passed_on_brings_a_key_to_no_further_nodes(stage: Stage) -> None:
    seeds = [bytes([n]) * 32 for n in (71, 72, 73)]
    names = [str(Keypair.from_seed(seed).pubkey()) for seed in seeds]
    stage.origin.holder.delegates = 2
    nodes = [await stage.node(f"node {n}") for n in range(5)]

    async def asks(node: int, wallet: int, of: Any = EPOCH) -> EpochKey | str:
        await nodes[node].ring.add_delegation(delegated(nodes[node], seeds[wallet]))
        return await stage.asked(nodes[node], of)

    def passes(from_: int, to: int) -> None:
        stage.origin.tickets.told[EVENT, names[from_]] = Missing(had=True)
        stage.may(names[to])
        stage.origin.holder.passed_on(EVENT, names[from_], names[to], 1)

    stage.may(names[0])
    assert [await asks(0, 0), await asks(1, 0)] == [KEY, KEY]
    passes(0, 1)
    assert await asks(2, 1) == "too-many-delegates"
    passes(1, 2)
    assert await asks(3, 2) == "too-many-delegates"
    assert await asks(3, 2, NEXT) == NEXT_KEY
    # a ticket that somebody bought meanwhile is another one
    stage.may(names[0])
    assert await asks(4, 0) == KEY


async def test_the_delegation_of_another_node_is_of_no_use(stage: Stage) -> None:
    """Replayed by who got to see it: it is not its key that the answer would be sealed to."""
    stage.may()
    thief = await stage.node("thief")
    await thief.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(thief) == "other-node"


async def test_a_forged_delegation_is_not_even_kept_and_refused_elsewhere(stage: Stage) -> None:
    stage.may()
    text, signature = signed(delegated(stage.viewer).delegation, OTHER_WALLET_SEED)
    with pytest.raises(DelegationError):
        verify(text, signature)
    question = KeyQuestion(EVENT, (EPOCH.id,), bytes(16), Shown(text, signature))
    answer = await stage.origin.holder.answer(stage.viewer.host.peer_id, question)
    assert answer.outcome == (Refusal.BAD_DELEGATION,)
    assert not answer.untrusted_sealed


async def test_a_node_that_the_head_names_gets_all_keys_and_gives_them(stage: Stage) -> None:
    helper = await stage.node("helper")
    named = gated(stage.origin.address, helper.address)
    stage.origin.events.events[EVENT] = named
    helper.events.events[EVENT] = named
    assert await stage.asked(helper) == KEY
    # and the origin goes away
    helper.tickets.told[EVENT, WALLET] = Held(1)
    gone = PeerAddress(stage.origin.host.peer_id, ("/ip4/127.0.0.1/tcp/1",))
    stage.viewer.events.events[EVENT] = gated(gone, helper.address)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY
    assert not stage.origin.tickets.asked


async def test_a_node_that_says_it_is_a_key_holder_and_is_not_gets_none(stage: Stage) -> None:
    liar = await stage.node("liar")
    liar.events.events[EVENT] = gated(stage.origin.address, liar.address)
    assert await stage.asked(liar) == "not-named"


async def test_a_wrong_key_is_not_taken_and_another_holder_is_asked(stage: Stage) -> None:
    stage.may()
    liar = await stage.node("liar")
    await liar.ring.keep_unproven(EVENT, {EPOCH.id: EpochKey(bytes(32))})
    liar.tickets.everybody = Held(1)
    stage.viewer.events.events[EVENT] = gated(liar.address, stage.origin.address)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    before = WRONG_KEYS._value.get()
    assert await stage.asked(stage.viewer) == KEY
    assert WRONG_KEYS._value.get() == before + 1
    stage.viewer.events.events[EVENT] = gated(liar.address)
    await liar.ring.keep_unproven(EVENT, {NEXT.id: EpochKey(bytes(32))})
    assert await stage.asked(stage.viewer, NEXT) == "wrong-key"


async def test_a_wrong_key_that_was_imported_keeps_nobody_from_asking(stage: Stage) -> None:
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    wrong = EpochKey(bytes(32))
    await stage.viewer.ring.keep_unproven(EVENT, dict.fromkeys((EPOCH.id, NEXT.id), wrong))
    stage.viewer.events.events[EVENT] = gated()
    assert await stage.asked(stage.viewer) == "no-key-holder", "rather than a wrong one"
    stage.viewer.events.events[EVENT] = gated(stage.origin.address)
    assert stage.viewer.ring.get(EVENT, EPOCH.id) == wrong
    assert await stage.asked(stage.viewer) == KEY
    assert stage.viewer.ring.get(EVENT, EPOCH.id) == KEY
    assert await stage.viewer.asking.ask(EVENT, NEXT) == NEXT_KEY


async def test_a_refusal_of_one_is_not_the_last_word(stage: Stage) -> None:
    """A neighbour that lies about tickets keeps nobody out."""
    stage.may()
    liar = await stage.node("liar")
    await liar.ring.keep_unproven(EVENT, {EPOCH.id: EpochKey(bytes(32))})
    stage.viewer.events.events[EVENT] = gated(liar.address, stage.origin.address)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY


async def test_who_gave_the_ticket_back_locks_out_nobody_else_at_the_same_node(
    stage: Stage,
) -> None:
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    for number in range(9):  # each lasts longer, so it is shown first
        seed, until_s = bytes([100 + number]) * 32, END_S + 10 + number
        made = delegated(stage.viewer, seed, nonce=bytes([number]) * 16, not_after_s=until_s)
        await stage.viewer.ring.add_delegation(made)
    for _ in range(2):  # four delegations are shown in one go
        refused = await stage.viewer.ring.ask(EVENT, EPOCH)
        assert isinstance(refused, Withheld)
        assert refused.code == "no-ticket"
        stage.viewer.asking._rooms[EVENT].refused.clear()  # its time is over
    assert await stage.viewer.ring.ask(EVENT, EPOCH) == KEY
    # and what was of use once is shown first from then on
    asked = stage.origin.tickets.asked
    assert await stage.viewer.ring.ask(EVENT, NEXT) == NEXT_KEY
    assert stage.origin.tickets.asked == asked + 1


async def test_a_viewers_node_gives_no_key_on_but_who_got_them_from_the_artist_does(
    stage: Stage,
) -> None:
    """Bans, and at how many nodes a ticket is, are known to the artist's node, not to viewers'."""
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY
    await stage.origin.ring.ban(EVENT, OTHER_WALLET, banned=True)
    banned = await stage.node("banned")
    await banned.ring.add_delegation(delegated(banned, OTHER_WALLET_SEED))
    assert await stage.asked(banned) == "banned"
    banned.events.events[EVENT] = gated(stage.viewer.address)  # as a neighbour in the room
    stage.viewer.tickets.everybody = Held(1)
    assert await stage.asked(banned) == "not-a-key-holder"
    assert not stage.viewer.tickets.asked

    assert await stage.viewer.ring.keep_unproven(EVENT, {EPOCH.id: KEY}) == 0
    assert await stage.asked(banned) == KEY, "bans are told to each key holder"


async def test_a_crowd_that_gives_no_keys_hides_no_one_that_does(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_MOST_ASKED", 2)
    stage.may()
    crowd = [(await stage.node(f"relay {n}")).address for n in range(3)]
    stage.viewer.events.events[EVENT] = gated(*crowd, stage.origin.address)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == "not-a-key-holder"
    assert await stage.asked(stage.viewer) == KEY


async def test_a_key_that_cant_be_kept_is_used_all_the_same(stage: Stage) -> None:
    """A full disk at a viewer's node ends no show."""
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    stage.viewer.ring._store._db.execute("PRAGMA query_only=1")
    before = UNKEPT._value.get()
    assert await stage.asked(stage.viewer) == KEY
    assert stage.viewer.ring.get(EVENT, EPOCH.id) == KEY
    assert UNKEPT._value.get() == before + 1
    assert not stage.viewer.ring.counts()
    stage.viewer.ring._store._db.execute("PRAGMA query_only=0")
    assert await stage.asked(stage.viewer, NEXT) == NEXT_KEY
    assert stage.viewer.ring.counts() == {EVENT: 1}


async def test_many_inside_are_looked_at_again_a_few_at_a_time(stage: Stage) -> None:
    stage.origin.tickets.everybody = Held(1)
    for n in range(250):
        seed, peer = (n + 1).to_bytes(32, "big"), peer_id_of(SigningKey(n.to_bytes(32)).public)
        wallet = str(Keypair.from_seed(seed).pubkey())
        text = signed(replace(DELEGATION, wallet=wallet, node=peer), seed)
        question = KeyQuestion(EVENT, (EPOCH.id,), bytes(16), Shown(*text))
        assert (await stage.origin.holder.answer(peer, question)).outcome == (None,)
    stage.origin.tickets.everybody = Missing(had=True)
    stage.origin.tickets.most_at_once = 0
    assert len(await stage.origin.holder.lost(EVENT)) == 250
    assert stage.origin.tickets.most_at_once <= holder.LOOKED_AT_ONCE
    assert not await stage.origin.holder.lost(EVENT), "they are told once"


async def test_a_relay_that_has_no_keys_says_so(stage: Stage) -> None:
    relay = await stage.node("relay")
    stage.viewer.events.events[EVENT] = gated(relay.address)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == "not-a-key-holder"


async def test_a_holder_that_is_silent_is_asked_last_the_next_time(stage: Stage) -> None:
    """Whoever asks waits for so long and no longer: the others must have their turn too."""
    stage.may()
    silent = await stage.node("silent")

    async def say_nothing(stream: PeerStream) -> None:
        await trio.sleep_forever()

    silent.host.handle(PROTOCOL, say_nothing)
    stage.viewer.events.events[EVENT] = gated(silent.address, stage.origin.address)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    with trio.move_on_after(0.5):
        await stage.viewer.ring.ask(EVENT, EPOCH)
    assert await stage.asked(stage.viewer) == KEY
    assert await stage.asked(stage.viewer, NEXT) == NEXT_KEY


@pytest.mark.parametrize("alone", [True, False])
async def test_addresses_that_are_not_dialled_here_keep_nobody_from_the_others(
    stage: Stage, *, alone: bool
) -> None:
    """QUIC and WebSocket are spoken by other nodes, and what is no address at all may be told."""
    stage.may()
    foreign = ("/ip4/127.0.0.1/udp/4001/quic-v1", "/dns4/node/tcp/443/wss", "nonsense")
    origin = stage.origin.address
    stranger = PeerAddress(peer_id_of(SigningKey(bytes(32)).public), foreign)
    named = (PeerAddress(origin.peer, (*foreign, *origin.addresses)),)
    stage.viewer.events.events[EVENT] = gated(*named if alone else (stranger, origin))
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY


async def test_nobody_there_is_told(stage: Stage) -> None:
    gone = PeerAddress(peer_id_of(SigningKey(bytes(32)).public), ("/ip4/127.0.0.1/tcp/1",))
    stage.viewer.events.events[EVENT] = gated(gone)
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == "no-key-holder"


async def test_what_was_refused_is_not_asked_for_again_at_once(stage: Stage) -> None:
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    for _ in range(5):
        answer = await stage.viewer.ring.ask(EVENT, EPOCH)
        assert isinstance(answer, Withheld)
    assert stage.origin.tickets.asked == 1
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer, not_after_s=END_S + 1))
    assert await stage.viewer.ring.ask(EVENT, EPOCH) == KEY, "a new delegation is tried at once"


async def test_ten_thousand_wallets_from_one_node_are_not_looked_up(stage: Stage) -> None:
    """Each with a good delegation to that node: few questions are answered, few reach the chain."""
    peer = stage.viewer.host.peer_id
    outcomes = []
    for n in range(200):
        seed = n.to_bytes(32, "big")
        one = delegated(stage.viewer, seed)
        shown = Shown(one.delegation.text, one.signature)
        question = KeyQuestion(EVENT, (EPOCH.id,), bytes(16), shown)
        outcomes += (await stage.origin.holder.answer(peer, question)).outcome
    assert set(outcomes) == {Refusal.NO_TICKET, Refusal.TRY_LATER}
    assert stage.origin.tickets.asked <= PEER_BURST + 5
    stage.may()
    other = await stage.node("other")
    await other.ring.add_delegation(delegated(other))
    assert await stage.asked(other) == KEY, "nobody else suffers"


async def test_who_asks_too_often_has_nothing_looked_up(stage: Stage) -> None:
    """A name of a room costs nothing, and what is not known of it is read of the chain."""
    peer, before = stage.viewer.host.peer_id, stage.origin.events.asked
    one = delegated(stage.viewer)
    shown = Shown(one.delegation.text, one.signature)
    for n in range(200):
        room = RoomId(str(Keypair.from_seed(n.to_bytes(32, "big")).pubkey()))
        question = KeyQuestion(room, (EPOCH.id,), bytes(16), shown)
        answer = await stage.origin.holder.answer(peer, question)
    assert answer.outcome == (Refusal.TRY_LATER,)
    assert not answer.holders
    assert stage.origin.events.asked - before <= PEER_BURST + 5


async def test_a_crowd_at_the_door_keeps_nobody_out_who_is_inside(
    tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "ROOM_PER_S", 0.0)
    monkeypatch.setattr(holder, "ROOM_BURST", 2.0)
    stage = Stage(nursery, tmp_path)
    await stage.set()
    stage.may()
    await stage.viewer.ring.add_delegation(delegated(stage.viewer))
    assert await stage.asked(stage.viewer) == KEY
    late = await stage.node("late")
    await late.ring.add_delegation(delegated(late, OTHER_WALLET_SEED))
    assert await stage.asked(late) == "no-ticket"
    assert await stage.asked(late) == "try-later"
    assert await stage.asked(stage.viewer, NEXT) == NEXT_KEY


async def test_an_answer_seen_on_the_way_opens_for_nobody_else(stage: Stage) -> None:
    stage.may()
    one = delegated(stage.viewer)
    shown = Shown(one.delegation.text, one.signature)
    question = KeyQuestion(EVENT, (EPOCH.id,), bytes(16), shown)
    me = stage.viewer.host.peer_id
    answer = await stage.origin.holder.answer(me, question)
    opened = open_keys(question, answer, me, SealingKey.of_node(seed_of("viewer")))
    assert opened == {EPOCH.id: KEY.raw}
    with pytest.raises(ValueError):
        open_keys(question, answer, me, SealingKey.of_node(seed_of("thief")))

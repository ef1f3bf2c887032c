"""Rooms are relayed unasked where they need it and the operator lets it, within his budgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from support.content import KEY
from support.peers import peer
from support.stage import Peer, Show, Stage, Wall

from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.live import RoomState
from hausd.core.peers import Copies, Verdict
from hausd.policy.roles import DECIDE_EVERY_S, RelayTerms, Why
from hausd.rooms.directory import Directory
from hausd.rooms.relaying import KEEP_S, Relaying
from hausd.wire.cards import Card, sign_card

RATE_BPS = 800_000
PLENTY = RelayTerms(auto=True, disk_bytes=10**9, upload_bytes_per_s=10**7)
NEEDY = Copies(taken=10, free=0)


class Operated:
    """A node that relays unasked, with what it hears."""

    def __init__(self, node: Peer, terms: RelayTerms) -> None:
        self.node = node
        self.terms = terms
        self.directory = Directory(node.rooms, Wall())
        store = node.home.store
        store.evicted = node.rooms.evicted  # type: ignore[union-attr,method-assign,assignment]
        self.relaying = Relaying(node.rooms, self.directory, store, peer(1), lambda: self.terms)
        self._n = 0

    def hear(self, card: Card, key: SigningKey) -> None:
        self._n += 1
        said = sign_card(replace(card, n=self._n, time_ms=Wall().now_ms()), key).encoded
        assert self.directory.judge(peer(2), said) is Verdict.ACCEPT

    async def in_need(self, *told: tuple[Card, SigningKey]) -> None:
        """These rooms say so for two minutes: by then everyone is called."""
        for _ in range(26):
            for card, key in told:
                self.hear(card, key)
            self.relaying.look()
            await trio.sleep(5)
        for card, key in told:
            self.hear(card, key)

    def relayed(self) -> list[RoomId]:
        return [room.id for room in self.node.rooms.followed() if room.why is Why.AUTO]


def card_of(key: SigningKey, copies: Copies | None = NEEDY, **more: object) -> Card:
    made = Card(key.public.open_room, 1, 1, "A room", "", RoomState.LIVE, copies=copies)
    return replace(made, **{"rate_bps": RATE_BPS, **more})  # type: ignore[arg-type]


def keys(count: int) -> list[SigningKey]:
    return [SigningKey(bytes([n + 1]) * 32) for n in range(count)]


async def test_an_allowed_room_in_need_is_joined_kept_small_and_left_without_a_trace(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.stage.SIZES", [5000])  # 100 kbit/s
    async with Stage(5) as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        key = SigningKey(origin.room(room).record.seed)
        disk = 8_000_000
        one = Operated(node, replace(PLENTY, allow=frozenset([room]), disk_bytes=disk))
        async with (
            Show(stage, origin, room, ("source",)).on() as show,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(one.relaying.run)
            await show.play(100)
            assert node.rooms.get(room) is None, "nobody told of it"
            for _ in range(20):
                one.hear(card_of(key, rate_bps=100_000), key)
                await show.play(20)
            joined = node.followed(room)
            assert joined.why is Why.AUTO
            assert joined.state is RoomState.LIVE
            assert joined.most_bytes_per_s == PLENTY.upload_bytes_per_s
            held = sum(one.size for one in await node.home.store.segments(room))
            assert 0.3 * disk < held <= disk, "it takes what it may, and drops the oldest"
            first = joined.archive("source")
            assert first is not None
            assert first.segments[0].number > 0
            with pytest.raises(Problem, match="unasked"):
                await node.rooms.unfollow(room)

            for _ in range(5):  # it leaves with a chance, at each decision
                one.hear(card_of(key, Copies(10, 10_000)), key)
                await show.play(round(DECIDE_EVERY_S / 4))
            assert node.rooms.get(room) is None, "others have plenty"
            assert await node.home.store.segments(room) == []
            assert node.home.records.files == {}
            nursery.cancel_scope.cancel()


async def test_what_is_not_allowed_live_or_heard_of_lately_is_not_relayed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        allowed, premium, other, over, full, silent = keys(6)
        one = Operated(
            node,
            replace(
                PLENTY,
                allow=frozenset(key.public.open_room for key in (allowed, over, full, silent)),
                premium=frozenset([premium.public.open_room]),
            ),
        )
        await one.in_need(
            *((card_of(key), key) for key in (allowed, premium, other)),
            (card_of(over, state=RoomState.ENDED), over),
            (card_of(full, Copies(4, 20)), full),
            (card_of(silent, None), silent),
        )
        await one.relaying.decide()
        wanted = {allowed.public.open_room, premium.public.open_room}
        assert set(one.relayed()) == wanted
        one.terms = replace(one.terms, premium=frozenset())
        await one.relaying.decide()
        await trio.sleep(10)
        assert one.relayed() == [allowed.public.open_room]
        await trio.sleep(70)
        await one.relaying.decide()
        await trio.sleep(10)
        assert node.rooms.list() == [], "its origin was not heard of for a minute"
        for off in (replace(one.terms, auto=False), replace(one.terms, disk_bytes=1000)):
            one.terms = off
            await one.in_need((card_of(allowed), allowed))
            await one.relaying.decide()
            assert one.relayed() == []


async def test_budgets_are_split_and_never_exceeded_also_where_a_card_said_too_little(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(6) as stage:
        node = await stage.node("node")
        rate = RATE_BPS / 8
        many = keys(20)
        one = Operated(
            node,
            RelayTerms(
                auto=True,
                disk_bytes=int(6.5 * rate * KEEP_S),
                upload_bytes_per_s=24 * rate,
                allow=frozenset(key.public.open_room for key in many),
            ),
        )
        await one.in_need(*((card_of(key), key) for key in many))
        await one.relaying.decide()
        rooms = node.rooms.followed()
        assert len(rooms) == 6, "the disk holds so many for ten minutes"
        shares = [room.share for room in rooms if room.share is not None]
        assert sum(share.disk_bytes for share in shares) <= one.terms.disk_bytes
        upload = sum(share.upload_bytes_per_s for share in shares)
        assert upload == pytest.approx(one.terms.upload_bytes_per_s)
        assert all(share.upload_bytes_per_s >= 3 * rate for share in shares), "more than it takes"
        again = set(one.relayed())
        for key in many:
            one.hear(card_of(key), key)
        await one.relaying.decide()
        assert set(one.relayed()) == again, "what is relayed stays"


async def test_a_room_that_somebody_follows_is_no_longer_relayed_unasked_but_stays(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage() as stage:
        node = await stage.node("node")
        room = KEY.public.open_room
        one = Operated(node, replace(PLENTY, allow=frozenset([room])))
        await one.in_need((card_of(KEY), KEY))
        await one.relaying.decide()
        assert one.relayed() == [room]
        node.rooms.served(room, "somebody", 1)
        assert node.followed(room).why is Why.WATCHED
        one.hear(card_of(KEY), KEY)
        await one.relaying.decide()
        assert node.followed(room).share is not None, "a viewer does not take it out of the budget"
        await node.rooms.follow(room)
        joined = node.followed(room)
        assert (joined.why, joined.share, joined.most_bytes_per_s) == (Why.FOLLOWED, None, None)
        one.hear(card_of(KEY), KEY)
        await one.relaying.decide()
        await trio.sleep(600)
        assert node.followed(room).why is Why.FOLLOWED


async def test_what_was_relayed_unasked_is_gone_after_a_crash(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(7) as stage:
        origin, node = await stage.node("origin"), await stage.node("node")
        stage.swarm.link(origin.node, node.node)
        room = RoomId((await origin.rooms.create("A room")).id)
        key = SigningKey(origin.room(room).record.seed)
        one = Operated(node, replace(PLENTY, allow=frozenset([room])))
        async with Show(stage, origin, room, ("source",)).on() as show:
            await show.play(2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.in_need, (card_of(key), key))
                await show.play(65)
            await one.relaying.decide()
            await show.play(12)
            assert await node.home.store.segments(room)
            stage.kill("node")
            node = await stage.node("node")
            assert node.rooms.get(room) is None
            assert await node.home.store.segments(room) == []
            assert node.home.records.files == {}
            assert node.rooms.repaired == []

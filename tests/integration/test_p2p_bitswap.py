"""Blocks by Bitswap over real connections: they come, from whoever has them, and only true ones."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
import trio
from support.content import content
from support.swapping import Said, scripted, swapping

from hausd.core.cid import CID, Codec
from hausd.core.following import LeafMissing
from hausd.core.peers import PeerAddress, StreamBroken
from hausd.policy import seeking
from hausd.policy.wantlist import MAX_WANTS
from hausd.wire.bitswap import Entry, Kind, Message, Presence, cancel, payload, want

SIZE = 128 * 1024


def leaves(count: int, size: int = SIZE) -> dict[CID, bytes]:
    made = [os.urandom(size) for _ in range(count)]
    return {CID.of(data): data for data in made}


async def test_blocks_go_both_ways_at_once() -> None:
    of_a, of_b = leaves(200), leaves(200)
    async with swapping("a", of_a) as a, swapping("b", of_b) as b:
        got: dict[CID, bytes] = {}
        await a.host.connect(b.address)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for peer, made in ((a, of_b), (b, of_a)):
                    for cid in made:

                        async def get(peer=peer, cid=cid) -> None:  # type: ignore[no-untyped-def]
                            got[cid] = await peer.get(cid, SIZE)

                        nursery.start_soon(get)
        assert got == of_a | of_b
        assert b.blocks.read == len(of_b), "each was read once"


async def test_a_block_comes_from_whoever_has_it() -> None:
    made = leaves(3, 1000)
    async with swapping("a") as a, swapping("b") as b, swapping("c", made) as c:
        await a.host.connect(b.address)
        await a.host.connect(c.address)
        with trio.fail_after(10):
            for cid, data in made.items():
                assert await a.get(cid) == data
        assert b.blocks.read == 0, "who has it not is not asked for it"


async def test_what_nobody_has_is_said_to_be_missing_long_before_the_deadline() -> None:
    async with swapping("a") as a, swapping("b") as b, scripted("not-ipfs", ()) as other:
        await a.host.connect(b.address)
        await a.host.connect(other.host.addresses[0])
        with trio.fail_after(10), pytest.raises(LeafMissing):
            await a.get(CID.of(b"nobody's"), within_s=1000)


async def test_a_block_larger_than_allowed_is_not_handed_over() -> None:
    ((cid, data),) = leaves(1, 1001).items()
    async with swapping("a") as a, swapping("b", {cid: data}) as b:
        await a.host.connect(b.address)
        with trio.fail_after(10), pytest.raises(LeafMissing):
            await a.get(cid, 1000)
        assert await a.get(cid, 1001) == data


async def test_a_silent_peer_is_left_behind_for_one_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seeking, "SILENT_S", 0.3)
    ((cid, data),) = leaves(1, 1000).items()
    async with swapping("a") as a, scripted("silent") as silent, swapping("c", {cid: data}) as c:
        await a.host.connect(silent.host.addresses[0])

        async def promise() -> None:
            await silent.hears()
            await silent.say(a.host.peer_id, Message(presences=(has(cid),)))
            await silent.hears(2)
            await a.host.connect(c.address)

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(promise)
                assert await a.get(cid) == data
            await silent.hears(3)
        assert [one.entries for one in silent.heard] == [
            (want(cid, Kind.HAVE),),
            (want(cid, Kind.BLOCK),),
            (cancel(cid),),
        ]
        assert silent.host.peer_id in a.host.connected(), "nobody is banned for being slow"


async def test_wrong_bytes_are_not_taken_and_their_sender_is_banned() -> None:
    ((cid, data),) = leaves(1, 1000).items()
    async with swapping("a") as a, scripted("liar") as liar, swapping("c", {cid: data}) as c:
        await a.host.connect(liar.host.addresses[0])

        async def lie() -> None:
            await liar.hears()
            await a.host.connect(c.address)
            wrong = payload(bytes(cid), data[:-1] + b"!")
            await liar.say(a.host.peer_id, Message(payload=(wrong,)))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lie)
                assert await a.get(cid) == data
            while liar.host.peer_id in a.host.connected():
                await trio.sleep(0.01)
        assert a.host.connected() == [c.host.peer_id]


async def test_a_block_that_nobody_asked_for_gets_its_sender_banned_and_is_kept_nowhere() -> None:
    async with swapping("a") as a, scripted("pusher") as pusher:
        await pusher.host.connect(a.address)
        gift = payload(bytes(CID.of(b"a gift")), b"a gift")
        with trio.fail_after(10):
            await pusher.say(a.host.peer_id, Message(payload=(gift,)))
            while a.host.connected():
                await trio.sleep(0.01)
        assert a.blocks.held == {}


async def test_a_block_that_comes_twice_or_late_is_nobodys_fault() -> None:
    ((cid, data),) = leaves(1, 1000).items()
    async with swapping("a") as a, scripted("b") as b:
        await a.host.connect(b.host.addresses[0])
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.get, cid)
                await b.hears()
                block = payload(bytes(cid), data)
                await b.say(a.host.peer_id, Message(payload=(block, block)))
            await b.say(a.host.peer_id, Message(payload=(block,)))
            await b.say(a.host.peer_id, Message(entries=(want(cid, Kind.HAVE),)))
            await b.hears(2)
        assert b.heard[-1].presences == (Presence(bytes(cid), cid, have=False),)
        assert a.host.connected() == [b.host.peer_id]


async def test_a_peer_that_is_said_to_have_a_block_is_dialled_for_it() -> None:
    made = leaves(2, 1000)
    said = Said()
    async with swapping("a", providers=said) as a, swapping("c", made) as c:
        said.peers = [PeerAddress(a.host.peer_id, ("/ip4/127.0.0.1/tcp/1",)), c.named]
        with trio.fail_after(10):
            for cid, data in made.items():
                assert await a.get(cid) == data
        assert said.asked == [next(iter(made))], "the second came from who gave the first"


async def test_nobodys_word_sends_a_node_to_its_own_machine_where_it_is_not_reached() -> None:
    made = leaves(1, 1000)
    said = Said()
    async with (
        swapping("a", providers=said, listen="/ip4/0.0.0.0/tcp/0") as a,
        swapping("c", made) as c,
    ):
        port = c.address.split("/")[4]
        names = (*c.named.addresses, f"/dns4/localhost/tcp/{port}", "/ip4/0.0.0.0/tcp/1", "?")
        said.peers = [PeerAddress(c.host.peer_id, names)]
        with trio.fail_after(20), pytest.raises(LeafMissing):
            await a.get(next(iter(made)))
        assert said.asked
        assert not c.host.connected()


# -- giving --


def has(cid: CID) -> Presence:
    return Presence(bytes(cid), cid, have=True)


async def test_each_want_is_answered_as_it_asks() -> None:
    data = content(1, 1000)
    cid, v0 = CID.of(data), CID.of(data, Codec.DAG_PB)
    v0_name = b"\x12\x20" + v0.digest
    strange = b"\x01\x55\x13\x40" + bytes(64)
    async with swapping("a", {cid: data, v0: data}) as a, scripted("b") as b:
        await b.host.connect(a.address)
        with trio.fail_after(10):
            none = CID.of(b"none")
            asked = (
                want(cid, Kind.HAVE),
                Entry(v0_name, v0, Kind.BLOCK, send_dont_have=True),
                want(none, Kind.BLOCK),
                Entry(strange, None, send_dont_have=True),
                Entry(bytes(CID.of(b"quiet")), CID.of(b"quiet")),
            )
            await b.say(a.host.peer_id, Message(entries=asked))
            await b.hears(2)
        presences, blocks = b.heard
        assert set(presences.presences) == {
            has(cid),
            Presence(bytes(none), none, have=False),
            Presence(strange, None, have=False),
        }
        assert blocks.payload == (payload(v0_name, data),)
        assert blocks.payload[0].cid() == v0


async def test_an_older_peer_gets_its_block_and_no_presence() -> None:
    data = content(1, 1000)
    cid = CID.of(data)
    async with swapping("a", {cid: data}) as a, scripted("b", ["/ipfs/bitswap/1.1.0"]) as b:
        await b.host.connect(a.address)
        with trio.fail_after(10):
            await b.say(a.host.peer_id, Message(entries=(want(cid, Kind.BLOCK),)))
            await b.hears()
            theirs = CID.of(b"theirs")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(a.get, theirs)
                await b.hears(2)
                asked = b.heard[1].entries[0]
                assert (asked.cid, asked.kind) == (theirs, Kind.BLOCK)
                answer = Message(payload=(payload(bytes(theirs), b"theirs"),))
                await b.say(a.host.peer_id, answer)
        assert b.heard[0] == Message(payload=(payload(bytes(cid), data),))


async def test_what_one_peer_wants_is_bounded_and_the_rest_is_refused_at_once() -> None:
    made = leaves(MAX_WANTS + 500, 10)
    async with swapping("a", made) as a, scripted("b") as b:
        await b.host.connect(a.address)
        with trio.fail_after(20):
            everything = tuple(want(cid, Kind.BLOCK) for cid in made)
            await b.say(a.host.peer_id, Message(entries=everything))
            while sum(len(one.payload) + len(one.presences) for one in b.heard) < len(made):
                await b.stirred.wait()
        refused = [presence for one in b.heard for presence in one.presences]
        assert len(refused) == 500
        assert not any(presence.have for presence in refused)


async def test_a_peer_that_does_not_read_costs_one_block_of_memory() -> None:
    made = leaves(300)
    async with swapping("a", made) as a, scripted("b", ()) as b:
        taken = trio.Event()

        async def stuck(stream: object) -> None:
            taken.set()
            await trio.sleep_forever()

        b.host.handle("/ipfs/bitswap/1.2.0", stuck)
        b.protocols = ["/ipfs/bitswap/1.2.0"]
        await b.host.connect(a.address)
        with trio.fail_after(10):
            everything = tuple(want(cid, Kind.BLOCK) for cid in made)
            await b.say(a.host.peer_id, Message(entries=everything))
            await taken.wait()
            read = -1
            while a.blocks.read != read:
                read = a.blocks.read
                await trio.sleep(0.2)
        assert read < 10, "as many as its window takes, and one"


async def test_what_is_cancelled_is_not_sent() -> None:
    made = leaves(40)
    async with swapping("a", made, upload_bytes_per_s=20 * SIZE) as a, scripted("b") as b:
        await b.host.connect(a.address)
        with trio.fail_after(20):
            cids = list(made)
            await b.say(
                a.host.peer_id, Message(entries=tuple(want(cid, Kind.BLOCK) for cid in cids))
            )
            await b.hears()
            await b.say(a.host.peer_id, Message(entries=tuple(map(cancel, cids))))
            probe = Entry(bytes(CID.of(b"?")), CID.of(b"?"), send_dont_have=True)
            await b.say(a.host.peer_id, Message(entries=(probe,)))
            while not any(one.presences for one in b.heard):
                await b.stirred.wait()
        assert sum(len(one.payload) for one in b.heard) < 20


async def test_what_was_wanted_of_a_connection_that_is_gone_is_forgotten() -> None:
    """Or a peer that was started anew would be sent what it has never asked for, and ban us."""
    made = leaves(40)
    async with swapping("a", made, upload_bytes_per_s=20 * SIZE) as a:
        async with scripted("b") as b:
            await b.host.connect(a.address)
            everything = tuple(want(cid, Kind.BLOCK) for cid in made)
            with trio.fail_after(10):
                await b.say(a.host.peer_id, Message(entries=everything))
                await b.hears()
        async with scripted("b") as b:
            with trio.fail_after(10):
                await b.host.connect(a.address)
                probe = Entry(bytes(CID.of(b"?")), CID.of(b"?"), send_dont_have=True)
                await b.say(a.host.peer_id, Message(entries=(probe,)))
                await b.hears()
                await trio.sleep(0.5)
            assert [one.presences for one in b.heard] == [
                (Presence(probe.name, probe.cid, have=False),)
            ]


async def test_broken_bytes_end_a_stream_and_nothing_else() -> None:
    ((cid, data),) = leaves(1, 1000).items()
    async with swapping("a", {cid: data}) as a, scripted("b") as b:
        await b.host.connect(a.address)
        with trio.fail_after(10):
            for broken in (b"\xff\xff\xff\xff", b"\x02\xff\xff", b"\x81\x80\x80\x02"):
                stream = await b.host.open_stream(a.host.peer_id, "/ipfs/bitswap/1.2.0")
                with suppress(StreamBroken):  # it may be reset before all is sent
                    await stream.send_all(broken)
            await b.say(a.host.peer_id, Message(entries=(want(cid, Kind.BLOCK),)))
            await b.hears()
        assert b.heard[0].payload[0].data == data

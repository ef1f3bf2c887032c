"""Gated rooms: what is stored and sent is ciphertext, and plays for who has the keys only."""

from __future__ import annotations

import trio
from support.memorystore import MemoryStore
from support.stage import Peer, Show, Stage, same_archive, same_live

from hausd.core.gating import Withheld
from hausd.core.live import Media, Sealed

NAMES = ("source", "audio")


async def gated(peer: Peer) -> str:
    return (await peer.rooms.create("A gated room", gated=True)).id


def blocks_of(peer: Peer) -> bytes:
    """Everything that a node has on disk or gives to others."""
    store = peer.home.store
    assert isinstance(store, MemoryStore)
    return b"".join([*store._blocks.values(), *store.small.values()])


async def opened(media: Media | None) -> bytes | Withheld:
    assert media is not None
    body = media.body
    if isinstance(body, Sealed):
        return await body.open()
    assert isinstance(body, tuple)
    return b"".join(body)


def clear_of(show: Show, name: str) -> bytes:
    return b"".join(data for of, data in show.said if of == name)


async def recorded(peer: Peer, room: str, name: str) -> list[bytes | Withheld]:
    """The content of every recorded segment of a rendition."""
    playlist = peer.room(room).archive(name)
    assert playlist is not None
    return [await opened(peer.room(room).archive_media(name, one.cid)) for one in playlist.segments]


async def test_who_has_the_keys_sees_what_was_streamed_and_all_else_is_ciphertext(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Stage(1) as stage:
        origin, viewer, relay = [await stage.node(name) for name in ("origin", "viewer", "relay")]
        stage.swarm.link(origin.node, relay.node)
        stage.swarm.link(relay.node, viewer.node)
        viewer.home.keyring.holder = origin.home.keyring
        room = await gated(origin)
        for one in (relay, viewer):
            await one.rooms.follow(room)
        async with Show(stage, origin, room, NAMES).on() as show:
            await show.play(13)
            await trio.sleep(0.3)
            await same_live(origin, viewer, room)
            assert viewer.room(room).withheld() is None
            track = viewer.room(room).tracks["source"]
            live = track.playlist().segments[-1]
            part = track.part(live.session.counter, live.msn, 0)
            assert await opened(part) in [data for _, data in show.said]
            init = track.init(live.session.counter, live.run)
            assert (await opened(init)) == f"init of source in run {live.run}".encode()
        await trio.sleep(60)
        await same_archive(origin, viewer, room)
        for one in (origin, viewer):
            for name in NAMES:
                found = await recorded(one, room, name)
                assert b"".join(part for part in found if isinstance(part, bytes)) == clear_of(
                    show, name
                )
        # the relay has it all, and can show nothing
        assert blocks_of(relay)
        assert relay.room(room).withheld() == Withheld(
            "no-ticket", "the wallet has no ticket for this event"
        )
        for media in await recorded(relay, room, "source"):
            assert isinstance(media, Withheld)
            assert media.code == "no-ticket"
        held = {name: blocks_of(one) for name, one in [("origin", origin), ("relay", relay)]}
        held["files"] = b"".join(relay.home.records.files.values())
        for name, data in show.said:
            for where, kept in held.items():
                assert data[:64] not in kept, (name, where)
        assert not any(b"init of" in kept for kept in held.values())

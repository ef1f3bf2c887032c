"""js-libp2p and a host of ours: each dials the other, and they understand all that is said."""

from __future__ import annotations

import os

import pytest
import trio
from support.hosts import host
from support.jspeer import has_package, js_peer

from hausd.core.peers import PeerId, PeerStream, Verdict, parse_multiaddr
from hausd.p2p import Host

pytestmark = pytest.mark.skipif(
    not has_package("libp2p"),
    reason="needs Node.js and `npm ci` in tests/interop/js (scripts/test does both)",
)


def accept(peer: PeerId, data: bytes) -> Verdict:
    return Verdict.ACCEPT


@pytest.mark.parametrize("we_dial", [True, False])
async def test_streams_pings_and_topics_work_with_js_libp2p(we_dial: bool) -> None:
    counted = 0

    async def count(stream: PeerStream) -> None:
        nonlocal counted
        while received := await stream.receive_some():
            counted += len(received)

    async with js_peer("peer.mjs") as js, host("a") as ours, ours.topic("t", accept) as topic:
        ours.handle("/count/1", count)
        address = parse_multiaddr(await js.says("address"))
        await js.tell(subscribe="t")
        if we_dial:
            await ours.connect(address)
        else:
            await js.tell(dial=ours.addresses[0])
        assert await js.says("identified") == ours.peer_id

        await js.tell(ping=ours.addresses[0])
        assert await js.says("rtt") >= 0
        await echoed(ours, PeerId(address.rpartition("/")[2]))
        # its frames are as long as our window lets them be
        await js.tell(upload=ours.addresses[0], bytes=10_000_000)
        assert await js.says("uploaded") == 10_000_000

        with trio.fail_after(20):
            while counted < 10_000_000 or not topic.peers():
                await trio.sleep(0.02)
            await trio.sleep(2)  # until its mesh has formed
            topic.publish(b"from ours")
            assert await js.says("heard") == "from ours"
            await js.tell(publish="t", text="from js")
            assert (await anext(topic)).data == b"from js"
        assert ours.peers()[0].rtt_s is not None


async def echoed(ours: Host, peer: PeerId) -> None:
    data, back = os.urandom(1_000_000), bytearray()
    with trio.fail_after(20):
        stream = await ours.open_stream(peer, "/echo/1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, data)
            while len(back) < len(data):
                back += await stream.receive_some()
        await stream.aclose()
    assert bytes(back) == data

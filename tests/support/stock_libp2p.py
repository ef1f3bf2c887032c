"""A node of stock py-libp2p, to be run as a program: shows the faults that hausd has mended.

    stock_libp2p.py serve [--raising-validator | --async-validator]
    stock_libp2p.py taken-port | deadlock | stalled-writer | sockets | spam

``serve`` prints its address, then answers each line on standard input with what it sees. The
others print what became of it and end. It imports nothing of hausd.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from contextlib import asynccontextmanager

import psutil
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.config import ConnectionConfig
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

logging.disable(logging.CRITICAL)


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def running(port: int | None = None):
    listen = Multiaddr(f"/ip4/127.0.0.1/tcp/{port or free_port()}")
    config = ConnectionConfig(max_connections_per_peer=1)
    host = new_host(key_pair=create_new_key_pair(), listen_addrs=[listen], connection_config=config)
    async with host.run([listen]):
        yield host, f"{listen}/p2p/{host.get_id()}"


@asynccontextmanager
async def gossiping(host, **options):
    gossip = GossipSub(
        [PROTOCOL_ID_V11], degree=6, degree_low=4, degree_high=12, heartbeat_interval=1, **options
    )
    pubsub = Pubsub(host, gossip)
    async with background_trio_service(pubsub), background_trio_service(gossip):
        await pubsub.wait_until_ready()
        yield pubsub


async def echo(stream) -> None:
    while True:
        await stream.write(await stream.read(65536))


async def hold(stream) -> None:
    await trio.sleep_forever()


async def serve(options: argparse.Namespace) -> None:
    heard = 0

    def raising(peer, message):
        raise ValueError("a validator's fault")

    async def slow(peer, message):
        await trio.sleep(0.2)
        return True

    async with running() as (host, address), gossiping(host) as pubsub:
        host.set_stream_handler("/echo/1", echo)
        host.set_stream_handler("/hold/1", hold)
        if options.raising_validator:
            pubsub.set_topic_validator("t", raising, False)
        if options.async_validator:
            pubsub.set_topic_validator("t", slow, True)
        subscription = await pubsub.subscribe("t")

        async def listen() -> None:
            nonlocal heard
            while True:
                await subscription.get()
                heard += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            say(address=address)
            while await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
                say(
                    heard=heard,
                    peers=len(host.get_connected_peers()),
                    rss=psutil.Process().memory_info().rss,
                )
            os._exit(0)  # its own way out may hang


async def taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with running(taken.getsockname()[1]):
            say(raised=False)


async def deadlock() -> None:
    """Both ends send bulk and open streams."""
    async with running() as (one, _), running() as (other, address):
        done = 0

        async def drain(stream) -> None:
            left = 4_000_000
            while left > 0:
                left -= len(await stream.read(65536))
            await stream.close()

        async def push(host, peer) -> None:
            nonlocal done
            stream = await host.new_stream(peer, ["/drain/1"])
            for _ in range(64):
                await stream.write(bytes(62_500))
            done += 1

        for host in (one, other):
            host.set_stream_handler("/drain/1", drain)
        info = info_from_p2p_addr(Multiaddr(address))
        await one.connect(info)
        with trio.move_on_after(6):
            async with trio.open_nursery() as nursery:
                for _ in range(24):
                    nursery.start_soon(push, one, other.get_id())
                    nursery.start_soon(push, other, one.get_id())
        say(done=done)
        os._exit(0)


async def stalled_writer() -> None:
    async with running() as (one, _), running() as (other, address):
        other.set_stream_handler("/hold/1", hold)
        await one.connect(info_from_p2p_addr(Multiaddr(address)))
        stream = await one.new_stream(other.get_id(), ["/hold/1"])
        began = trio.current_time()
        try:
            with trio.move_on_after(8):
                await stream.write(bytes(10_000_000))
            say(broke_after_s=None)
        except Exception:
            say(broke_after_s=trio.current_time() - began)
        os._exit(0)


async def sockets() -> None:
    before = psutil.Process().num_fds()
    async with running() as (one, _), running() as (_other, address):
        await one.connect(info_from_p2p_addr(Multiaddr(address)))
    await trio.sleep(0.5)
    say(left_open=psutil.Process().num_fds() - before)
    os._exit(0)


async def spam() -> None:
    """30 messages at once: how many arrive with the defaults."""
    async with (
        running() as (one, _),
        running() as (other, address),
        gossiping(one) as sender,
        gossiping(other) as receiver,
    ):
        await one.connect(info_from_p2p_addr(Multiaddr(address)))
        await sender.subscribe("t")
        subscription = await receiver.subscribe("t")
        await trio.sleep(2)
        heard = 0
        for number in range(30):
            await sender.publish("t", b"%d" % number)
        with trio.move_on_after(2):
            while True:
                await subscription.get()
                heard += 1
        say(heard=heard)
        os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode")
    parser.add_argument("--raising-validator", action="store_true")
    parser.add_argument("--async-validator", action="store_true")
    options = parser.parse_args()
    modes = {
        "taken-port": taken_port,
        "deadlock": deadlock,
        "stalled-writer": stalled_writer,
        "sockets": sockets,
        "spam": spam,
    }
    if options.mode == "serve":
        trio.run(serve, options)
    else:
        trio.run(modes[options.mode])


if __name__ == "__main__":
    main()

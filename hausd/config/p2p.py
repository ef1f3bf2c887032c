"""What a node does in the network of nodes."""

from __future__ import annotations

from typing import Literal

from hausd.config.options import BitsPerSecond, Multiaddrs, Peers, Section, Text, option
from hausd.policy.uploads import ORIGIN_COPIES


class P2PConfig(Section):
    """The network of nodes: who follows a room of another node's, and passes it on."""

    listen: Text = option(
        "/ip4/127.0.0.1/tcp/4001",
        "Multiaddr to listen on: /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT. Empty: this "
        "node takes part in no network.",
    )
    announce: Multiaddrs = option(
        (),
        "What others are told to dial instead, as in "
        '["/dns4/live.example.org/tcp/4001"] behind a forwarded port.',
    )
    bootstrap: Peers = option(
        (),
        "Nodes to be connected with from the start, each with /p2p/ID. None is needed where "
        "somebody gives you an address.",
    )
    mdns: bool = option(
        True, "Finds nodes on the local network; never while only loopback is listened on."
    )
    dht: Literal["auto", "client", "server", "off"] = option(
        "auto",
        "The DHT, in which rooms are found by their id. client: this node only asks; server: it "
        "answers others as well; auto: it answers where they can reach it, that is on the local "
        "network, and in the open one from a public address (of its own, or announced).",
    )
    upload: BitsPerSecond = option(
        1_000_000_000,
        "What may be sent to other nodes, all rooms together.",
        unit="bits a second",
        ge=1_000_000,
    )
    origin_copies: float = option(
        ORIGIN_COPIES,
        "How often a room that begins here is sent at once; whoever asks beyond is told whom to "
        "ask instead. 3 is what a home's uplink carries.",
        unit="copies",
        ge=1,
        le=1000,
    )
    max_peers: int = option(
        256, "Connections with other nodes at once.", unit="connections", ge=4, le=10_000
    )
    peer_rate: BitsPerSecond = option(
        0,
        "What one other node may send to this one, and be sent, each; beyond it is slowed, not cut "
        "off. 0: as fast as it goes.",
        unit="bits a second",
        ge=0,
    )

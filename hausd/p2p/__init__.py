"""The network of nodes: libp2p over TCP, noise and yamux, gossip, and who may take what.

What others need of it is in ``hausd.core.peers``; ``open_host`` begins it all.
"""

from __future__ import annotations

from hausd.p2p.book import PeerBook
from hausd.p2p.host import Host, ListenFailed, open_host
from hausd.p2p.pubsub import Topic

__all__ = ["Host", "ListenFailed", "PeerBook", "Topic", "open_host"]

"""The DHT: who has a block, where a name points, found and told without anybody's server."""

from hausd.p2p.kad.dht import Dht, DhtMode, Held, open_dht

__all__ = ["Dht", "DhtMode", "Held", "open_dht"]

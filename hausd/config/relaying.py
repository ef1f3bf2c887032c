"""Options of relaying unasked, and of the rooms that go first."""

from __future__ import annotations

from hausd.config.options import BitsPerSecond, Bytes, RoomIds, Section, option


class RelayConfig(Section):
    """What this node does for rooms of others that nobody here asked for, and which go first."""

    auto: bool = option(
        False,
        "Relays rooms unasked: those of allow and premium that need relays most, within disk and "
        "upload. Nobody has to tell it which.",
        reload=True,
    )
    disk: Bytes = option(
        2 * 10**9,
        "What rooms that are relayed unasked may take of the store, all together: the newest of "
        "each, the rest is removed.",
        unit="bytes",
        reload=True,
    )
    upload: BitsPerSecond = option(
        20_000_000,
        "What may be sent of them to other nodes, all together, within p2p.upload.",
        unit="bits a second",
        reload=True,
    )
    allow: RoomIds = option(
        (),
        'Rooms that may be relayed unasked, by their ids, as in ["k51…"]. The id of an open room '
        "is the key of who streams into it.",
        reload=True,
    )
    premium: RoomIds = option(
        (),
        "Rooms that go before others, by their ids: in what is sent, fetched and relayed unasked. "
        "No other room gets nothing because of them.",
        reload=True,
    )

"""What nodes give each other of rooms: leaves by ``/haus/blocks/1``, statements by
``/haus/room/1``, announcements by gossip. Whom to ask and whom to serve is ``hausd.policy``'s.
"""

from __future__ import annotations

from hausd.p2p.exchange.exchange import Exchange, open_exchange
from hausd.p2p.exchange.ports import Shared, SharedRoom, UploadSettings

__all__ = ["Exchange", "Shared", "SharedRoom", "UploadSettings", "open_exchange"]

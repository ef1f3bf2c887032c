"""The JSON shapes of gated rooms' keys, and of delegations to this node. No key is in any of them
but sealed to a recipient."""

from __future__ import annotations

from datetime import datetime

from hausd.core.shapes import Shape


class DelegationShape(Shape):
    """What a wallet lets this node do. ``room`` is null for every room on that chain."""

    wallet: str
    room: str | None
    scopes: list[str]
    begins: datetime
    ends: datetime
    chain: str


class RoomKeysShape(Shape):
    """How many epochs' keys of a room are here."""

    room: str
    keys: int
    banned: list[str] = []


class KeysShape(Shape):
    """Who this node is to wallets and key holders, and what it may watch.

    ``node`` is its peer id, ``sealing_key`` the X25519 key (base58) that keys are sealed to.
    ``given_unchecked``: keys that were given since the start while the chain did not answer.
    """

    node: str
    sealing_key: str
    rooms: list[RoomKeysShape]
    delegations: list[DelegationShape]
    given_unchecked: int = 0


class KeyBundleShape(Shape):
    """A room's keys, sealed to another node: only it can import them. ``sealed`` is base64."""

    room: str
    sealing_key: str
    keys: int
    sealed: str


class ImportedKeysShape(Shape):
    """What came of an import."""

    room: str
    keys: int
    new: int

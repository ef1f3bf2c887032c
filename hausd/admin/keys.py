"""The admin socket's routes of gated rooms' keys and delegations, and what they need of the node.

Every method may raise Problem. No key leaves the node by them but sealed to another node.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from hausd.core.delegation import MAX_TEXT_BYTES
from hausd.core.errors import Problem
from hausd.core.ids import RoomId, parse_room_id
from hausd.core.key_shapes import (
    DelegationShape,
    ImportedKeysShape,
    KeyBundleShape,
    KeysShape,
    RoomKeysShape,
)
from hausd.core.shapes import Shape

_MAX_SEALED = 4 * 1024 * 1024
_MAX_ADDRESS = 64
_MAX_SIGNATURE = 128
key_routes = APIRouter(prefix="/v1")


class KeysPort(Protocol):
    """The node's keys, as its operator sees and steers them."""

    def keys(self) -> KeysShape:
        """Who this node is to wallets and key holders, and what it may watch."""

    async def delegate(self, untrusted_text: str, untrusted_signature: str) -> DelegationShape:
        """Takes a delegation to this node, with its wallet's signature (base58)."""

    async def export(self, room: RoomId, untrusted_to: str) -> KeyBundleShape:
        """A room's keys, sealed to another node's sealing key (base58)."""

    async def take(self, room: RoomId, untrusted_sealed: str) -> ImportedKeysShape:
        """Imports keys that were sealed to this node (base64)."""

    async def ban(self, room: RoomId, untrusted_wallet: str, *, banned: bool) -> RoomKeysShape:
        """No further key for a wallet, or again."""


def _keys(request: Request) -> KeysPort:
    keys: KeysPort | None = request.app.state.node.keys
    if keys is None:
        raise Problem("not-yet", "the node is starting", "try again in a moment", 503)
    return keys


def _room(untrusted: str) -> RoomId:
    try:
        return parse_room_id(untrusted)
    except ValueError as error:
        raise Problem("bad-room-id", f"{untrusted[:80]!r} is not a room id", str(error)) from None


Keys = Annotated[KeysPort, Depends(_keys)]


class NewDelegation(Shape):
    """A text as ``core.delegation`` has it, and its wallet's signature, base58."""

    text: Annotated[str, Field(max_length=MAX_TEXT_BYTES)]
    signature: Annotated[str, Field(max_length=_MAX_SIGNATURE)]


class Export(Shape):
    """Whom a room's keys are sealed to: the sealing key of a node, base58."""

    room: str
    sealing_key: Annotated[str, Field(max_length=_MAX_ADDRESS)]


class Import(Shape):
    """What an export gave."""

    room: str
    sealed: Annotated[str, Field(max_length=_MAX_SEALED)]


class Ban(Shape):
    """A wallet that gets no further key of a room; or, not ``banned``, may again."""

    room: str
    wallet: Annotated[str, Field(max_length=_MAX_ADDRESS)]
    banned: bool = True


@key_routes.get("/keys")
async def _show(keys: Keys) -> KeysShape:
    return keys.keys()


@key_routes.post("/delegations", status_code=HTTPStatus.CREATED)
async def _delegate(keys: Keys, new: NewDelegation) -> DelegationShape:
    return await keys.delegate(new.text, new.signature)


@key_routes.post("/keys/export")
async def _export(keys: Keys, wanted: Export) -> KeyBundleShape:
    return await keys.export(_room(wanted.room), wanted.sealing_key)


@key_routes.post("/keys/import")
async def _import(keys: Keys, given: Import) -> ImportedKeysShape:
    return await keys.take(_room(given.room), given.sealed)


@key_routes.post("/keys/ban")
async def _ban(keys: Keys, told: Ban) -> RoomKeysShape:
    return await keys.ban(_room(told.room), told.wallet, banned=told.banned)

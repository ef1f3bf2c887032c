"""What a node's operator may do with its keys. Implements ``admin.keys.KeysPort``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from solders.pubkey import Pubkey
from solders.signature import Signature

from hausd.core.delegation import DelegationError, SignedDelegation, verify
from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.key_shapes import (
    DelegationShape,
    ImportedKeysShape,
    KeyBundleShape,
    KeysShape,
    RoomKeysShape,
)
from hausd.core.peers import PeerId
from hausd.core.sealing import SealError, SealingKey
from hausd.core.shapes import CheckShape
from hausd.keys import bundles
from hausd.keys.holder import KeyHolder
from hausd.keys.ring import KeyRing

Genesis = Callable[[], Awaitable[str]]
_DISK = "look at the disk, and at who may write to keys/ in the home"


class KeysOperator:
    """Every method may raise Problem. ``genesis`` reads the chain's genesis hash."""

    def __init__(self, ring: KeyRing, key: SealingKey, me: PeerId, genesis: Genesis | None) -> None:
        self._ring = ring
        self._key = key
        self._me = me
        self._genesis = genesis
        self.holder: KeyHolder | None = None

    def keys(self) -> KeysShape:
        """Who this node is, and what it has."""
        counts = self._ring.counts()
        return KeysShape(
            node=self._me,
            sealing_key=str(Pubkey(self._key.public)),
            rooms=[
                RoomKeysShape(room=room, keys=keys, banned=sorted(self._ring.banned_from(room)))
                for room, keys in sorted(counts.items())
            ],
            delegations=[_shape(each) for each in self._ring.delegations],
            given_unchecked=self.given_unchecked,
        )

    @property
    def given_unchecked(self) -> int:
        """Keys that were given while the chain did not answer."""
        return self.holder.graced if self.holder is not None else 0

    def check(self) -> CheckShape:
        """Whether keys had to be given that the chain was not asked about."""
        given = self.given_unchecked
        if not given:
            return CheckShape(name="keys", state="ok", found="none was given unchecked")
        return CheckShape(
            name="keys",
            state="warn",
            found=f"{given} given to viewers inside while the chain did not answer",
            mend="nobody new is let in till it does: look at chain.rpc_url",
        )

    async def delegate(self, untrusted_text: str, untrusted_signature: str) -> DelegationShape:
        """Takes a delegation to this node; ``untrusted_signature`` is base58."""
        try:
            signature = bytes(Signature.from_string(untrusted_signature))
            signed = verify(untrusted_text, signature)
        except (ValueError, DelegationError) as fault:
            hint = "hausctl tickets use makes one"
            raise Problem("bad-delegation", str(fault), hint, 422) from None
        made = signed.delegation
        if made.node != self._me or made.sealing_key != self._key.public:
            message = f"the delegation is to another node ({made.node})"
            raise Problem("other-node", message, f"this one is {self._me}", 422)
        if self._genesis is not None:
            here = await self._genesis()
            if str(Pubkey(made.chain)) != here:
                message = "the delegation is for another chain than this node's"
                raise Problem("other-chain", message, f"this node's is {here}", 422)
        try:
            await self._ring.add_delegation(signed)
        except OSError as fault:
            raise Problem("disk", f"it was not kept: {fault}", _DISK, 507) from fault
        return _shape(signed)

    async def export(self, room: RoomId, untrusted_to: str) -> KeyBundleShape:
        """A room's keys, sealed to another node's sealing key (base58)."""
        if not self._ring.has_of(room):
            hint = "hausctl keys list shows of which rooms there are some"
            raise Problem("no-keys", f"no key of {room} is here", hint, 404)
        keys = await self._ring.all_of(room)
        if len(keys) > bundles.MAX_KEYS:
            message = (
                f"{len(keys):,} keys of {room} are here, one export holds {bundles.MAX_KEYS:,}"
            )
            hint = "name the other node in keys.holders: it asks for each key that it needs"
            raise Problem("too-many-keys", message, hint, 409)
        try:
            to = bytes(Pubkey.from_string(untrusted_to))
            sealed = bundles.seal_bundle(room, keys, to)
        except (ValueError, SealError):
            hint = "hausctl keys list shows it, at the node that shall have the keys"
            message = f"{untrusted_to[:80]!r} is no sealing key"
            raise Problem("bad-sealing-key", message, hint, 422) from None
        text = base64.b64encode(sealed).decode()
        return KeyBundleShape(room=room, sealing_key=untrusted_to, keys=len(keys), sealed=text)

    async def take(self, room: RoomId, untrusted_sealed: str) -> ImportedKeysShape:
        """Imports keys that were sealed to this node (base64)."""
        try:
            sealed = base64.b64decode(untrusted_sealed, validate=True)
            keys = bundles.open_bundle(room, sealed, self._key)
        except (binascii.Error, SealError, ValueError):
            hint = f"they have to be exported to {Pubkey(self._key.public)}"
            message = "these keys are not sealed to this node, or not of this room"
            raise Problem("not-ours", message, hint, 422) from None
        try:
            new = await self._ring.keep_unproven(room, keys)
        except OSError as fault:
            raise Problem("disk", f"they were not kept: {fault}", _DISK, 507) from fault
        return ImportedKeysShape(room=room, keys=len(keys), new=new)

    async def ban(self, room: RoomId, untrusted_wallet: str, *, banned: bool) -> RoomKeysShape:
        """No further key for a wallet, or again."""
        try:
            wallet = str(Pubkey.from_string(untrusted_wallet))
        except ValueError:
            hint = "an address is base58 text of 32 bytes"
            message = f"{untrusted_wallet[:80]!r} is no address"
            raise Problem("bad-address", message, hint, 422) from None
        try:
            await self._ring.ban(room, wallet, banned=banned)
        except OSError as fault:
            raise Problem("disk", f"it was not kept: {fault}", _DISK, 507) from fault
        keys, names = self._ring.counts().get(room, 0), sorted(self._ring.banned_from(room))
        return RoomKeysShape(room=room, keys=keys, banned=names)


def _shape(signed: SignedDelegation) -> DelegationShape:
    made = signed.delegation
    return DelegationShape(
        wallet=made.wallet,
        room=made.room,
        scopes=sorted(made.scopes),
        begins=datetime.fromtimestamp(made.not_before_s, UTC),
        ends=datetime.fromtimestamp(made.not_after_s, UTC),
        chain=str(Pubkey(made.chain)),
    )

"""What a chain answers, or refuses, in a user's words."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable
from typing import TypeVar

from solders.pubkey import Pubkey

from hausd.chain.calls import RpcError
from hausd.chain.sending import BadTransaction
from hausd.core.errors import Problem
from hausd.core.programs.accounts import AccountError
from hausd.core.programs.messages import MAX_TRANSACTION_BYTES

T = TypeVar("T")


def address(untrusted: str) -> Pubkey:
    """Problem ``bad-address`` where it is none."""
    try:
        return Pubkey.from_string(untrusted)
    except ValueError:
        message = f"{untrusted[:80]!r} is no address"
        raise Problem("bad-address", message, "an address is base58 text of 32 bytes") from None


async def asked(asking: Awaitable[T]) -> T:
    """What the chain refuses is told in words."""
    try:
        return await asking
    except RpcError as fault:
        raise Problem("chain-refuses", f"the chain refuses: {fault}", status=502) from None


async def told(asking: Awaitable[T]) -> T:
    """An account that is not what it should be is told in words."""
    try:
        return await asked(asking)
    except AccountError as fault:
        raise Problem("bad-account", str(fault), "is hausd up to date?", 502) from None


def decoded(untrusted: str) -> bytes:
    """A transaction's or a message's bytes, of base64. Raises BadTransaction."""
    if len(untrusted) > 2 * MAX_TRANSACTION_BYTES:
        raise BadTransaction("it is too long")
    try:
        return base64.b64decode(untrusted, validate=True)
    except (binascii.Error, ValueError):
        raise BadTransaction("it is no base64") from None

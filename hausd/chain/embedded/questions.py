"""A JSON-RPC call's parameters, checked. What is wrong is told as a cluster tells it."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from solders.pubkey import Pubkey
from solders.signature import Signature

from hausd.chain.embedded.records import from_base58

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL = -32603
SEND_FAILED = -32002
SIGNATURE_FAILURE = -32003
NODE_UNHEALTHY = -32005
SLOT_SKIPPED = -32007
MIN_CONTEXT_SLOT = -32016
LIMITED = 429
_COMMITMENTS = ("processed", "confirmed", "finalized", "recent", "single", "singleGossip", "root",
                "max")  # fmt: skip
_MAX_TX_BYTES = 1232
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of one answer, or of a list of them. Solana's own node gives at most 50 MB."""
_ENTRY_BYTES = 400
"""What an account's form has beside its data."""


class RpcFault(Exception):
    """An error object of JSON-RPC."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.too_large = False


def too_large() -> RpcFault:
    """Of an answer that nobody has to hold."""
    most = MAX_ANSWER_BYTES // 2**20
    made = RpcFault(
        INVALID_REQUEST, f"the answer would be larger than {most} MiB: ask for less at a time"
    )
    made.too_large = True
    return made


class Weight:
    """What was put into an answer so far."""

    def __init__(self) -> None:
        self._left = MAX_ANSWER_BYTES

    def add(self, data_bytes: int) -> None:
        """An account with so much data. Raises RpcFault, before it is encoded."""
        self._left -= _ENTRY_BYTES + data_bytes * 4 // 3
        if self._left < 0:
            raise too_large()


def invalid(message: str) -> RpcFault:
    """What a cluster says of parameters that it can't take."""
    return RpcFault(INVALID_PARAMS, f"Invalid params: {message}.")


class Params:
    """The untrusted parameters of one call: a list, whose last entry may be a configuration."""

    def __init__(self, untrusted: object, config_at: int) -> None:
        if untrusted is None:
            untrusted = []
        if not isinstance(untrusted, list):
            raise invalid("expected an array")
        self._given = untrusted
        config = untrusted[config_at] if len(untrusted) > config_at else None
        if config is None:
            config = {}
        if not isinstance(config, dict):
            raise invalid(f"invalid type at {config_at}, expected a map")
        self.config: dict[str, Any] = config
        commitment = config.get("commitment")
        if commitment is not None and commitment not in _COMMITMENTS:
            raise invalid(f"unknown variant `{str(commitment)[:40]}`, expected a commitment")

    def __len__(self) -> int:
        return len(self._given)

    def at(self, index: int, name: str) -> Any:
        if len(self._given) <= index:
            raise RpcFault(INVALID_PARAMS, f"`params` should have at least {index + 1} argument(s)")
        found = self._given[index]
        if found is None:
            raise invalid(f"invalid type: null, expected {name}")
        return found

    def address(self, index: int) -> Pubkey:
        return address(self.at(index, "an address"))

    def addresses(self, index: int, most: int) -> list[Pubkey]:
        found = self.at(index, "a list of addresses")
        if not isinstance(found, list):
            raise invalid("expected a list of addresses")
        if len(found) > most:
            raise RpcFault(INVALID_PARAMS, f"Too many inputs provided; max {most}")
        return [address(one) for one in found]

    def uint(self, index: int, name: str) -> int:
        found = self.at(index, name)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 2**64:
            raise invalid(f"expected {name}, an unsigned integer")
        return found

    def signatures(self, index: int, most: int) -> list[Signature]:
        found = self.at(index, "a list of signatures")
        if not isinstance(found, list):
            raise invalid("expected a list of signatures")
        if len(found) > most:
            raise RpcFault(INVALID_PARAMS, f"Too many inputs provided; max {most}")
        return [signature(one) for one in found]

    def option(self, name: str, kind: type, default: Any = None) -> Any:
        found = self.config.get(name)
        if found is None:
            return default
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise invalid(f"{name} has not the right type")
        if isinstance(found, int) and not 0 <= found < 2**63:
            raise invalid(f"{name} is out of range")
        return found

    def slice(self) -> tuple[int, int] | None:
        """``dataSlice``: offset and length."""
        found = self.option("dataSlice", dict)
        if found is None:
            return None
        offset, length = found.get("offset"), found.get("length")
        for one in (offset, length):
            if isinstance(one, bool) or not isinstance(one, int) or not 0 <= one < 2**31:
                raise invalid("dataSlice has an offset and a length")
        return offset, length

    def encoding(self, default: str) -> str:
        found: str = self.option("encoding", str, default)
        return found


def address(untrusted: object) -> Pubkey:
    """An account's address in base58. Raises RpcFault."""
    try:
        return Pubkey.from_string(untrusted)  # type: ignore[arg-type] # checked by it
    except (ValueError, TypeError):
        raise RpcFault(INVALID_PARAMS, "Invalid param: Invalid") from None


def signature(untrusted: object) -> Signature:
    """A transaction's signature in base58. Raises RpcFault."""
    try:
        return Signature.from_string(untrusted)  # type: ignore[arg-type] # checked by it
    except (ValueError, TypeError):
        raise RpcFault(INVALID_PARAMS, "Invalid param: Invalid") from None


def transaction_bytes(untrusted: object, encoding: str) -> bytes:
    """A transaction's wire form. Raises RpcFault."""
    if not isinstance(untrusted, str):
        raise invalid("expected an encoded transaction")
    if len(untrusted) > 2 * _MAX_TX_BYTES:
        raise RpcFault(
            INVALID_PARAMS,
            f"{encoding} encoded transaction too large: {len(untrusted)} bytes "
            f"(max: encoded/raw {2 * _MAX_TX_BYTES}/{_MAX_TX_BYTES})",
        )
    try:
        if encoding == "base64":
            raw = base64.b64decode(untrusted, validate=True)
        elif encoding == "base58":
            raw = from_base58(untrusted, _MAX_TX_BYTES)
        else:
            raise invalid(
                f"unsupported encoding: {encoding[:20]}. Supported encodings: base58, base64"
            )
    except (binascii.Error, ValueError) as fault:
        raise RpcFault(INVALID_PARAMS, f"invalid {encoding} encoding: {fault}") from None
    if len(raw) > _MAX_TX_BYTES:
        raise RpcFault(INVALID_PARAMS, f"decoded transaction too large: {len(raw)} bytes")
    return raw


class Filters:
    """``getProgramAccounts``'s and ``programSubscribe``'s filters."""

    def __init__(self, untrusted: object) -> None:
        if untrusted is None:
            untrusted = []
        if not isinstance(untrusted, list) or len(untrusted) > 4:
            raise RpcFault(INVALID_PARAMS, "Too many filters provided; max 4")
        self._sizes: list[int] = []
        self._parts: list[tuple[int, bytes]] = []
        for one in untrusted:
            match one:
                case {"dataSize": int() as size} if size >= 0:
                    self._sizes.append(size)
                case {"memcmp": {"offset": int() as offset, "bytes": part, **more}} if offset >= 0:
                    self._parts.append((offset, _compared(part, more.get("encoding", "base58"))))
                case _:
                    raise invalid("a filter is {dataSize} or {memcmp: {offset, bytes}}")

    def passes(self, data: bytes) -> bool:
        return all(len(data) == size for size in self._sizes) and all(
            data[offset : offset + len(part)] == part for offset, part in self._parts
        )


def _compared(untrusted: object, encoding: object) -> bytes:
    try:
        if isinstance(untrusted, str) and encoding in ("base58", None, "binary"):
            return from_base58(untrusted, 128)
        if isinstance(untrusted, str) and encoding == "base64":
            return base64.b64decode(untrusted, validate=True)
        if isinstance(untrusted, list):
            return bytes(untrusted[:128])
    except (binascii.Error, ValueError, TypeError):
        pass
    raise RpcFault(INVALID_PARAMS, "Invalid param: memcmp bytes can't be read")

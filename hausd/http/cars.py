"""CAR answers of the gateway: which blocks, and in which order.

Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/ (``dag-scope``,
``entity-bytes``).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs

from hausd.core import unixfs
from hausd.core.cid import CID, Codec
from hausd.core.unixfs import MAX_DEPTH, BlockMissing, FileNode, Getter, UnixFsError
from hausd.http.messages import Request
from hausd.wire import car

_MAX_PARAMETERS = 50
_SPAN = re.compile(r"(-?[0-9]{1,15}):(\*|-?[0-9]{1,15})")

Scope = Literal["block", "entity", "all"]


@dataclass(frozen=True, slots=True)
class CarRequest:
    """``scope``: the block itself, the file or directory, or all below. ``first`` and ``last``
    byte of a file (negative: from its end; last None: to its end) only with ``entity``."""

    scope: Scope = "all"
    first: int = 0
    last: int | None = None

    def tag(self) -> str:
        """Tells one request from another, for ETag."""
        return f"{self.scope}.{self.first}.{self.last}"


def car_request(request: Request) -> CarRequest | str:
    """Reads the query; a text says what is wrong with it."""
    query = parameters(request)
    span = query.get("entity-bytes")
    scope = query.get("dag-scope", "all" if span is None else "entity")
    match scope:
        case "block" | "entity" | "all" as known:
            found: Scope = known
        case _:
            return "dag-scope is block, entity or all."
    if span is None or found != "entity":
        return CarRequest(found)
    match = _SPAN.fullmatch(span)
    if match is None:
        return "entity-bytes is FROM:TO in bytes, as in 0:* or 0:1023."
    return CarRequest(found, int(match[1]), None if match[2] == "*" else int(match[2]))


def parameters(request: Request) -> dict[str, str]:
    """The query's parameters, the last of each name; none of a query that has too many."""
    if not request.query:
        return {}
    try:
        found = parse_qs(request.query, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in found.items()}


async def car_body(
    root: CID, path: list[str], found: CID, asked: CarRequest, get: Getter
) -> AsyncIterator[bytes]:
    """A CAR file: the directories on the way to ``found``, then what was asked for of it.

    Raises BlockMissing, UnixFsError, CarError.
    """
    yield car.encode_header(root)
    cid = root
    for name in path:
        for piece in car.encode_block(cid, await _block(cid, get)):
            yield piece
        cid = await unixfs.resolve(cid, [name], get)
    if asked.scope == "all":
        blocks = car.walk(found, get)
    elif asked.scope == "entity":
        blocks = _entity(found, asked, get)
    else:
        blocks = _one(found, get)
    async for block in blocks:
        for piece in car.encode_block(*block):
            yield piece


async def _one(cid: CID, get: Getter) -> AsyncIterator[unixfs.Block]:
    yield cid, await _block(cid, get)


async def _entity(cid: CID, asked: CarRequest, get: Getter) -> AsyncIterator[unixfs.Block]:
    """A file's blocks that hold the bytes asked for; of anything else the block itself."""
    block = await _block(cid, get)
    if cid.codec is Codec.DAG_CBOR:
        yield cid, block
        return
    node = unixfs.read_node(cid, block)
    if not isinstance(node, FileNode):
        yield cid, block
        return
    start = asked.first if asked.first >= 0 else max(0, node.size + asked.first)
    last = node.size - 1 if asked.last is None else asked.last
    stop = (last if last >= 0 else node.size + last) + 1
    stack = [(cid, 0, node.size, 0)]
    while stack:
        below, at, size, depth = stack.pop()
        if depth and (at >= stop or at + size <= start):
            continue
        if depth > MAX_DEPTH:
            raise UnixFsError(f"the file's tree is deeper than {MAX_DEPTH}")
        block = await _block(below, get)
        yield below, block
        node = unixfs.read_node(below, block)
        if not isinstance(node, FileNode) or node.size != size:
            raise UnixFsError(f"{below} is not what the node above it says")
        at += len(node.data)
        children = []
        for link, length in zip(node.links, node.sizes, strict=True):
            children.append((link.cid, at, length, depth + 1))
            at += length
        stack.extend(reversed(children))


async def _block(cid: CID, get: Getter) -> bytes:
    block = await get(cid)
    if block is None:
        raise BlockMissing(cid)
    return block

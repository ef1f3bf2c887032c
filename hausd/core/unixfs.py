"""UnixFS v1: files and directories that any IPFS implementation reads.

Source: https://specs.ipfs.tech/unixfs/. What hausd writes: a file of one block is that raw block
itself, a longer one a node over its children in order, a directory a plain node with its links
sorted by name. What it reads is anyone's, within bounds: also file nodes that hold data
themselves, but no sharded directories.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import msgspec

from hausd.core import dagpb
from hausd.core.cid import CID, Codec
from hausd.core.media import LEAF_BYTES

Block = tuple[CID, bytes]
Getter = Callable[[CID], Awaitable[bytes | None]]
"""Gives a block whose bytes were checked against its CID, or None where it is not at hand."""

MAX_DEPTH = 16
"""Deepest file tree that is read. Kubo's own trees of 1 TiB are 4 deep."""
MAX_NAME_BYTES = 255
MAX_PATH_NAMES = 32

_MAX_FIELDS = 32
"""Of a node's UnixFS message, besides the sizes of its blocks: the format knows 8."""

_TYPE, _DATA, _FILE_SIZE, _BLOCK_SIZES = 1, 2, 3, 4


class UnixFsError(ValueError):
    """A node is not a file or directory that hausd reads; the message says why."""


class BlockMissing(Exception):
    """A block on the way is not at hand; ``cid`` names it."""

    def __init__(self, cid: CID) -> None:
        super().__init__(f"block {cid} is not here")
        self.cid = cid


class NotFound(Exception):
    """A path names nothing; ``args[0]`` says which part of it."""


class _Kind(IntEnum):
    """Types of UnixFS nodes that are read."""

    RAW = 0
    DIRECTORY = 1
    FILE = 2


_UNREAD_KINDS = {3: "metadata", 4: "symbolic link", 5: "sharded directory"}


class Child(msgspec.Struct, frozen=True):
    """Something that a file or directory may hold.

    ``size`` is its content in bytes (of a directory: 0), ``tsize`` all blocks from it down.
    """

    cid: CID
    size: int
    tsize: int


class Made(msgspec.Struct, frozen=True):
    """A file or directory. ``block`` is its node's bytes, None where it is a raw leaf itself."""

    child: Child
    block: bytes | None

    @property
    def cid(self) -> CID:
        return self.child.cid

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The new block, if there is one."""
        return () if self.block is None else ((self.child.cid, self.block),)


def raw_child(cid: CID, size: int) -> Child:
    """A raw leaf of ``size`` bytes."""
    return Child(cid, size, size)


def file_over(children: Sequence[Child]) -> Made:
    """The file whose content is that of its children, one after the other.

    A file over exactly one child is that child, whatever it is: no node is made, the CID is the
    child's. So a part of one leaf has the leaf's CID, and a segment of one GOP the GOP's.
    """
    if not children:
        raise ValueError("a file has at least one child")
    if len(children) == 1:
        return Made(children[0], None)
    size = sum(child.size for child in children)
    data = bytearray(b"\x08\x02\x18" + dagpb.varint(size))
    for child in children:
        data += b"\x20" + dagpb.varint(child.size)
    links = tuple(dagpb.Link(child.cid, "", child.tsize) for child in children)
    return _made(dagpb.Node(links, bytes(data)), size, children)


def file_of(content: bytes) -> tuple[Child, list[Block]]:
    """A file of these bytes in leaves of LEAF_BYTES, and all its blocks, leaves first."""
    view = memoryview(content)
    blocks: list[Block] = []
    children: list[Child] = []
    for at in range(0, max(len(content), 1), LEAF_BYTES):
        leaf = bytes(view[at : at + LEAF_BYTES])
        blocks.append((CID.of(leaf), leaf))
        children.append(raw_child(blocks[-1][0], len(leaf)))
    made = file_over(children)
    return made.child, [*blocks, *made.blocks]


def directory(entries: Mapping[str, Child]) -> Made:
    """The directory of these entries; raises UnixFsError where they are more than a node holds
    (about 15,000), or a name can't be one."""
    for name in entries:
        _check_name(name)
    ordered = sorted(entries.items(), key=lambda entry: entry[0].encode())
    links = tuple(dagpb.Link(child.cid, name, child.tsize) for name, child in ordered)
    try:
        return _made(dagpb.Node(links, b"\x08\x01"), 0, entries.values())
    except dagpb.DagPbError as fault:
        raise UnixFsError(str(fault)) from None


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file: its own ``data`` first, then its children's content, ``sizes`` bytes of each."""

    size: int
    data: bytes
    links: tuple[dagpb.Link, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DirectoryNode:
    """A directory's entries, as they come."""

    links: tuple[dagpb.Link, ...]


def read_node(cid: CID, block: bytes) -> FileNode | DirectoryNode:
    """What a block is; a raw block is a file. Raises UnixFsError."""
    if cid.codec is Codec.RAW:
        return FileNode(len(block), block, (), ())
    if cid.codec is not Codec.DAG_PB:
        raise UnixFsError("the block is neither a file nor a directory")
    try:
        node = dagpb.decode(block)
        kind, data, size, sizes = _read_data(node.data, len(node.links))
    except dagpb.DagPbError as fault:
        raise UnixFsError(str(fault)) from None
    if kind == _Kind.DIRECTORY:
        if len({link.name for link in node.links}) != len(node.links):
            raise UnixFsError("two entries of a directory have one name")
        return DirectoryNode(node.links)
    if kind not in (_Kind.FILE, _Kind.RAW):
        raise UnixFsError(f"UnixFS nodes of type {_UNREAD_KINDS.get(kind, kind)} are not read here")
    if len(sizes) != len(node.links) or any(not 0 < size <= dagpb.MAX_SIZE_BYTES for size in sizes):
        raise UnixFsError("the sizes of a file's blocks do not fit its links")
    if len(data) + sum(sizes) != (len(data) if size is None and not sizes else size):
        raise UnixFsError("a file's size is not the sum of its blocks'")
    return FileNode(len(data) + sum(sizes), data, node.links, tuple(sizes))


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file: ``size`` bytes at ``offset``, the content of leaf ``cid`` from its
    byte ``skip`` on; or ``data`` itself, where a node holds it or the file is one leaf."""

    offset: int
    size: int
    cid: CID
    skip: int = 0
    data: bytes | None = None


async def file_size(cid: CID, get: Getter) -> int:
    """Content bytes of a file; raises UnixFsError, BlockMissing."""
    return _file(cid, await _block(cid, get)).size


async def spans(
    cid: CID, get: Getter, start: int = 0, stop: int | None = None
) -> AsyncIterator[Span]:
    """The stretches of a file's bytes ``start`` to ``stop``, in order, each of at least a byte.

    Reads the nodes on the way, but no raw leaf below a node. Raises UnixFsError, BlockMissing.
    """
    root = _file(cid, await _block(cid, get))
    stop = root.size if stop is None else min(stop, root.size)
    stack = [_Branch(cid, 0, root.size, 0, root)]
    while stack:
        branch = stack.pop()
        first, last = max(branch.at, start), min(branch.at + branch.size, stop)
        if first >= last:
            continue
        if branch.node is None and branch.cid.codec is Codec.RAW:
            yield Span(first, last - first, branch.cid, first - branch.at)
            continue
        if branch.depth > MAX_DEPTH:
            raise UnixFsError(f"the file's tree is deeper than {MAX_DEPTH}")
        node = branch.node or _file(branch.cid, await _block(branch.cid, get))
        if node.size != branch.size:
            raise UnixFsError(
                f"{branch.cid} has {node.size} bytes, the node above it says {branch.size}"
            )
        at = branch.at + len(node.data)
        if first < at:
            cut = node.data[first - branch.at : stop - branch.at]
            yield Span(first, len(cut), branch.cid, first - branch.at, cut)
        below = []
        for link, size in zip(node.links, node.sizes, strict=True):
            below.append(_Branch(link.cid, at, size, branch.depth + 1))
            at += size
        stack.extend(reversed(below))


async def read(
    cid: CID, get: Getter, start: int = 0, stop: int | None = None
) -> AsyncIterator[bytes]:
    """The content of a file, leaf by leaf; raises UnixFsError, BlockMissing."""
    async for span in spans(cid, get, start, stop):
        if span.data is not None:
            yield span.data
            continue
        leaf = await _block(span.cid, get)
        cut = leaf[span.skip : span.skip + span.size]
        if len(cut) != span.size:
            raise UnixFsError(f"leaf {span.cid} is shorter than the node above it says")
        yield cut


async def resolve(cid: CID, path: Iterable[str], get: Getter) -> CID:
    """What a path of names leads to; raises NotFound, UnixFsError, BlockMissing."""
    names = list(path)
    if len(names) > MAX_PATH_NAMES:
        raise NotFound(f"the path has more than {MAX_PATH_NAMES} names")
    for name in names:
        if cid.codec is not Codec.DAG_PB:
            raise NotFound(f"there is no directory that {name!r} could be in")
        node = read_node(cid, await _block(cid, get))
        if not isinstance(node, DirectoryNode):
            raise NotFound(f"there is no directory that {name!r} could be in")
        found = next((link.cid for link in node.links if link.name == name), None)
        if found is None:
            raise NotFound(f"no entry {name!r}")
        cid = found
    return cid


async def child_of(cid: CID, get: Getter) -> Child:
    """A stored file or directory as an entry for a directory above it."""
    block = await _block(cid, get)
    node = read_node(cid, block)
    size = node.size if isinstance(node, FileNode) else 0
    return Child(cid, size, len(block) + sum(link.tsize for link in node.links))


class _Branch(NamedTuple):
    """A subtree of a file that is still to be walked; ``node`` where it was read already."""

    cid: CID
    at: int
    size: int
    depth: int
    node: FileNode | None = None


def _made(node: dagpb.Node, size: int, children: Iterable[Child]) -> Made:
    block = dagpb.encode(node)
    tsize = len(block) + sum(child.tsize for child in children)
    return Made(Child(CID.of(block, Codec.DAG_PB), size, tsize), block)


def _check_name(name: str) -> None:
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise UnixFsError(f"{name!r} can't name an entry of a directory")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise UnixFsError(f"a name has more than {MAX_NAME_BYTES} bytes")


def _file(cid: CID, block: bytes) -> FileNode:
    node = read_node(cid, block)
    if not isinstance(node, FileNode):
        raise UnixFsError(f"{cid} is a directory, not a file")
    return node


async def _block(cid: CID, get: Getter) -> bytes:
    block = await get(cid)
    if block is None:
        raise BlockMissing(cid)
    return block


def _read_data(untrusted: bytes, max_sizes: int) -> tuple[int, bytes, int | None, list[int]]:
    """Type, data, file size and block sizes of a node's UnixFS message.

    Raises DagPbError, at the latest where more fields or sizes have come than a node has use for.
    """
    kind: int | None = None
    data = b""
    size: int | None = None
    sizes: list[int] = []
    for count, (number, value) in enumerate(dagpb.fields(untrusted), 1):
        if count > max_sizes + _MAX_FIELDS:
            raise dagpb.DagPbError("a node's UnixFS message has too many fields")
        if number == _TYPE and isinstance(value, int):
            kind = value
        elif number == _DATA and isinstance(value, bytes):
            data = value
        elif number == _FILE_SIZE and isinstance(value, int):
            size = value
        elif number == _BLOCK_SIZES and isinstance(value, int):
            sizes.append(value)
        elif number == _BLOCK_SIZES and isinstance(value, bytes):  # packed, as protobuf 3 may
            at = 0
            while at < len(value):
                if len(sizes) >= max_sizes:
                    raise dagpb.DagPbError("a node gives more sizes than it has links")
                one, at = dagpb.read_varint(value, at)
                sizes.append(one)
    if kind is None:
        raise dagpb.DagPbError("the node holds no UnixFS message")
    return kind, data, size, sizes

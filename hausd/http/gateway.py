"""The IPFS gateway: ``/ipfs/<cid>[/path]``, out of this node's store; for clients on this machine
also from elsewhere (see ``sharing.may_fetch``).

Raw blocks and CAR files for who verifies (a trustless gateway), and UnixFS files and directories
for who trusts this node. Every block is compared with its CID before it leaves, but where a file
lies on disk in one piece: that was compared when it was written, and is by ``store verify``.

Source: https://specs.ipfs.tech/http-gateways/path-gateway/ and …/trustless-gateway/.
"""

from __future__ import annotations

import html
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from urllib.parse import quote

from hausd.core import unixfs
from hausd.core.cid import CID, CIDError, Codec, inline_content
from hausd.core.unixfs import BlockMissing, DirectoryNode, NotFound, UnixFsError
from hausd.http.cars import CarRequest, car_body, car_request, parameters
from hausd.http.conditional import Unsatisfiable, parse_range
from hausd.http.content_types import SNIFFED_BYTES, presentation, type_of_content, type_of_name
from hausd.http.messages import Answer, Chunks, Fetch, Request, Response, refusal
from hausd.http.ports import BlockReader
from hausd.http.sharing import FOR_GOOD, OPEN, OURS_ONLY, Headers
from hausd.wire.car import CarError

RAW_TYPE = "application/vnd.ipld.raw"
CAR_TYPE = "application/vnd.ipld.car"

_IN_MEMORY_BYTES = 4 * 1024 * 1024
"""Files up to this size are read before they are sent, so that a fault is a proper error."""
_MAX_PATH_BYTES = 4096


class BrokenStream(OSError):
    """A block is missing in the middle of an answer: it ends short, and so does its connection."""


class Gateway:
    """Answers for one store. ``public``: any web page may read it."""

    def __init__(self, blocks: BlockReader, *, public: bool = False) -> None:
        self._blocks = blocks
        self.sharing = OPEN if public else OURS_ONLY

    def respond(self, request: Request) -> Answer:
        """The answer to a GET of a path that begins with ``/ipfs``."""
        names = request.path.split("/")[2:]
        if not names or len(request.path) > _MAX_PATH_BYTES:
            return self._refuse(404, "not-found", "An IPFS path is /ipfs/<cid>[/path].")
        if len(names) == 1 and (inline := inline_content(names[0])) is not None:
            return self._inline(names[0], inline, request)
        try:
            cid = CID.parse(names[0])
        except CIDError as fault:
            hint = "Newer tools write CIDs so: ipfs cid format -v 1 -b base32 <cid>."
            return self._refuse(400, "bad-cid", f"{fault}.", hint)
        path = names[1:]
        if path and not path[-1]:  # a directory's path may end in a slash
            path = path[:-1]
        if any(name in ("", ".", "..") for name in path):
            return self._refuse(400, "bad-path", "A path has no empty names, '.' or '..'.")
        wanted = _format(request)
        if wanted not in (None, "raw", "car"):
            hint = "Ask for format=raw or format=car, or for none."
            return self._refuse(406, "unknown-format", "This format is not served.", hint)
        if wanted == "car":
            asked = car_request(request)
            if isinstance(asked, str):
                return self._refuse(400, "bad-car-request", asked)
            return Fetch(lambda: self._guarded(lambda: self._car(cid, path, asked)))
        if wanted == "raw":
            return Fetch(lambda: self._guarded(lambda: self._raw(cid, path)))
        return Fetch(lambda: self._guarded(lambda: self._file(cid, path, request)))

    def _inline(self, cid: str, content: bytes, request: Request) -> Answer:
        if _format(request) not in (None, "raw"):
            return self._refuse(406, "unknown-format", "Such a CID is its own content.")
        headers = (
            (b"content-type", RAW_TYPE.encode()),
            (b"content-disposition", f'attachment; filename="{cid}.bin"'.encode()),
            (b"etag", f'"{cid}.raw"'.encode()),
            (b"vary", b"accept"),
            *self.sharing.readers(),
            FOR_GOOD,
        )
        return Response(200, headers, (content,))

    async def _guarded(self, answer: Callable[[], Awaitable[Response]]) -> Response:
        try:
            return await answer()
        except BlockMissing as fault:
            hint = "A node serves only what its store holds, and fetches for its own machine only."
            return self._refuse(404, "not-here", f"{str(fault).capitalize()}.", hint)
        except NotFound as fault:
            return self._refuse(404, "not-found", f"{fault}.")
        except (UnixFsError, CarError) as fault:
            hint = "Its block can be had with format=raw, all below it with format=car."
            return self._refuse(406, "not-a-file", f"{fault}.", hint)

    async def _raw(self, cid: CID, path: list[str]) -> Response:
        found = await unixfs.resolve(cid, path, self._blocks.block)
        block = await self._blocks.block(found)
        if block is None:
            raise BlockMissing(found)
        headers = (
            (b"content-type", RAW_TYPE.encode()),
            (b"content-disposition", f'attachment; filename="{found}.bin"'.encode()),
            *self._fixed(f"{found}.raw", found),
        )
        return Response(200, headers, (block,))

    async def _car(self, cid: CID, path: list[str], asked: CarRequest) -> Response:
        found = await unixfs.resolve(cid, path, self._blocks.block)
        if await self._blocks.block(found) is None:
            raise BlockMissing(found)
        headers = (
            (b"content-type", f"{CAR_TYPE}; version=1; order=dfs; dups=y".encode()),
            (b"content-disposition", f'attachment; filename="{found}.car"'.encode()),
            *self._fixed(f"{found}.car.{asked.tag()}", found, weak=True),
        )

        def begin() -> AsyncGenerator[bytes]:
            return _unbroken(car_body(cid, path, found, asked, self._blocks.block))

        return Response(200, headers, Chunks(begin))

    async def _file(self, cid: CID, path: list[str], request: Request) -> Response:
        found = await unixfs.resolve(cid, path, self._blocks.block)
        name = path[-1] if path else ""
        place = self._blocks.locate(found) if found.codec is not Codec.DAG_CBOR else None
        if place is None:
            block = await self._blocks.block(found)
            if block is None:
                raise BlockMissing(found)
            node = unixfs.read_node(found, block)
            if isinstance(node, DirectoryNode):
                return self._listing(cid, path, found, node)
            size = node.size
        else:
            size = place.length
        first = b""
        if not name:
            first = await self._read(found, 0, SNIFFED_BYTES)
        kind = type_of_name(name) if name else type_of_content(first)
        headers = presentation(kind, name or f"{found}.bin") + self._fixed(str(found), found)
        if place is not None:
            return Response(200, headers, place)
        if size <= _IN_MEMORY_BYTES:
            return Response(200, headers, (await self._read(found, 0, size),))
        return self._stream(found, size, headers, request)

    def _stream(self, found: CID, size: int, headers: Headers, request: Request) -> Response:
        """A large file whose leaves lie apart; the lanes leave its range to us."""
        status, start, length = 200, 0, size
        headers += ((b"accept-ranges", b"bytes"),)
        untrusted_range = request.headers.get("range")
        if untrusted_range is not None and request.headers.get("if-range") in (None, f'"{found}"'):
            span = parse_range(untrusted_range, size)
            if isinstance(span, Unsatisfiable):
                return Response(416, (*headers, (b"content-range", b"bytes */%d" % size)))
            if span is not None:
                status, (start, length) = 206, span
                piece = b"bytes %d-%d/%d" % (start, start + length - 1, size)
                headers += ((b"content-range", piece),)

        def begin() -> AsyncGenerator[bytes]:
            return _unbroken(unixfs.read(found, self._blocks.block, start, start + length))

        return Response(status, headers, Chunks(begin, length))

    async def _read(self, cid: CID, start: int, stop: int) -> bytes:
        pieces = [piece async for piece in unixfs.read(cid, self._blocks.block, start, stop)]
        return b"".join(pieces)

    def _listing(self, root: CID, path: list[str], found: CID, node: DirectoryNode) -> Response:
        """A directory as a page of our own making: nothing in it comes from the content but
        names, which are escaped."""
        here = "/".join(["/ipfs", str(root), *map(quote, path)])
        rows = []
        for link in node.links:
            target = html.escape(f"{here}/{quote(link.name, safe='')}")
            name = html.escape(link.name)
            rows.append(f'<li><a href="{target}">{name}</a> <span>{link.tsize:,} bytes</span></li>')
        title = html.escape("/".join(["/ipfs", str(root), *path]))
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
            f"<h1>{title}</h1><ul>{''.join(rows)}</ul>"
        )
        headers = (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", b"sandbox; default-src 'none'"),
            *self._fixed(f"{found}.list", found, weak=True),
        )
        return Response(200, headers, (page.encode(),))

    def _fixed(self, tag: str, found: CID, *, weak: bool = False) -> Headers:
        etag = f'{"W/" if weak else ""}"{tag}"'
        return (
            (b"etag", etag.encode()),
            (b"x-ipfs-roots", str(found).encode()),
            (b"vary", b"accept"),  # which also chooses among file, block and CAR
            *self.sharing.readers(),
            FOR_GOOD,
        )

    def _refuse(self, status: int, code: str, message: str, hint: str = "") -> Response:
        return refusal(status, code, message, hint, self.sharing.errors())


async def _unbroken(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """A body under way can't turn into an error any more: it breaks off."""
    try:
        async for piece in pieces:
            yield piece
    except (BlockMissing, UnixFsError, CarError) as fault:
        raise BrokenStream(str(fault)) from None


def _format(request: Request) -> str | None:
    """``raw``, ``car``, something else that was asked for by name, or None."""
    untrusted = parameters(request).get("format")
    if untrusted:
        return untrusted
    accept = request.headers.get("accept", "")
    if RAW_TYPE in accept:
        return "raw"
    if CAR_TYPE in accept:
        return "car"
    return None

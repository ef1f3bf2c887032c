"""Pins into a Kubo node through its RPC API: the recording is sent to it as a CAR stream.

Source: https://docs.ipfs.tech/reference/kubo/rpc/ (tried with 0.43.1). ``dag/import`` needs no
network between the two nodes, and Kubo checks every block and that none is missing.

The room's manifest is pinned beside its directory: it leads to the same segments, so it costs a
few nodes more, and with it followers fill their archives from Kubo's gateway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec

from hausd.core.cid import CID, Codec
from hausd.core.foreign import UNREADABLE_JSON
from hausd.core.unixfs import BlockMissing, Getter
from hausd.ipfs.calls import Answer, Caller, said
from hausd.ipfs.ports import Origin, TryFailed
from hausd.ipfs.table import PinState, RemotePin
from hausd.wire.car import CarError, child_links, encode_block, encode_header
from hausd.wire.car import write as write_car

ANSWER_S = 900.0
"""Kubo says nothing before it has walked the whole recording; 100 GB take minutes."""
_API = "/api/v0"
_BOUNDARY = "hausd-car-b5c1d0f2a7e94c38"
_TOLD_BYTES = 4 * 1024 * 1024
"""How often progress is told."""
_PIECE_BYTES = 256 * 1024


class KuboNode:
    """One Kubo node. Implements ``ports.Place``."""

    def __init__(self, name: str, caller: Caller, origin: Origin) -> None:
        self._name = name
        self._caller = caller
        self._origin = origin

    @property
    def name(self) -> str:
        return self._name

    async def pin(self, pin: RemotePin, changed: Callable[[], None]) -> None:
        if not await self.holds(pin):
            pin.state, pin.sent_bytes = PinState.PINNING, 0
            changed()
            await self._send(pin, changed)
        named = {"arg": pin.cid, "name": pin.title[:255]}
        _ok(await self._caller.call("POST", f"{_API}/pin/add", params=named))
        for earlier in {pin.asked_cid, pin.asked_manifest} - {"", pin.cid, pin.manifest}:
            await self._remove(earlier)  # an earlier recording of the same room
        pin.asked_cid, pin.asked_manifest = pin.cid, pin.manifest
        pin.state, pin.detail = PinState.PINNED, ""

    async def holds(self, pin: RemotePin) -> bool:
        return await self._has(pin.cid) and await self._has(pin.manifest)

    async def unpin(self, pin: RemotePin) -> None:
        for cid in {pin.cid, pin.manifest, pin.asked_cid, pin.asked_manifest} - {""}:
            await self._remove(cid)

    async def check(self) -> str:
        told = _ok(await self._caller.call("POST", f"{_API}/version")).json()
        version = said(told.get("Version")) if isinstance(told, dict) else ""
        if not version:
            raise TryFailed("there is no Kubo RPC API at its address")
        return f"Kubo {version} answers"

    async def _has(self, cid: str) -> bool:
        params = {"arg": cid, "type": "recursive"}
        try:
            answer = await self._caller.call("POST", f"{_API}/pin/ls", params=params)
        except TryFailed as fault:
            if "not pinned" in fault.because:
                return False
            raise
        told = _ok(answer).json()
        keys = told.get("Keys") if isinstance(told, dict) else None
        return isinstance(keys, dict) and cid in keys

    async def _remove(self, cid: str) -> None:
        try:
            _ok(await self._caller.call("POST", f"{_API}/pin/rm", params={"arg": cid}))
        except TryFailed as fault:
            if "not pinned" not in fault.because:
                raise

    async def _send(self, pin: RemotePin, changed: Callable[[], None]) -> None:
        try:
            answer = await self._caller.call(
                "POST",
                f"{_API}/dag/import",
                params={"pin-roots": "true", "stats": "true"},
                content=self._body(pin, changed),
                content_type=f"multipart/form-data; boundary={_BOUNDARY}",
            )
        except (BlockMissing, CarError) as fault:
            raise TryFailed(f"the recording is not whole in this node's store: {fault}") from None
        pinned = set()
        for line in _ok(answer).body.splitlines():
            told = _object(line)
            if isinstance(root := told.get("Root"), dict):
                if trouble := said(root.get("PinErrorMsg")):
                    raise TryFailed(f"Kubo could not pin it: {trouble}")
                pinned.add(_cid_of(root.get("Cid")))
            if trouble := said(told.get("Message")):
                raise TryFailed(f"Kubo stopped reading it: {trouble}")
        if not {pin.cid, pin.manifest} <= pinned:
            raise TryFailed("Kubo did not say that it pinned it")

    async def _body(self, pin: RemotePin, changed: Callable[[], None]) -> AsyncIterator[bytes]:
        """Two CAR files as the parts of a form, as Kubo takes files."""
        told = 0
        for name, pieces in (
            ("room", write_car(CID.parse(pin.cid), self._origin.get)),
            ("manifest", _manifest_car(CID.parse(pin.manifest), self._origin.get)),
        ):
            yield (
                f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; '
                f'filename="{name}.car"\r\nContent-Type: application/octet-stream\r\n\r\n'
            ).encode()
            async for piece in _gathered(pieces):
                yield piece
                pin.sent_bytes += len(piece)
                if pin.sent_bytes - told >= _TOLD_BYTES:
                    told = pin.sent_bytes
                    changed()
            yield b"\r\n"
        yield f"--{_BOUNDARY}--\r\n".encode()


async def _gathered(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in fewer pieces."""
    gathered = bytearray()
    async for piece in pieces:
        gathered += piece
        if len(gathered) >= _PIECE_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


async def _manifest_car(root: CID, get: Getter) -> AsyncIterator[bytes]:
    """The manifest's own nodes; what they lead to is in the room's directory."""
    yield encode_header(root)
    stack, seen = [root], {root}
    while stack:
        cid = stack.pop()
        block = await get(cid)
        if block is None:
            raise BlockMissing(cid)
        for piece in encode_block(cid, block):
            yield piece
        below = [one for one in child_links(cid, block) if one.codec is Codec.DAG_CBOR]
        stack += [one for one in dict.fromkeys(below) if one not in seen]
        seen.update(below)


def _ok(answer: Answer) -> Answer:
    if answer.status == 404:
        raise TryFailed("there is no Kubo RPC API at its address (HTTP 404)")
    return answer


def _cid_of(untrusted: object) -> str:
    match untrusted:
        case {"/": str(cid)}:
            return cid
    return ""


def _object(line: bytes) -> dict[str, object]:
    try:
        told = msgspec.json.decode(line)
    except UNREADABLE_JSON:
        raise TryFailed("its answer is not JSON") from None
    return told if isinstance(told, dict) else {}

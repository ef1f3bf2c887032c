"""Pins into a Kubo node through its RPC API: the recording is sent to it as one CAR stream.

Source: https://docs.ipfs.tech/reference/kubo/rpc/ (tried with 0.43.1). ``dag/import`` needs no
network between the two nodes, and Kubo checks every block and that none is missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec

from hausd.core.cid import CID
from hausd.core.unixfs import BlockMissing
from hausd.ipfs.calls import Answer, Caller, said
from hausd.ipfs.ports import Origin, TryFailed
from hausd.ipfs.table import PinState, RemotePin
from hausd.wire.car import CarError
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
        if pin.asked_cid and pin.asked_cid != pin.cid:
            await self._remove(pin.asked_cid)  # an earlier recording of the same room
        pin.state, pin.asked_cid, pin.detail = PinState.PINNED, pin.cid, ""

    async def holds(self, pin: RemotePin) -> bool:
        params = {"arg": pin.cid, "type": "recursive"}
        try:
            answer = await self._caller.call("POST", f"{_API}/pin/ls", params=params)
        except TryFailed as fault:
            if "not pinned" in fault.because:
                return False
            raise
        told = _ok(answer).json()
        keys = told.get("Keys") if isinstance(told, dict) else None
        return isinstance(keys, dict) and pin.cid in keys

    async def unpin(self, pin: RemotePin) -> None:
        for cid in {pin.cid, pin.asked_cid} - {""}:
            await self._remove(cid)

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
        pinned = False
        for line in _ok(answer).body.splitlines():
            told = _object(line)
            if isinstance(root := told.get("Root"), dict):
                if trouble := said(root.get("PinErrorMsg")):
                    raise TryFailed(f"Kubo could not pin it: {trouble}")
                pinned = pinned or root.get("Cid") == {"/": pin.cid}
            if trouble := said(told.get("Message")):
                raise TryFailed(f"Kubo stopped reading it: {trouble}")
        if not pinned:
            raise TryFailed("Kubo did not say that it pinned it")

    async def _body(self, pin: RemotePin, changed: Callable[[], None]) -> AsyncIterator[bytes]:
        """The CAR file as the one part of a form, as Kubo takes files."""
        yield (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="room.car"'
            "\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        told = 0
        gathered = bytearray()
        async for piece in write_car(CID.parse(pin.cid), self._origin.get):
            gathered += piece
            if len(gathered) < _PIECE_BYTES:
                continue
            yield bytes(gathered)
            pin.sent_bytes += len(gathered)
            gathered.clear()
            if pin.sent_bytes - told >= _TOLD_BYTES:
                told = pin.sent_bytes
                changed()
        yield bytes(gathered)
        pin.sent_bytes += len(gathered)
        yield f"\r\n--{_BOUNDARY}--\r\n".encode()


def _ok(answer: Answer) -> Answer:
    if answer.status == 404:
        raise TryFailed("there is no Kubo RPC API at its address (HTTP 404)")
    return answer


def _object(line: bytes) -> dict[str, object]:
    try:
        told = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TryFailed("its answer is not JSON") from None
    return told if isinstance(told, dict) else {}

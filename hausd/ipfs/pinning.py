"""Client of remote pinning services.

Source: IPFS Pinning Service API 1.0.0, https://ipfs.github.io/pinning-services-api-spec/. The
service fetches the blocks itself: it is told where this node is (``origins``), and this node
connects to the addresses that it names (``delegates``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import trio

from hausd.core.peers import PeerAddress, PeerId, parse_endpoint
from hausd.ipfs.calls import Caller, said
from hausd.ipfs.ports import Origin, TryFailed
from hausd.ipfs.table import PinState, RemotePin
from hausd.policy.gateways import is_loopback_name
from hausd.policy.reach import Reach, reach

POLL_S, POLL_MOST_S = 1.0, 60.0
MAX_ORIGINS = 20
"""Most that the API takes."""
MAX_DELEGATES = 8
_MAX_NAME = 255
_MAX_ID = 512
_STATES = {"queued": PinState.QUEUED, "pinning": PinState.PINNING, "pinned": PinState.PINNED}
_UNREACHABLE = "it can't reach this node to fetch it: set p2p.listen or p2p.announce"
_UNDER_WAY = "queued,pinning,pinned"


@dataclass(frozen=True, slots=True)
class Status:
    """What a service says of a pin. ``state`` is None where it failed."""

    request_id: str
    cid: str
    name: str
    state: PinState | None
    delegates: tuple[str, ...]
    detail: str


class PinningService:
    """One service. Implements ``ports.Place``."""

    def __init__(self, name: str, endpoint: str, caller: Caller, origin: Origin) -> None:
        self._name = name
        near = is_loopback_name(urlsplit(endpoint).hostname or "")
        self._told_at = Reach.MACHINE if near else Reach.WORLD
        self._caller = caller
        self._origin = origin

    @property
    def name(self) -> str:
        return self._name

    async def pin(self, pin: RemotePin, changed: Callable[[], None]) -> None:
        status = await self._ask(pin)
        pause_s = POLL_S
        connected = False
        while True:
            if pin.request_id != status.request_id or pin.asked_cid != pin.cid:
                pin.request_id, pin.asked_cid = status.request_id, pin.cid
                changed()  # before anything else: it must be known after a crash
            if status.state is None:
                pin.asked_cid = ""  # the next try asks for it anew
                raise TryFailed(f"the service failed to pin it{_because(status.detail)}")
            detail = status.detail
            if not detail and status.state is not PinState.PINNED and not self._reachable():
                detail = _UNREACHABLE
            if (pin.state, pin.detail) != (status.state, detail):
                pin.state, pin.detail = status.state, detail
                changed()
            if status.state is PinState.PINNED:
                return
            if not connected:
                connected = True
                self._connect(status.delegates)
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MOST_S)
            polled = await self._get(pin.request_id)
            if polled is None:
                pin.request_id = pin.asked_cid = ""
                raise TryFailed("the service does not know its own pin any more")
            status = polled

    async def holds(self, pin: RemotePin) -> bool:
        status = await self._get(pin.request_id) if pin.request_id else None
        return status is not None and status.state is not None and status.cid == pin.cid

    async def unpin(self, pin: RemotePin) -> None:
        request_id = pin.request_id
        if not request_id:
            found = await self._find(pin)
            if found is None:
                return
            request_id = found.request_id
        await self._caller.call("DELETE", _path(request_id))  # 404: it is gone already

    async def check(self) -> str:
        answer = await self._caller.call("GET", "/pins", params={"limit": "1"})
        told = answer.json() if answer.status != 404 else None
        if not isinstance(told, dict) or "results" not in told:
            raise TryFailed("there is no pinning service at its address")
        return "it answers, and accepts the token"

    async def _ask(self, pin: RemotePin) -> Status:
        """The pin as the service has it, asked for where it has none, or one of an older CID."""
        if pin.request_id and pin.asked_cid == pin.cid:
            known = await self._get(pin.request_id)
            if known is not None and known.state is not None and known.cid == pin.cid:
                return known
        if pin.request_id:
            answer = await self._caller.call("POST", _path(pin.request_id), json=self._wish(pin))
            if answer.status != 404:
                return _status(answer.json(), pin.cid)
        else:
            found = await self._find(pin)  # a crash may have come between asking and writing down
            if found is not None:
                return found
        answer = await self._caller.call("POST", "/pins", json=self._wish(pin))
        if answer.status == 404:
            raise TryFailed("there is no pinning service at its address (HTTP 404)")
        return _status(answer.json(), pin.cid)

    def _wish(self, pin: RemotePin) -> dict[str, object]:
        return {
            "cid": pin.cid,
            "name": pin.title[:_MAX_NAME],
            "origins": list(self._origin.addresses())[:MAX_ORIGINS],
            "meta": {"app": "hausd", "room": pin.room},
        }

    async def _get(self, request_id: str) -> Status | None:
        answer = await self._caller.call("GET", _path(request_id))
        return None if answer.status == 404 else _status(answer.json())

    async def _find(self, pin: RemotePin) -> Status | None:
        """A pin of this CID and name that goes on at the service."""
        answer = await self._caller.call(
            "GET", "/pins", params={"cid": pin.cid, "status": _UNDER_WAY, "limit": "10"}
        )
        told = answer.json() if answer.status != 404 else {}
        results = told.get("results") if isinstance(told, dict) else None
        for untrusted in results if isinstance(results, list) else ():
            status = _status(untrusted)
            if (status.cid, status.name) == (pin.cid, pin.title[:_MAX_NAME]) and status.state:
                return status
        return None

    def _reachable(self) -> bool:
        """Whether one of our addresses leads here from where the service is, for all we know."""
        reaches = [reach(parse_endpoint(each)) for each in self._origin.addresses()]
        return any(far is not None and far >= self._told_at for far in reaches)

    def _connect(self, untrusted_delegates: tuple[str, ...]) -> None:
        named: dict[PeerId, list[str]] = {}
        for untrusted in untrusted_delegates[:MAX_DELEGATES]:
            try:
                endpoint = parse_endpoint(untrusted)
            except ValueError:
                continue  # of a kind that is not spoken here
            if endpoint.peer is not None:
                named.setdefault(endpoint.peer, []).append(untrusted)
        for peer, addresses in named.items():
            self._origin.connect(PeerAddress(peer, tuple(addresses)), self._told_at)


def _path(request_id: str) -> str:
    return f"/pins/{quote(request_id, safe='')}"


def _because(detail: str) -> str:
    return f": {detail}" if detail else ""


def _status(untrusted: object, cid: str = "") -> Status:
    """Checks a PinStatus. ``cid``: what it has to be of. Raises TryFailed."""
    told = untrusted if isinstance(untrusted, dict) else {}
    match told:
        case {"requestid": str(request_id), "status": str(state), "pin": {"cid": str(of), **pin}}:
            pass
        case _:
            raise TryFailed("its answer is none of the Pinning Service API")
    if not 0 < len(request_id) <= _MAX_ID or request_id in (".", ".."):
        raise TryFailed("its answer names no pin")
    if cid and of != cid:
        raise TryFailed("its answer is about something else than was asked for")
    if state != "failed" and state not in _STATES:
        raise TryFailed(f"it gives a state that is none: {said(state)!r}")
    delegates = told.get("delegates")
    info = told.get("info")
    detail = ""
    if isinstance(info, dict):
        texts = (said(info.get("status_details")), said(info.get("dag_size")))
        detail = texts[0] or (f"{texts[1]} bytes" if texts[1] else "")
    return Status(
        request_id,
        of,
        name if isinstance(name := pin.get("name"), str) else "",
        _STATES.get(state),
        tuple(each for each in delegates if isinstance(each, str))
        if isinstance(delegates, list)
        else (),
        detail,
    )

"""Finds peers on the local network: libp2p's mDNS, by the zeroconf library.

Source: libp2p's mdns specification: service ``_p2p._udp.local``, a random name, and a TXT record
whose strings are ``dnsaddr=`` and an address with ``/p2p/ID``. zeroconf runs a thread of its own,
which hands what it hears to the event loop and is joined when the context is left.
"""

from __future__ import annotations

import contextlib
import random
import string
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import structlog
import trio
from zeroconf import Error as ZeroconfError
from zeroconf import ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from hausd.core.peers import Endpoint, Multiaddr, parse_endpoint
from hausd.telemetry import count_swallowed

log = structlog.get_logger("hausd.p2p")

_SERVICE = "_p2p._udp.local."
_PREFIX = b"dnsaddr="
_MAX_STRINGS = 32
_RESOLVE_MS = 3000


@asynccontextmanager
async def local_peers(
    addresses: Sequence[Multiaddr],
    found: Callable[[Endpoint], None],
    rng: random.Random,
    *,
    interfaces: Sequence[str],
) -> AsyncIterator[None]:
    """Tells the local network of our addresses, and ``found`` of others', until left.

    ``interfaces``: the IP addresses of those to use. A network that doesn't let us leaves a line
    in the log and no peers.
    """
    token = trio.lowlevel.current_trio_token()

    def heard(endpoint: Endpoint) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(found, endpoint)

    try:
        zeroconf = await trio.to_thread.run_sync(lambda: _begin(addresses, heard, rng, interfaces))
    except (OSError, ZeroconfError) as fault:  # the latter where another claims our name, too
        log.warning("no-mdns", because=str(fault))
        yield
        return
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(zeroconf.close)


def txt(addresses: Sequence[Multiaddr]) -> bytes:
    """A TXT record's bytes; addresses too long for one of its strings are left out."""
    strings = [_PREFIX + address.encode() for address in addresses]
    return b"".join(bytes((len(each),)) + each for each in strings if len(each) < 256)


def endpoints(untrusted_txt: bytes) -> list[Endpoint]:
    """The addresses with ``/p2p/ID`` of a TXT record; what isn't one is left out."""
    ends: list[Endpoint] = []
    at = 0
    for _ in range(_MAX_STRINGS):
        if at >= len(untrusted_txt):
            break
        end = at + 1 + untrusted_txt[at]
        text, at = untrusted_txt[at + 1 : end], end
        if not text.startswith(_PREFIX):
            continue
        with contextlib.suppress(ValueError):
            endpoint = parse_endpoint(text.removeprefix(_PREFIX).decode("ascii"))
            if endpoint.peer is not None and endpoint.port and not endpoint.wildcard:
                ends.append(endpoint)
    return ends


class _Listener(ServiceListener):
    def __init__(self, heard: Callable[[Endpoint], None], own_name: str) -> None:
        self._heard = heard
        self._own_name = own_name

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if name == self._own_name:
            return
        try:
            info = zc.get_service_info(type_, name, timeout=_RESOLVE_MS)
            for endpoint in endpoints(info.text or b"") if info is not None else ():
                self._heard(endpoint)
        except Exception as error:  # noqa: BLE001 the door: a fault would end zeroconf's thread
            count_swallowed("p2p-mdns", error)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """Whether it is gone shows when it is dialled."""


def _begin(
    addresses: Sequence[Multiaddr],
    heard: Callable[[Endpoint], None],
    rng: random.Random,
    interfaces: Sequence[str],
) -> Zeroconf:
    letters = string.ascii_lowercase + string.digits
    name = "".join(rng.choices(letters, k=32)) + "." + _SERVICE
    zeroconf = Zeroconf(interfaces=list(interfaces))
    try:
        ends = [parse_endpoint(each) for each in addresses]
        info = ServiceInfo(
            _SERVICE,
            name,
            port=ends[0].port if ends else 0,
            properties=txt(addresses),
            addresses=[ip_address(each).packed for each in interfaces],
            server=name,
        )
        zeroconf.register_service(info)
        ServiceBrowser(zeroconf, _SERVICE, _Listener(heard, name))
    except BaseException:
        zeroconf.close()
        raise
    return zeroconf

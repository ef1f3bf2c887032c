"""Who may talk to this node's HTTP face through a browser: Host and Origin.

A daemon on loopback is within reach of every page its user opens. Two checks fence it:

- Host: a page on a rebound DNS name reaches the socket, but names itself in Host. Only names that
  are this node's are answered.
- Origin: a page of another site can send requests that change things (or open a WebSocket) though
  it can't read the answer. Such requests must come from our own pages or from no page at all.

Reading across origins is the browser's own check (CORS) and no concern here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

_LOOPBACK_NAMES = frozenset(("localhost", "ip6-localhost"))
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

BY_PROXIES = frozenset(
    (
        "cf-connecting-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    )
)
"""Header fields that tell of a proxy on the way, whatever they say."""


@dataclass(frozen=True, slots=True)
class HostNames:
    """The names of this node. ``listening`` are the addresses it is bound to, without ports.

    Listening on every address (``0.0.0.0`` or ``::``), any literal address is ours: rebinding
    takes a name.
    """

    listening: frozenset[str] = frozenset()
    configured: frozenset[str] = frozenset()

    def allow(self, untrusted_host: str) -> bool:
        """Whether a Host field (``name``, ``name:port``, ``[v6]:port``) names this node."""
        name = _name_of(untrusted_host.lower())
        if name is None:
            return False
        if name in _LOOPBACK_NAMES or name.endswith(".localhost") or name in self.configured:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.listening
        if address.is_loopback or str(address) in self.listening:
            return True
        return not self.listening.isdisjoint(("0.0.0.0", "::"))  # noqa: S104 (compared, not bound)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request stays outside: an HTTP status, a code, and words for the user."""

    status: int
    code: str
    message: str
    hint: str


def check_door(
    names: HostNames,
    method: str,
    untrusted_host: str,
    untrusted_origin: str | None,
    untrusted_site: str | None,
    websocket: bool = False,
) -> Refused | None:
    """None where the request may come in; ``untrusted_site`` is Sec-Fetch-Site.

    Source: RFC 9110 section 7.4 (421), Fetch standard (Origin), Fetch Metadata.
    """
    if not names.allow(untrusted_host):
        return Refused(
            421,
            "unknown-host",
            "This node does not answer under the name in the request's Host field.",
            "Use its address, or add the name to http.hostnames in its configuration.",
        )
    if method in _SAFE_METHODS and not websocket:
        return None
    if untrusted_origin is None:
        crossed = untrusted_site not in (None, "same-origin", "none")
    else:
        crossed = not same_origin(untrusted_origin, untrusted_host)
    if crossed:
        return Refused(
            403,
            "cross-origin",
            "A page of another origin asked for this; only this node's own pages may.",
            "Open the node's own page, or use hausctl.",
        )
    return None


def same_origin(untrusted_origin: str, host: str) -> bool:
    """Whether an Origin field names the host (and port) that the request was sent to.

    The scheme is not compared, so that a TLS proxy in front does not make us a stranger to
    ourselves; a port that is the origin's default may be left out in either.
    """
    scheme, mark, place = untrusted_origin.lower().partition("://")
    if not mark or scheme not in _DEFAULT_PORTS:
        return False
    port = _DEFAULT_PORTS[scheme]
    return place.removesuffix(port) == host.lower().removesuffix(port)


def asks_from_here(peer: str, untrusted_headers: Mapping[str, str]) -> bool:
    """Whether a program or a page of this machine asks: over loopback, through no proxy, and not a
    page of another site that is open here. ``peer`` is an address; names of fields are in lower
    case."""
    if not BY_PROXIES.isdisjoint(untrusted_headers.keys()):
        return False
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    if not (getattr(address, "ipv4_mapped", None) or address).is_loopback:
        return False
    origin = untrusted_headers.get("origin")
    if origin is None:
        return True
    scheme, mark, place = origin.lower().partition("://")
    return bool(mark) and scheme in _DEFAULT_PORTS and HostNames().allow(place)


def _name_of(host: str) -> str | None:
    """The name in a Host field without port and brackets; None where it is malformed."""
    if host.startswith("["):
        name, mark, port = host[1:].partition("]")
        if not mark or (port and not _is_port(port)):
            return None
        return name
    name, mark, port = host.partition(":")
    if mark and not _is_port(f":{port}"):
        return None
    return name.removesuffix(".") or None


def _is_port(text: str) -> bool:
    return text[0] == ":" and len(text) <= 6 and (text[1:].isascii() and text[1:].isdigit())

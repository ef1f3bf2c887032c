"""What an HTTP gateway's answer may lead to: where a redirect goes, how long a pause is."""

from __future__ import annotations

import ipaddress
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urljoin, urlsplit

from hausd.core.peers import Endpoint
from hausd.policy.reach import Reach, reach

MAX_REDIRECTS = 3


def redirected(base: str, at: str, untrusted_location: str) -> str | None:
    """Where a redirect from ``at`` of the gateway ``base`` may be followed to; None: nowhere.

    To the gateway's own name or one below it (subdomain gateways: ``<cid>.ipfs.<name>``), by the
    same scheme; never from TLS to none. Whether that name's address is public is still to be
    looked at, unless the gateway itself is on this machine.
    """
    try:
        ours, target = urlsplit(base), urlsplit(urljoin(at, untrusted_location))
        port, wanted = _port(target), _port(ours)
    except ValueError:
        return None
    host, name = target.hostname or "", ours.hostname or ""
    if target.scheme != ours.scheme or port != wanted or target.username or target.password:
        return None
    if host != name and not (host.endswith(f".{name}") and not _is_address(name)):
        return None
    return target._replace(fragment="").geturl()


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet: not private, loopback, link-local …"""
    return _is_address(address) and reach(_endpoint(address)) is Reach.WORLD


def is_loopback_name(host: str) -> bool:
    """Whether a name or address stays on this machine."""
    return reach(_endpoint(host)) is Reach.MACHINE


def pause_s(untrusted_retry_after: str | None, now_s: float) -> float:
    """What ``Retry-After`` asks for, in seconds from now; 0 where it says nothing readable.

    ``now_s`` is Unix time. Source: RFC 9110, section 10.2.3: seconds, or a date.
    """
    text = (untrusted_retry_after or "").strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _endpoint(host: str) -> Endpoint:
    if not _is_address(host):
        return Endpoint("dns", host, 0, None)
    return Endpoint("ip6" if ":" in host else "ip4", host, 0, None)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True

"""Values as people write them: addresses, sizes, times, bit rates, rungs of the ladder.

Each ``parse_…`` takes what TOML, the environment or ``--set`` gave (or the finished value) and
raises ``Wrong``, which says what is wrong and what would be right. Each ``write_…`` is its
inverse.
"""

from __future__ import annotations

import ipaddress
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hausd.core.ids import parse_room_id
from hausd.core.peers import Endpoint, parse_endpoint

_MAX_BYTES = 2**60
_BYTE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_TIME_UNITS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_RATE_UNITS = {"": 1, "bps": 1, "k": 10**3, "kbps": 10**3, "m": 10**6, "mbps": 10**6}
_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,9})?)\s*([a-z/]*)", re.ASCII)
_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*\.?", re.ASCII | re.I)
_SHOWN_CHARACTERS = 60
_MAX_RUNGS = 8
_RUNG_PIXELS = range(64, 4321)
_RUNG_BPS = range(50_000, 100_000_001)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Wrong(ValueError):
    """An option's value can't be used: what is wrong with it, and what would be right."""

    def __init__(self, problem: str, right: str) -> None:
        super().__init__(f"{problem}; {right}")
        self.problem = problem
        self.right = right


def shown(untrusted: object) -> str:
    """A value for an error text: shortened, on one line, quoted where it is text."""
    text = repr(untrusted) if isinstance(untrusted, str) else _plain(untrusted)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _plain(untrusted: object) -> str:
    if isinstance(untrusted, bool):
        return "true" if untrusted else "false"
    if isinstance(untrusted, int):
        try:
            return str(untrusted)
        except ValueError:  # Python writes out no number past 4300 digits
            return "this number"
    if isinstance(untrusted, Mapping):
        return "a table"
    return str(untrusted).replace("\n", " ")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where to listen: a host (name or IP address) and a port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches it. A name other than localhost may lead anywhere."""
        if self.host.lower().rstrip(".") == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def wildcard(self) -> bool:
        """Whether it stands for every address of this machine."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound

    def overlaps(self, other: Address) -> bool:
        """Whether both can't be listened on at once."""
        same_host = self.host == other.host or self.wildcard or other.wildcard
        return same_host and self.port == other.port != 0


class Rung(NamedTuple):
    """One quality of the ladder: pixels high, and bits a second of its video."""

    height: int
    bandwidth_bps: int


def parse_address(untrusted: object) -> Address:
    """Reads ``HOST:PORT``; an IPv6 host stands in square brackets."""
    right = 'write HOST:PORT, as in "127.0.0.1:8080" or "[::1]:8080"'
    if isinstance(untrusted, Address):
        return untrusted
    if not isinstance(untrusted, str):
        raise Wrong(f"{shown(untrusted)} is not an address", right)
    host, colon, port = untrusted.strip().rpartition(":")
    if not colon:
        raise Wrong(f"{shown(untrusted)} lacks a host or a port", right)
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535:
        raise Wrong(f"{shown(port)} is not a port", "a port is a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        try:
            return Address(str(ipaddress.IPv6Address(host[1:-1])), int(port))
        except ValueError:
            raise Wrong(f"{shown(host[1:-1])} is not an IPv6 address", right) from None
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return Address(str(ipaddress.IPv4Address(host)), int(port))
        except ValueError:
            raise Wrong(f"{shown(host)} is not an IPv4 address", right) from None
    if not _HOST_NAME.fullmatch(host) or len(host) > 253:
        raise Wrong(f"{shown(host)} is not a host", right)
    return Address(host, int(port))


def parse_address_or_off(untrusted: object) -> Address | None:
    """Reads ``HOST:PORT``; empty text means that nothing listens."""
    if untrusted is None or untrusted == "":
        return None
    return parse_address(untrusted)


def _amount(untrusted: object, units: Mapping[str, float]) -> float | None:
    """A number with a unit, in the unit whose factor is 1; None where it isn't one."""
    if isinstance(untrusted, bool):
        return None
    if isinstance(untrusted, int | float):
        return untrusted
    if not isinstance(untrusted, str):
        return None
    match = _NUMBER_AND_UNIT.fullmatch(untrusted.strip().lower())
    if match is None or match[2] not in units:
        return None
    number = float(match[1]) if "." in match[1] else int(match[1])
    return number * units[match[2]]


def parse_bytes(untrusted: object) -> int:
    """Reads a size: bytes as a number, or text such as "20 GB" or "512 MiB"."""
    amount = _amount(untrusted, _BYTE_UNITS)
    if amount is None or not 0 <= amount <= _MAX_BYTES:
        right = 'write a number of bytes, or a size such as "20 GB" or "512 MiB"'
        raise Wrong(f"{shown(untrusted)} is not a size", right)
    return round(amount)


def parse_seconds(untrusted: object) -> float:
    """Reads a time: seconds as a number, or text such as "400ms", "10s", "5m" or "2h"."""
    amount = _amount(untrusted, _TIME_UNITS_S)
    if amount is None or (isinstance(amount, float) and not math.isfinite(amount)):
        right = 'write a number of seconds, or a time such as "400ms", "10s", "5m" or "2h"'
        raise Wrong(f"{shown(untrusted)} is not a time", right)
    return float(min(max(amount, -1), 10**12))


def parse_bps(untrusted: object) -> int:
    """Reads a bit rate: bits a second as a number, or text such as "2800k" or "2.8M"."""
    amount = _amount(untrusted, _RATE_UNITS)
    if amount is None or not 0 <= amount <= 10**12:
        right = 'write a number of bits a second, or a rate such as "2800k" or "2.8M"'
        raise Wrong(f"{shown(untrusted)} is not a bit rate", right)
    return round(amount)


def parse_rung(untrusted: object) -> Rung:
    """Reads ``[HEIGHT, BITRATE]``."""
    right = 'write [HEIGHT, BITRATE], as in [720, "2800k"]'
    if not isinstance(untrusted, list | tuple) or len(untrusted) != 2:
        raise Wrong(f"{shown(untrusted)} is not a rung", right)
    height, rate = untrusted
    if isinstance(height, bool) or not isinstance(height, int) or height not in _RUNG_PIXELS:
        low, high = _RUNG_PIXELS[0], _RUNG_PIXELS[-1]
        raise Wrong(f"{shown(height)} is not a rung's height", f"{low} to {high} pixels")
    if height % 2:
        near = f"{height - 1} or {height + 1}"
        raise Wrong(f"a rung of {height} pixels can't be encoded", f"take an even height: {near}")
    bps = parse_bps(rate)
    if bps not in _RUNG_BPS:
        least, most = write_bps(_RUNG_BPS[0]), write_bps(_RUNG_BPS[-1])
        raise Wrong(f"{shown(rate)} is not a bit rate for video", f'"{least}" to "{most}"')
    return Rung(height, bps)


def parse_ladder(untrusted: object) -> tuple[Rung, ...]:
    """Reads the rungs from best to least; each one below another is cheaper than it."""
    right = 'write a list of [HEIGHT, BITRATE], as in [[720, "2800k"], [360, "800k"]]'
    if not isinstance(untrusted, list | tuple):
        raise Wrong(f"{shown(untrusted)} is not a ladder", right)
    if len(untrusted) > _MAX_RUNGS:
        raise Wrong(f"{len(untrusted)} rungs are too many", f"at most {_MAX_RUNGS}")
    rungs = sorted(map(parse_rung, untrusted), reverse=True)
    for upper, lower in itertools.pairwise(rungs):
        if upper.height == lower.height:
            problem = f"{upper.height} pixels stand in two rungs"
            raise Wrong(problem, "give each height once")
        if upper.bandwidth_bps <= lower.bandwidth_bps:
            problem = (
                f"{upper.height} pixels at {write_bps(upper.bandwidth_bps)} are not more than "
                f"{lower.height} pixels at {write_bps(lower.bandwidth_bps)}"
            )
            raise Wrong(problem, "give the higher rung the higher bit rate")
    return tuple(rungs)


def parse_texts(untrusted: object) -> tuple[str, ...]:
    """Reads a list of texts; one text may hold several with commas between."""
    if isinstance(untrusted, str):
        untrusted = [each.strip() for each in untrusted.split(",") if each.strip()]
    if not isinstance(untrusted, list | tuple) or not all(isinstance(x, str) for x in untrusted):
        raise Wrong(f"{shown(untrusted)} is not a list of texts", 'write ["one", "another"]')
    return tuple(untrusted)


def parse_host_names(untrusted: object) -> tuple[str, ...]:
    """Reads host names without scheme or port."""
    names = parse_texts(untrusted)
    for name in names:
        if not _HOST_NAME.fullmatch(name) or len(name) > 253:
            right = 'write names alone, as in ["live.example.org"]'
            raise Wrong(f"{shown(name)} is not a host name", right)
    return tuple(name.lower() for name in names)


def parse_networks(untrusted: object) -> tuple[Network, ...]:
    """Reads networks in CIDR form; a single address stands for itself."""
    if isinstance(untrusted, tuple) and all(
        isinstance(each, ipaddress.IPv4Network | ipaddress.IPv6Network) for each in untrusted
    ):
        return untrusted
    networks = []
    for text in parse_texts(untrusted):
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError:
            right = 'write ADDRESS/BITS with no bits set beyond, as in ["10.1.0.0/16"]'
            raise Wrong(f"{shown(text)} is not a network", right) from None
    return tuple(networks)


def parse_single_addresses(untrusted: object) -> tuple[Network, ...]:
    """Reads single addresses, as networks of one."""
    networks = parse_networks(untrusted)
    for network in networks:
        if network.num_addresses != 1:
            raise Wrong(f"{network} is not one address", 'write addresses, as in ["10.1.0.7"]')
    return networks


def parse_multiaddrs(untrusted: object) -> tuple[str, ...]:
    """Multiaddrs, with ``/p2p/ID`` or not."""
    return tuple(str(_endpoint(text)) for text in parse_texts(untrusted))


def parse_rooms(untrusted: object) -> tuple[str, ...]:
    """Room ids."""
    texts = parse_texts(untrusted)
    for text in texts:
        try:
            parse_room_id(text)
        except ValueError as fault:
            right = f"{fault}; `hausctl rooms list --network` shows them"
            raise Wrong(f"{shown(text)} is not a room's id", right) from None
    return texts


def parse_peers(untrusted: object) -> tuple[str, ...]:
    """Multiaddrs of nodes, each with ``/p2p/ID``."""
    found = []
    for text in parse_texts(untrusted):
        endpoint = _endpoint(text)
        if endpoint.peer is None:
            raise Wrong(
                f"{shown(text)} does not say which node it is",
                "end it with /p2p/ID, as the node's own `hausctl status` shows it",
            )
        found.append(str(endpoint))
    return tuple(found)


def _endpoint(text: str) -> Endpoint:
    try:
        return parse_endpoint(text)
    except ValueError as fault:
        raise Wrong(str(fault), 'as in "/ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…"') from None


def parse_path(untrusted: object, home: Path | None) -> Path:
    """Reads a path; a relative one starts at the home, ``~`` at the user's home directory."""
    if isinstance(untrusted, str):
        if not untrusted or "\0" in untrusted:
            raise Wrong(f"{shown(untrusted)} is not a path", "name a file or directory")
        try:
            untrusted = Path(untrusted).expanduser()
        except RuntimeError:
            raise Wrong(
                f"{shown(untrusted)} names no user's home", "write the whole path"
            ) from None
    if not isinstance(untrusted, Path):
        raise Wrong(f"{shown(untrusted)} is not a path", "name a file or directory")
    return home / untrusted if home is not None else untrusted


def parse_path_or_none(untrusted: object, home: Path | None) -> Path | None:
    """Reads a path; empty text means none."""
    if untrusted is None or untrusted == "":
        return None
    return parse_path(untrusted, home)


def write_bytes(count: int) -> str:
    """The shortest text that ``parse_bytes`` reads back to the same number."""
    for unit in ("TB", "TiB", "GB", "GiB", "MB", "MiB", "KB", "KiB"):
        factor = _BYTE_UNITS[unit.lower()]
        if count and count % factor == 0:
            return f"{count // factor} {unit}"
    return str(count)


def write_bps(rate: int) -> str:
    """The shortest text that ``parse_bps`` reads back to the same number."""
    for unit, factor in (("M", 10**6), ("k", 10**3)):
        if rate and rate % factor == 0:
            return f"{rate // factor}{unit}"
    return str(rate)

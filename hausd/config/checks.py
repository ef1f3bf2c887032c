"""Options that are each right and together impossible."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hausd.config.ipfs import token_faults
from hausd.config.schema import Config
from hausd.config.units import Address, Wrong, parse_address

_P2P_LISTEN = re.compile(r"/ip4/([0-9.]+)/tcp/([0-9]+)|/ip6/([0-9a-fA-F:]+)/tcp/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What is impossible; the fault is shown at the first of ``keys`` that somebody set."""

    keys: tuple[str, ...]
    problem: str
    right: str


def contradictions(config: Config) -> Iterator[Contradiction]:
    """Everything impossible about a configuration whose single options are all right."""
    yield from _durations(config)
    yield from _tls(config)
    yield from _off_loopback(config)
    yield from _keys(config)
    yield from _urls(config)
    yield from _ports(config)
    for key, problem, right in token_faults(config.ipfs):
        yield Contradiction((key,), problem, right)


def _durations(config: Config) -> Iterator[Contradiction]:
    media = config.media
    if media.part_seconds > media.gop_seconds:
        yield Contradiction(
            ("media.part_seconds", "media.gop_seconds"),
            f"a part of {media.part_seconds:g} s doesn't fit into a GOP of {media.gop_seconds:g} s",
            "part_seconds has to be at most gop_seconds",
        )
    if media.segment_seconds < media.gop_seconds:
        yield Contradiction(
            ("media.segment_seconds", "media.gop_seconds"),
            f"a segment of {media.segment_seconds:g} s can't hold a whole GOP of "
            f"{media.gop_seconds:g} s",
            "segment_seconds has to be at least gop_seconds",
        )
    # RFC 8216bis 6.2.2: a live playlist never holds less than three target durations.
    if config.live.window_s < 3 * media.gop_seconds:
        yield Contradiction(
            ("live.window_s", "media.gop_seconds"),
            f"a window of {config.live.window_s:g} s holds fewer than three GOPs of "
            f"{media.gop_seconds:g} s",
            f"window_s has to be at least {3 * media.gop_seconds:g}",
        )


def _tls(config: Config) -> Iterator[Contradiction]:
    for name, section in (("http", config.http), ("rtmp", config.rtmp)):
        cert, key = section.tls_cert, section.tls_key
        if cert and not key:
            keys = (f"{name}.tls_cert", f"{name}.tls_key")
            yield Contradiction(keys, "a certificate without its key", f"set {name}.tls_key too")
        elif key and not cert:
            keys = (f"{name}.tls_key", f"{name}.tls_cert")
            yield Contradiction(keys, "a key without its certificate", f"set {name}.tls_cert too")
        elif cert and key:
            yield from _certificate(name, cert, key)
    if config.rtmp.tls_listen and not (config.rtmp.tls_cert or config.http.tls_cert):
        yield Contradiction(
            ("rtmp.tls_listen",),
            "RTMPS needs a certificate",
            "set rtmp.tls_cert and rtmp.tls_key, or those of [http]",
        )


def _certificate(name: str, cert: Path, key: Path) -> Iterator[Contradiction]:
    readable = True
    for option, path in ((f"{name}.tls_cert", cert), (f"{name}.tls_key", key)):
        try:
            with path.open("rb"):
                pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            problem = f"{path} can't be read ({reason})"
            yield Contradiction((option,), problem, "name a PEM file that this user may read")
            readable = False
    if not readable:
        return
    keys = (f"{name}.tls_cert", f"{name}.tls_key")
    try:
        # A password would be asked for on the terminal: an empty one makes it fail instead.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "no PEM certificate and key"
        problem = f"{cert.name} and {key.name} can't be used ({reason})"
        yield Contradiction(keys, problem, "name a PEM certificate and its unencrypted key")


def _off_loopback(config: Config) -> Iterator[Contradiction]:
    http, rtmp, chain = config.http, config.rtmp, config.chain
    if not (http.listen.loopback or http.tls_cert or http.insecure):
        yield Contradiction(
            ("http.listen",),
            f"{http.listen} is reached from other machines, and there is no TLS",
            "set http.tls_cert and http.tls_key, or listen on 127.0.0.1 behind a proxy, or start "
            "with --insecure",
        )
    if rtmp.listen and not (rtmp.listen.loopback or rtmp.insecure):
        yield Contradiction(
            ("rtmp.listen",),
            f"{rtmp.listen} is reached from other machines, and RTMP sends stream keys in clear "
            "text",
            "use rtmp.tls_listen for other machines, or start with --insecure",
        )
    if chain.listen and not (chain.listen.loopback or http.tls_cert or chain.insecure):
        yield Contradiction(
            ("chain.listen",),
            f"{chain.listen} is reached from other machines, and there is no TLS",
            "set http.tls_cert and http.tls_key, or listen on 127.0.0.1 behind a proxy, or start "
            "with --insecure",
        )


def _keys(config: Config) -> Iterator[Contradiction]:
    if config.keys.wrap == "command" and not config.keys.wrap_command.strip():
        keys = ("keys.wrap_command", "keys.wrap")
        yield Contradiction(keys, "no command wraps the keys", "name one in keys.wrap_command")


def _urls(config: Config) -> Iterator[Contradiction]:
    wanted = (
        ("http.public_url", config.http.public_url, ("http", "https"), "https://live.example.org"),
        ("rtmp.public_url", config.rtmp.public_url, ("rtmp", "rtmps"), "rtmps://example.org/live"),
        ("chain.rpc_url", config.chain.rpc_url, ("http", "https"), "https://api.devnet.solana.com"),
    )
    for key, url, schemes, example in (*wanted, *_endpoints(config)):
        if url and not _is_url(url, schemes):
            right = f'write {" or ".join(schemes)}, as in "{example}"'
            yield Contradiction((key,), "this is not such a URL", right)


def _endpoints(config: Config) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    for url in config.chain.more_rpc_urls:
        yield "chain.more_rpc_urls", url or "-", ("http", "https"), "https://api.devnet.solana.com"


def _is_url(untrusted: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(untrusted)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _ports(config: Config) -> Iterator[Contradiction]:
    taken: list[tuple[str, Address]] = [("http.listen", config.http.listen)]
    for key, address in (
        ("rtmp.listen", config.rtmp.listen),
        ("rtmp.tls_listen", config.rtmp.tls_listen),
        ("chain.listen", config.chain.listen),
    ):
        if address:
            taken.append((key, address))
    if config.chain.listen and 0 < config.chain.listen.port < 65535:
        after = Address(config.chain.listen.host, config.chain.listen.port + 1)
        taken.append(("chain.listen (WebSocket, port + 1)", after))
    if config.p2p.listen:
        peer = _multiaddr(config.p2p.listen)
        if peer is None:
            yield Contradiction(
                ("p2p.listen",),
                "this is not a TCP multiaddr",
                'write /ip4/ADDRESS/tcp/PORT, as in "/ip4/127.0.0.1/tcp/4001"',
            )
        else:
            taken.append(("p2p.listen", peer))
    for number, (key, address) in enumerate(taken):
        for other, used in taken[:number]:
            if address.overlaps(used):
                keys = (key.partition(" ")[0], other.partition(" ")[0])
                problem = f"port {address.port} is also that of {other}"
                yield Contradiction(keys, problem, "give each its own port")


def _multiaddr(untrusted: str) -> Address | None:
    match = _P2P_LISTEN.fullmatch(untrusted)
    if match is None:
        return None
    host = match[1] or f"[{match[3]}]"
    try:
        return parse_address(f"{host}:{match[2] or match[4]}")
    except Wrong:
        return None

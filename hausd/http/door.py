"""From a checked head to a Request: the same door for both lanes."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from hausd.http.head import Fields, RequestLine
from hausd.http.messages import Request, Response, refusal
from hausd.http.metrics import Tally
from hausd.policy.origin import HostNames, check_door


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in. ``trusted_proxies`` are addresses whose X-Forwarded-* fields are believed.

    ``salt`` is random per process: viewers are told apart, but can't be found out from their ids.
    """

    names: HostNames
    trusted_proxies: frozenset[str]
    salt: bytes
    tally: Tally

    def request(self, line: RequestLine, fields: Fields, peer: str, secure: bool) -> Request:
        """The request as the responder sees it."""
        if peer in self.trusted_proxies:
            peer = self._client(peer, fields.kept.get("x-forwarded-for", ""))
            secure = secure or fields.forwarded_proto == "https"
        version = "1.1" if line.minor else "1.0"
        host = fields.host or ""
        return Request(line.method, line.path, line.query, fields.kept, version, secure, peer, host)

    def _client(self, peer: str, told: str) -> str:
        """Who asks through trusted proxies. Each adds whom it heard at the end, so that what is
        left of the first one that is not trusted was claimed by anybody."""
        for hop in reversed(told.split(",")):
            address = _address(hop)
            if not address:
                break
            peer = address
            if peer not in self.trusted_proxies:
                break
        return peer

    def refuse(self, method: str, fields: Fields, websocket: bool = False) -> Response | None:
        """The answer that keeps such a request out; None where it may come in."""
        refused = check_door(
            self.names,
            method,
            fields.host or "",
            fields.kept.get("origin"),
            fields.kept.get("sec-fetch-site"),
            websocket,
        )
        if refused is None:
            return None
        self.tally.refused[refused.code] += 1
        return refusal(refused.status, refused.code, refused.message, refused.hint)

    def viewer(self, request: Request) -> str:
        """Tells one player from another, not who it is."""
        seen = f"{request.peer}\0{request.headers.get('user-agent', '')}".encode()
        return hashlib.blake2b(seen, key=self.salt, digest_size=8).hexdigest()


def _address(untrusted: str) -> str:
    """An address out of X-Forwarded-For, without the port that some proxies write; "" for none."""
    text = untrusted.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if found.version == 6 else None
    return str(mapped or found)

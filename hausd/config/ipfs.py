"""What a node does with the IPFS world over HTTP: gateways, pinning services, Kubo."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import PlainSerializer, PlainValidator, ValidationInfo

from hausd.config.options import FilePathOrNone, Section, Text, option
from hausd.config.units import Wrong, parse_path, parse_texts, shown
from hausd.policy.gateways import is_loopback_name

CREDENTIAL = "credential:"
"""Before the name of a secret that systemd hands over (LoadCredential=)."""
KUBO = "kubo"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
_TAKEN = (KUBO, "haus", "bitswap")
_MAX_GATEWAYS = 16
_MAX_SERVICES = 8
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FIELDS = {"name", "endpoint", "token"}


@dataclass(frozen=True, slots=True)
class PinningService:
    """A remote pinning service. ``token`` says where its secret is: file or ``credential:NAME``."""

    name: str
    endpoint: str
    token: str


def parse_http_url(untrusted: object, example: str) -> str:
    """An https URL, or an http one of this machine, without user, query or fragment."""
    right = f'write https://HOST[:PORT][/PATH], or http:// for this machine, as in "{example}"'
    if not isinstance(untrusted, str):
        raise Wrong(f"{shown(untrusted)} is not a URL", right)
    try:
        parts = urlsplit(untrusted.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Wrong(f"{shown(untrusted)} is not a URL", right) from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or not untrusted.isascii():
        raise Wrong(f"{shown(untrusted)} is not such a URL", right)
    if parts.username is not None or parts.password is not None:
        raise Wrong("the URL holds a user or a password", "give the secret as a token file")
    if parts.query or parts.fragment:
        raise Wrong(f"{shown(untrusted)} has a query or a fragment", right)
    if parts.scheme == "http" and not is_loopback_name(host):
        raise Wrong(f"{shown(untrusted)} goes to another machine without TLS", right)
    return untrusted.strip().rstrip("/")


def parse_gateways(untrusted: object) -> tuple[str, ...]:
    """A list of gateways' base URLs; ``/ipfs/<cid>`` is put behind each."""
    texts = parse_texts(untrusted)
    if len(texts) > _MAX_GATEWAYS:
        raise Wrong(f"{len(texts)} gateways are too many", f"at most {_MAX_GATEWAYS}")
    found = []
    for text in texts:
        url = parse_http_url(text, "https://trustless-gateway.link")
        if url.endswith("/ipfs"):
            raise Wrong(f"{shown(text)} ends in /ipfs", "leave that out: it is put there")
        if url in found:
            raise Wrong(f"{shown(text)} stands there twice", "give each gateway once")
        found.append(url)
    return tuple(found)


def parse_services(untrusted: object, home: Path | None) -> tuple[PinningService, ...]:
    """A list of ``{ name, endpoint, token }``."""
    right = 'write [{ name = "pinata", endpoint = "https://api.pinata.cloud/psa", token = "FILE" }]'
    if not isinstance(untrusted, list | tuple):
        raise Wrong(f"{shown(untrusted)} is not a list of pinning services", right)
    if len(untrusted) > _MAX_SERVICES:
        raise Wrong(f"{len(untrusted)} pinning services are too many", f"at most {_MAX_SERVICES}")
    found: list[PinningService] = []
    for each in untrusted:
        if isinstance(each, PinningService):
            found.append(each)
            continue
        if not isinstance(each, Mapping) or set(each) != _FIELDS:
            raise Wrong("a pinning service has a name, an endpoint and a token", right)
        name = each["name"]
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in _TAKEN:
            taken = ", ".join(_TAKEN)
            problem = f"{shown(name)} can't name a pinning service"
            raise Wrong(problem, f"a-z, 0-9 and '-', at most 32 of them, and none of {taken}")
        if any(name == other.name for other in found):
            raise Wrong(f"two pinning services are called {name}", "give each its own name")
        endpoint = parse_http_url(each["endpoint"], "https://api.pinata.cloud/psa")
        found.append(PinningService(name, endpoint, parse_token(each["token"], home)))
    return tuple(found)


def parse_token(untrusted: object, home: Path | None) -> str:
    """Where a secret is; never the secret itself."""
    if isinstance(untrusted, str) and untrusted.startswith(CREDENTIAL):
        if not _CREDENTIAL_NAME.fullmatch(untrusted.removeprefix(CREDENTIAL)):
            raise Wrong("this is not a credential's name", f'as in "{CREDENTIAL}pinata"')
        return untrusted
    if isinstance(untrusted, str) and (len(untrusted) > 200 or untrusted.count(".") > 4):
        # a token put here by mistake must not be shown
        raise Wrong("this is not the name of a file", "write the token into a file of mode 0600")
    return str(parse_path(untrusted, home))


def token_path(token: str) -> Path:
    """The file of a secret. Raises OSError where systemd handed over none."""
    if not token.startswith(CREDENTIAL):
        return Path(token)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise FileNotFoundError(2, "systemd handed over no credentials", token)
    return Path(folder) / token.removeprefix(CREDENTIAL)


def token_faults(config: IpfsConfig) -> Iterator[tuple[str, str, str]]:
    """Secrets that can't be read, or that others can: the option, the problem, what is right."""
    named = [("ipfs.pinning", service.token) for service in config.pinning]
    if config.kubo_token is not None:
        named.append(("ipfs.kubo_token", str(config.kubo_token)))
    for key, token in named:
        try:
            path = token_path(token)
            mode = path.stat().st_mode
            with path.open("rb"):
                pass
        except (OSError, ValueError) as fault:
            why = getattr(fault, "strerror", None) or "not a path"
            right = "write the token into that file, alone, and chmod 600 it"
            # not the name of the file: it may be the token, put there by mistake
            yield key, f"the token's file can't be read ({why})", right
            continue
        if mode & _OTHERS and not token.startswith(CREDENTIAL):
            yield key, f"other users may read {token}, which holds a secret", f"chmod 600 {token}"


def _services(untrusted: object, info: ValidationInfo) -> tuple[PinningService, ...]:
    home = (info.context or {}).get("home")
    return parse_services(untrusted, home if isinstance(home, Path) else None)


def _written(services: tuple[PinningService, ...]) -> list[dict[str, str]]:
    return [{"name": one.name, "endpoint": one.endpoint, "token": one.token} for one in services]


def _kubo(untrusted: object) -> str:
    return "" if untrusted in (None, "") else parse_http_url(untrusted, "http://127.0.0.1:5001")


Gateways = Annotated[tuple[str, ...], PlainValidator(parse_gateways), PlainSerializer(list)]
Services = Annotated[
    tuple[PinningService, ...], PlainValidator(_services), PlainSerializer(_written)
]
Kubo = Annotated[Text, PlainValidator(_kubo)]


class IpfsConfig(Section):
    """The IPFS world: where else blocks come from, and who else keeps finished recordings."""

    gateways: Gateways = option(
        (),
        "Trustless HTTP gateways, which archives are filled from beside other nodes, as in "
        '["https://trustless-gateway.link"]. Every block is verified; one that lies is dropped '
        "for an hour. Off this machine only https.",
    )
    pinning: Services = option(
        (),
        "Pinning services (IPFS Pinning Service API) that keep finished recordings, as in "
        '[{ name = "pinata", endpoint = "https://api.pinata.cloud/psa", token = "pinata.token" }]. '
        'The token is a file of mode 0600 that holds nothing else, or "credential:NAME" of '
        "systemd; a relative path starts at the home.",
    )
    kubo: Kubo = option(
        "",
        'RPC address of a Kubo node that keeps them too, as in "http://127.0.0.1:5001". '
        "Empty: none.",
    )
    kubo_token: FilePathOrNone = option(
        None,
        "File of mode 0600 with the secret of Kubo's API.Authorizations, as in bearer:SECRET or "
        "basic:USER:PASSWORD. Empty: it asks for none.",
    )
    pin_finished: bool = option(
        True,
        "Pins each room that was streamed into this node there as soon as it has ended. False: "
        "only what hausctl pins push is told.",
        reload=True,
    )

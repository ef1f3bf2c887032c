"""``hausctl tickets sign-in``: a wallet signs in at somebody else's node, as the page there does.

That node is spoken to over HTTP and is not trusted: it gets a signature over a delegation that was
read and found to be for it, this room and a day, and nothing else.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import typer

from hausctl.client import Refused
from hausctl.context import Here
from hausctl.times import when
from hausctl.wallet import KeypairOption, SignerOption, Wallet, wallet

if TYPE_CHECKING:
    from hausd.core.delegation import Delegation

_TIMEOUT_S = 30.0
_MAX_ANSWER_BYTES = 64 * 1024
_LONGEST_S = 24 * 3600
"""What a node asks for when somebody signs in there."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,160}")
_ROOM_HINT = "copy it from the room's page, as in https://live.example.org/?room=…"


def sign_in(
    ctx: typer.Context,
    where: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="The room's page at that node. -: reads the text that a page shows from standard "
            "input, and writes the signature.",
        ),
    ],
    keypair: KeypairOption = "",
    signer: SignerOption = "",
) -> None:
    """Signs in at somebody else's node with your ticket, and gives URLs for players."""
    here, who = Here.of(ctx), wallet(keypair, signer)
    if where == "-":
        text = _read_text()
        made = checked(text, str(who.address))
        sys.stderr.write(f"{_told(made)}\n")
        signature = str(who.sign(text.encode()))
        here.answer({"signature": signature}, signature)
        return
    place = Place.of(where)
    value = _signed_in(place, who)
    here.answer(
        value,
        f"Signed in at {place.host}: for 15 minutes, and as long as something plays.",
        f"Live:           {value['live_url']}",
        f"From the start: {value['archive_url']}",
        "Keep these URLs to yourself: who has them watches with your ticket.",
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A room at a node: its ``host`` as in the Host field, and whether by TLS."""

    room: str
    host: str
    name: str
    port: int | None
    secure: bool

    @classmethod
    def of(cls, url: str) -> Place:
        """Reads a page's or a playlist's URL. Raises Refused."""
        from hausd.core.ids import parse_room_id

        try:
            read = urlsplit(url)
            name, port = read.hostname or "", read.port
            named = parse_qs(read.query).get("room", [])
            words = read.path.split("/")
            if words[1:2] in (["live"], ["archive"]) and len(words) > 2:
                named.append(words[2])
            room = parse_room_id(named[0] if named else "")
        except ValueError as fault:
            raise Refused("bad-url", f"{url!r} names no room: {fault}", _ROOM_HINT) from None
        if read.scheme not in ("http", "https") or not name:
            raise Refused("bad-url", f"{url!r} is no address of a web page", _ROOM_HINT)
        host = read.netloc.rpartition("@")[2]
        return cls(room, host, name, port, read.scheme == "https")

    @property
    def base(self) -> str:
        return f"http{'s' if self.secure else ''}://{self.host}"

    def ask(self, path: str, body: dict[str, str] | None = None) -> Any:
        """One request. Raises Refused."""
        kind = http.client.HTTPSConnection if self.secure else http.client.HTTPConnection
        connection = kind(self.name, self.port, timeout=_TIMEOUT_S)
        headers = {"host": self.host, "content-type": "application/json"}
        try:
            sent = json.dumps(body) if body is not None else None
            connection.request("GET" if sent is None else "POST", path, sent, headers)
            answer = connection.getresponse()
            raw = answer.read(_MAX_ANSWER_BYTES)
        except (OSError, http.client.HTTPException) as fault:
            hint = "is the address right, and does the node run?"
            raise Refused("unreached", f"{self.host} can't be reached ({fault})", hint) from None
        finally:
            connection.close()
        try:
            value = json.loads(raw)
            if answer.status == 200 and isinstance(value, dict):
                return value
            error = value["error"]
            told = (_line(error.get(name, "")) for name in ("code", "message", "hint"))
            refused = Refused(*told)
        except (ValueError, KeyError, TypeError, AttributeError):
            refused = Refused(
                "bad-answer", f"{self.host} answered {answer.status}, and not in words"
            )
        raise refused


def _signed_in(place: Place, who: Wallet) -> Any:
    address = str(who.address)
    asked = urlencode({"room": place.room, "wallet": address})
    text = str(place.ask(f"/api/v1/sign-in?{asked}").get("text", ""))
    made = checked(text, address)
    if (made.domain, made.room) != (place.host, place.room):
        message = f"{place.host} asks for a signature for {made.domain}, room {made.room}"
        raise Refused("wrong-text", message, "nothing was signed: don't trust that node")
    if not place.secure and place.name not in _LOCAL:
        sys.stderr.write(f"Warning: {place.base} is not encrypted: others may read along.\n")
    body = {"text": text, "signature": str(who.sign(text.encode()))}
    token = str(place.ask("/api/v1/sign-in", body).get("token", ""))
    if not _TOKEN.fullmatch(token):
        raise Refused("bad-answer", f"{place.host} gives no token")
    live, archive = (
        f"{place.base}/{view}/{place.room}/t/{token}/index.m3u8" for view in ("live", "archive")
    )
    return {
        "room": place.room,
        "wallet": address,
        "token": token,
        "live_url": live,
        "archive_url": archive,
    }


def checked(text: str, address: str) -> Delegation:
    """The text of a sign-in, read. Raises Refused where it would allow anything more."""
    from hausd.core.delegation import DelegationError, Scope, parse

    hint = "nothing was signed"
    try:
        made = parse(text)
    except DelegationError as fault:
        raise Refused("bad-text", f"this is no text to sign in with: {fault}", hint) from None
    if made.wallet != address:
        raise Refused(
            "other-wallet", f"the text is for the wallet {made.wallet}", f"{hint}: {address}"
        )
    lasts_s = made.not_after_s - made.not_before_s
    if made.room is None or made.scopes != {Scope.WATCH} or lasts_s > _LONGEST_S:
        message = "the text allows more than to watch one room for a day"
        raise Refused("wrong-text", message, f"{hint}: don't trust that node")
    return made


def _line(untrusted: object) -> str:
    """One line that can't steer a terminal."""
    return "".join(each if each.isprintable() else " " for each in str(untrusted)[:300])


def _told(made: Delegation) -> str:
    from datetime import UTC, datetime

    ends = when(datetime.fromtimestamp(made.not_after_s, UTC))
    return f"Lets the node {made.node} at {made.domain} watch {made.room} until {ends}."


def _read_text() -> str:
    if sys.stdin.isatty():
        sys.stderr.write("Paste the text, then press Enter and Ctrl+D:\n")
    raw = sys.stdin.buffer.read(_MAX_ANSWER_BYTES)
    return raw.decode("ascii", "replace").replace("\r\n", "\n").strip("\n")

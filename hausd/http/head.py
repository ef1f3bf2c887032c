"""The head of an HTTP/1.1 request, read so strictly that nobody behind us can read it otherwise.

Request smuggling lives on differences between parsers. So there is one grammar at the door, a
subset of what every server agrees on; what does not match is refused and its connection closed.
Not accepted, though old servers were: HTTP/0.9, absolute-form targets, folded lines, bare CR or
LF, space before a colon, several or odd Content-Lengths, Content-Length beside
Transfer-Encoding, codings other than ``chunked``, control bytes anywhere.

Source: RFC 9112. Pure; no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from hausd.http.limits import Limits
from hausd.http.messages import KEPT_HEADERS

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
HEAD_END = b"\r\n\r\n"

_REQUEST_LINE = re.compile(
    rb"([A-Z]{3,7}) (/[!$%&'()*+,\-./0-9:;=?@A-Z\[\]^_a-z{|}~]*) HTTP/1\.([01])"
)
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\r\n")
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
_ESCAPE_FAULT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BARE_LINE_END = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_ONCE = frozenset((b"host", b"content-length", b"transfer-encoding"))
_KEPT = {name.encode(): name for name in KEPT_HEADERS}


class BadRequest(Exception):
    """A request that is refused before anyone looks at what it asks.

    ``status`` is the answer's, ``fault`` a short name out of a small set (for the counter), the
    text is for whoever wrote the client.
    """

    def __init__(self, status: int, fault: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.fault = fault


class RequestLine(NamedTuple):
    """``path`` is decoded, ``query`` and ``target`` are as sent."""

    method: str
    path: str
    query: str
    target: bytes
    minor: int


@dataclass(frozen=True, slots=True)
class Fields:
    """The header fields of one request.

    ``raw`` has all of them, names in lower case, for who reads on; ``kept`` those of
    KEPT_HEADERS. ``length`` is that of the body in bytes, None for none given. ``connection``
    holds the Connection options.
    """

    raw: tuple[tuple[bytes, bytes], ...]
    kept: Mapping[str, str]
    host: str | None
    length: int | None
    chunked: bool
    connection: frozenset[str]
    upgrade: str
    forwarded_proto: str


def parse_line(untrusted: bytes) -> RequestLine:
    """Reads a request line without its CRLF; raises BadRequest."""
    match = _REQUEST_LINE.fullmatch(untrusted)
    if match is None:
        raise _line_fault(untrusted)
    method, target, minor = match.groups()
    name = method.decode("ascii")
    if name not in METHODS:
        raise BadRequest(501, "unknown-method", "no such method here")
    raw_path, _, query = target.partition(b"?")
    return RequestLine(
        name, parse_path(raw_path), query.decode("ascii"), target, int(minor == b"1")
    )


def parse_target(method: str, untrusted_path: bytes, untrusted_query: bytes) -> RequestLine:
    """The request line that HTTP/2's pseudo fields amount to; raises BadRequest."""
    target = untrusted_path + b"?" + untrusted_query if untrusted_query else untrusted_path
    return parse_line(b"%s %s HTTP/1.1" % (method.encode("ascii", "replace"), target))


def parse_path(untrusted: bytes) -> str:
    """Percent-decodes a path; raises BadRequest where it is not UTF-8 or has control bytes."""
    if b"%" not in untrusted:
        return untrusted.decode("ascii")
    if _ESCAPE_FAULT.search(untrusted):
        raise BadRequest(400, "bad-target", "a % in the path is not followed by two hex digits")
    try:
        path = unquote_to_bytes(untrusted).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest(400, "bad-target", "the path is not UTF-8") from None
    if any(character < " " or character == "\x7f" for character in path):
        raise BadRequest(400, "bad-target", "the path contains control characters")
    return path


def parse_fields(untrusted: bytes, limits: Limits) -> Fields:
    """Reads the field lines of a head, each with its CRLF; raises BadRequest."""
    if _FIELDS.fullmatch(untrusted) is None:
        raise _fields_fault(untrusted)
    if untrusted.count(b"\n") > limits.head_fields:
        raise BadRequest(431, "too-many-fields", f"more than {limits.head_fields} header fields")
    return read_fields(
        tuple((name.lower(), value.strip(b" \t")) for name, value in _FIELD.findall(untrusted))
    )


def read_fields(raw: tuple[tuple[bytes, bytes], ...]) -> Fields:
    """What the fields mean for the door; names in lower case. Raises BadRequest."""
    kept: dict[str, str] = {}
    once: dict[bytes, bytes] = {}
    connection: list[str] = []
    upgrade: list[str] = []
    forwarded_proto = ""
    for name, value in raw:
        if name in _ONCE:
            if name in once:
                raise BadRequest(400, "repeated-field", f"two {name.decode()} fields")
            once[name] = value
        if name == b"x-forwarded-proto":
            forwarded_proto = value.decode("latin-1").rpartition(",")[2].strip()
        if name in _KEPT:
            text = value.decode("latin-1")
            key = _KEPT[name]
            # RFC 9113 section 8.2.3: a Cookie field may be cut into several
            mark = "; " if key == "cookie" else ", "
            kept[key] = f"{kept[key]}{mark}{text}" if key in kept else text
        elif name == b"connection":
            connection += [token.strip().lower() for token in value.decode("latin-1").split(",")]
        elif name == b"upgrade":
            upgrade.append(value.decode("latin-1").lower())
    length = _content_length(once.get(b"content-length"))
    coding = once.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadRequest(400, "two-lengths", "both Content-Length and Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise BadRequest(501, "unknown-coding", "the only transfer coding here is chunked")
    host = once.get(b"host")
    return Fields(
        raw=raw,
        kept=kept,
        host=None if host is None else host.decode("latin-1"),
        length=length,
        chunked=coding is not None,
        connection=frozenset(connection),
        upgrade=", ".join(upgrade),
        forwarded_proto=forwarded_proto,
    )


def check_together(line: RequestLine, fields: Fields) -> None:
    """What line and fields must fulfil together; raises BadRequest."""
    if fields.host is None:
        raise BadRequest(400, "no-host", "there is no Host field")
    if line.minor == 0 and fields.chunked:
        raise BadRequest(400, "unknown-coding", "HTTP/1.0 knows no transfer codings")


def check_partial(untrusted: bytes, limits: Limits) -> None:
    """Whether bytes without an end of head can still become one; raises BadRequest."""
    if len(untrusted) > limits.head_bytes:
        raise BadRequest(431, "head-too-large", f"a head of over {limits.head_bytes} bytes")
    if _BARE_LINE_END.search(untrusted):
        raise BadRequest(400, "bare-line-end", "a line ends without CR LF")
    line_end = untrusted.find(b"\r\n")
    if line_end < 0:
        if len(untrusted) > limits.request_line_bytes:
            raise _line_too_long(limits)
        if not untrusted[:1].isupper():
            raise BadRequest(400, "bad-line", "this is not an HTTP request")
    else:
        check_line_length(line_end, limits)
        parse_line(untrusted[:line_end])


def check_line_length(length: int, limits: Limits) -> None:
    """Raises BadRequest where a request line has too many bytes."""
    if length > limits.request_line_bytes:
        raise _line_too_long(limits)


def keeps_alive(line: RequestLine, fields: Fields) -> bool:
    """Whether the client wants to use the connection again."""
    if "close" in fields.connection:
        return False
    return line.minor == 1 or "keep-alive" in fields.connection


def wants_websocket(line: RequestLine, fields: Fields) -> bool:
    """Whether what follows this head is no longer HTTP once we agree (RFC 6455)."""
    return (
        line.method == "GET"
        and line.minor == 1
        and fields.upgrade == "websocket"
        and "upgrade" in fields.connection
        and not fields.length
        and not fields.chunked
    )


def _content_length(value: bytes | None) -> int | None:
    if value is None:
        return None
    if _LENGTH.fullmatch(value) is None:
        raise BadRequest(400, "bad-length", "Content-Length is not a number")
    return int(value)


def _line_too_long(limits: Limits) -> BadRequest:
    return BadRequest(
        414, "line-too-long", f"the request line has over {limits.request_line_bytes} bytes"
    )


def _line_fault(untrusted: bytes) -> BadRequest:
    if _BARE_LINE_END.search(untrusted):
        return BadRequest(400, "bare-line-end", "a line ends without CR LF")
    words = untrusted.split(b" ")
    if len(words) == 3 and re.fullmatch(rb"HTTP/[0-9]\.[0-9]", words[2]):
        if not words[2].startswith(b"HTTP/1."):
            return BadRequest(505, "bad-version", "only HTTP/1.1 and 1.0 are spoken here in clear")
        if re.match(rb"[a-z]+://", words[1], re.IGNORECASE):
            return BadRequest(400, "absolute-target", "this is no proxy: the target must be a path")
        if not words[0].isalpha() or not words[0].isupper():
            return BadRequest(400, "bad-method", "the method is malformed")
        return BadRequest(400, "bad-target", "the target is not a path, or has bytes to escape")
    return BadRequest(400, "bad-line", "the request line is not METHOD /path HTTP/1.1")


def _fields_fault(untrusted: bytes) -> BadRequest:
    if _BARE_LINE_END.search(untrusted):
        return BadRequest(400, "bare-line-end", "a line ends without CR LF")
    if re.search(rb"(?:\A|\r\n)[ \t]", untrusted):
        return BadRequest(400, "folded-line", "a header field is folded over two lines")
    return BadRequest(400, "bad-field", "a header field is not name: value")

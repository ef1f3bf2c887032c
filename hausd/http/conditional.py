"""HEAD, Range and conditional requests, in one place for both lanes.

Source: RFC 9110 sections 8.8 (validators), 13 (conditional requests), 14 (ranges).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from hausd.core.live import FileRange
from hausd.http.messages import Body, Chunks, Request, Response

DECIDING_HEADERS = ("range", "if-none-match", "if-modified-since")
"""A GET without any of these gets a response as it is."""

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_NO_BODY_FIELDS = frozenset((b"content-type", b"content-encoding"))
_BODILESS = frozenset((204, 304))


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes out: ``headers`` in full but for Date and Connection.

    ``body`` is empty for HEAD. ``length`` is the body's size in bytes as a GET would have it; None
    where it is not known beforehand.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: Body
    length: int | None


def body_length(body: Body) -> int | None:
    """Size of a body in bytes; None where it is made while it is sent."""
    if isinstance(body, tuple):
        return sum(map(len, body))
    return body.length


def reply_to(request: Request, response: Response) -> Reply:
    """Applies the request's conditions, range and method to the responder's answer."""
    headers, body = response.headers, response.body
    length = body_length(body)
    if response.status == 200 and request.method in ("GET", "HEAD"):
        fields = request.headers
        etag = _field(headers, b"etag")
        if _not_modified(request, headers, etag):
            kept = tuple(field for field in headers if field[0] not in _NO_BODY_FIELDS)
            return Reply(304, _finish(kept, None), (), 0)
        untrusted_range = fields.get("range")
        if length is not None and not (isinstance(body, Chunks) and body.between is None):
            headers = (*headers, (b"accept-ranges", b"bytes"))
            if (
                untrusted_range is not None
                and request.method == "GET"
                and _range_applies(fields.get("if-range"), headers, etag)
            ):
                span = parse_range(untrusted_range, length)
                if isinstance(span, Unsatisfiable):
                    unmet = (b"content-range", b"bytes */%d" % length)
                    kept = tuple(field for field in headers if field[0] not in _NO_BODY_FIELDS)
                    return Reply(416, _finish((*kept, unmet), 0), (), 0)
                if span is not None:
                    start, size = span
                    part = b"bytes %d-%d/%d" % (start, start + size - 1, length)
                    headers = (*headers, (b"content-range", part))
                    return Reply(206, _finish(headers, size), cut(body, start, size), size)
    if response.status in _BODILESS:
        return Reply(response.status, _finish(headers, None), (), 0)
    sent: Body = () if request.method == "HEAD" else body
    return Reply(response.status, _finish(headers, length), sent, length)


class Unsatisfiable:
    """The range lies outside of the content."""


UNSATISFIABLE = Unsatisfiable()


def parse_range(untrusted: str, length: int) -> tuple[int, int] | Unsatisfiable | None:
    """Start and size of a single byte range; None where the field is to be ignored.

    Ignored are malformed ranges, other units, and several ranges at once (which RFC 9110 section
    14.2 leaves to us: no player asks for them, and they are an amplifier).
    """
    match = _RANGE.fullmatch(untrusted.replace(" ", ""))
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        size = min(int(suffix), length)
        return (length - size, size) if size else UNSATISFIABLE
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= length:
        return UNSATISFIABLE
    end = min(int(last), length - 1) if last else length - 1
    return start, end - start + 1


def cut(body: Body, start: int, size: int) -> Body:
    """``size`` bytes of a body from ``start`` on."""
    if isinstance(body, Chunks):
        between = body.between
        assert between is not None  # no other is cut
        return Chunks(lambda: between(start, start + size), size)
    if isinstance(body, FileRange):
        return FileRange(body.path, body.offset + start, size)
    pieces = []
    for piece in body:
        if start < len(piece) and size:
            taken = piece[start : start + size]
            pieces.append(taken)
            size -= len(taken)
        start = max(0, start - len(piece))
    return tuple(pieces)


def _not_modified(
    request: Request, headers: tuple[tuple[bytes, bytes], ...], etag: str | None
) -> bool:
    untrusted = request.headers.get("if-none-match")
    if untrusted is not None:
        if untrusted.strip() == "*":
            return True
        if etag is None:
            return False
        ours = etag.removeprefix("W/")
        return any(tag.strip().removeprefix("W/") == ours for tag in untrusted.split(","))
    untrusted = request.headers.get("if-modified-since")
    modified = _field(headers, b"last-modified")
    if untrusted is None or modified is None:
        return False
    try:
        return parsedate_to_datetime(modified) <= parsedate_to_datetime(untrusted)
    except (ValueError, TypeError, OverflowError):  # not a date, or one without a zone
        return False


def _range_applies(
    untrusted_if_range: str | None, headers: tuple[tuple[bytes, bytes], ...], etag: str | None
) -> bool:
    """Strong comparison, RFC 9110 section 13.1.5."""
    if untrusted_if_range is None:
        return True
    if untrusted_if_range.startswith('"'):
        return untrusted_if_range == etag
    return untrusted_if_range == _field(headers, b"last-modified")


def _field(headers: tuple[tuple[bytes, bytes], ...], name: bytes) -> str | None:
    for field, value in headers:
        if field == name:
            return value.decode("latin-1")
    return None


def _finish(
    headers: tuple[tuple[bytes, bytes], ...], length: int | None
) -> tuple[tuple[bytes, bytes], ...]:
    ours: tuple[tuple[bytes, bytes], ...] = ((b"x-content-type-options", b"nosniff"),)
    if length is not None:
        ours = ((b"content-length", b"%d" % length), *ours)
    return headers + ours

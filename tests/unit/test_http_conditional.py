"""HEAD, Range and conditional requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.core.live import FileRange
from hausd.http.conditional import Reply, Unsatisfiable, cut, parse_range, reply_to
from hausd.http.messages import Body, Chunks, Request, Response

ETAG = (b"etag", b'"bafk"')
TYPE = (b"content-type", b"video/mp4")
DATE = "Mon, 23 Nov 2026 10:00:00 GMT"


def ask(method: str = "GET", **fields: str) -> Request:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return Request(method, "/live/a", "", headers, "1.1", False, "127.0.0.1", "localhost")


def media(body: Body = (b"0123", b"456", b"789"), *extra: tuple[bytes, bytes]) -> Response:
    return Response(200, (TYPE, ETAG, *extra), body)


def fields_of(reply: Reply) -> dict[bytes, bytes]:
    names = [name for name, _ in reply.headers]
    assert len(names) == len(set(names))
    return dict(reply.headers)


def test_a_plain_get_gets_all_of_it_with_its_length_and_nosniff() -> None:
    reply = reply_to(ask(), media())
    assert (reply.status, reply.body) == (200, (b"0123", b"456", b"789"))
    fields = fields_of(reply)
    assert fields[b"content-length"] == b"10"
    assert fields[b"x-content-type-options"] == b"nosniff"
    assert fields[b"accept-ranges"] == b"bytes"


def test_head_has_the_fields_of_get_and_no_body() -> None:
    got, head = reply_to(ask(), media()), reply_to(ask("HEAD"), media())
    assert (head.status, head.headers, head.body) == (200, got.headers, ())


@pytest.mark.parametrize(
    ("asked", "body", "place"),
    [
        ("bytes=0-3", b"0123", b"bytes 0-3/10"),
        ("bytes=2-5", b"2345", b"bytes 2-5/10"),
        ("bytes=7-", b"789", b"bytes 7-9/10"),
        ("bytes=-2", b"89", b"bytes 8-9/10"),
        ("bytes=-99", b"0123456789", b"bytes 0-9/10"),
        ("bytes=9-999", b"9", b"bytes 9-9/10"),
    ],
)
def test_a_single_range_gets_its_bytes(asked: str, body: bytes, place: bytes) -> None:
    reply = reply_to(ask(range=asked), media())
    assert isinstance(reply.body, tuple)
    assert (reply.status, b"".join(reply.body)) == (206, body)
    fields = fields_of(reply)
    assert fields[b"content-range"] == place
    assert fields[b"content-length"] == b"%d" % len(body)
    assert fields[b"etag"] == ETAG[1]


def test_a_range_of_a_file_is_a_range_of_that_file() -> None:
    reply = reply_to(ask(range="bytes=5-9"), media(FileRange("seg", 100, 50)))
    assert (reply.status, reply.body) == (206, FileRange("seg", 105, 5))


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99-100"])
def test_a_range_outside_says_how_much_there_is(asked: str) -> None:
    reply = reply_to(ask(range=asked), media())
    assert (reply.status, reply.body) == (416, ())
    fields = fields_of(reply)
    assert fields[b"content-range"] == b"bytes */10"
    assert fields[b"content-length"] == b"0"


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=a-b", "bytes=", "lines=0-1", "bytes=0-1,4-5", "0-3", "bytes=--1"]
)
def test_what_is_no_single_byte_range_is_ignored(asked: str) -> None:
    assert reply_to(ask(range=asked), media()).status == 200


def test_ranges_are_for_get_and_for_success_only() -> None:
    assert reply_to(ask("HEAD", range="bytes=0-1"), media()).status == 200
    gone = Response(404, (TYPE,), (b"no such thing",))
    assert reply_to(ask(range="bytes=0-1"), gone).status == 404


def test_a_body_made_while_it_is_sent_is_sent_whole() -> None:
    chunks = Chunks(lambda: (_ async for _ in _none()))
    reply = reply_to(ask(range="bytes=0-1"), media(chunks))
    assert (reply.status, reply.body, reply.length) == (200, chunks, None)
    assert b"content-length" not in fields_of(reply)


async def _none():
    return
    yield b""


@pytest.mark.parametrize(
    ("tag", "status"),
    [('"bafk"', 206), ('"other"', 200), ('W/"bafk"', 200), (DATE, 206), ("yesterday", 200)],
)
def test_if_range_gives_the_range_only_of_the_same_content(tag: str, status: int) -> None:
    body = media((b"0123456789",), (b"last-modified", DATE.encode()))
    assert reply_to(ask(range="bytes=0-1", if_range=tag), body).status == status


@pytest.mark.parametrize("tags", ['"bafk"', 'W/"bafk"', '"a", "bafk"', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_is_not_sent_again(tags: str, method: str) -> None:
    cache = (b"cache-control", b"max-age=1")
    reply = reply_to(ask(method, if_none_match=tags), media((b"0123",), cache))
    assert (reply.status, reply.body) == (304, ())
    fields = fields_of(reply)
    assert fields[b"etag"] == ETAG[1]
    assert fields[b"cache-control"] == b"max-age=1"
    assert b"content-length" not in fields


def test_another_tag_gets_the_content() -> None:
    assert reply_to(ask(if_none_match='"other"'), media()).status == 200
    assert reply_to(ask(if_none_match='"x"'), Response(200, (TYPE,), (b"a",))).status == 200


@pytest.mark.parametrize(
    ("since", "status"),
    [
        (DATE, 304),
        ("Mon, 23 Nov 2026 10:00:01 GMT", 304),
        ("Mon, 23 Nov 2026 09:59:59 GMT", 200),
        ("not a date", 200),
        ("Mon, 23 Nov 99999999999 09:59:59 GMT", 200),
    ],
)
def test_if_modified_since_compares_dates(since: str, status: int) -> None:
    body = media((b"0123",), (b"last-modified", DATE.encode()))
    assert reply_to(ask(if_modified_since=since), body).status == status
    both = ask(if_modified_since=DATE, if_none_match='"other"')
    assert reply_to(both, body).status == 200, "If-None-Match comes before If-Modified-Since"


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_text_is_a_range_within_bounds_or_none(text: str, length: int) -> None:
    for asked in (text, f"bytes={text}"):
        span = parse_range(asked, length)
        if span is not None and not isinstance(span, Unsatisfiable):
            start, size = span
            assert 0 <= start < length
            assert 0 < size <= length - start


@given(st.lists(st.binary(max_size=5), max_size=6), st.integers(0, 40), st.integers(0, 40))
def test_a_cut_is_a_slice(pieces: list[bytes], start: int, size: int) -> None:
    taken = cut(tuple(pieces), start, size)
    assert isinstance(taken, tuple)
    assert b"".join(taken) == b"".join(pieces)[start : start + size]

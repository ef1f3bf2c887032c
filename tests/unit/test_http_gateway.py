"""The gateway gives what is in the store, verified, and nothing of it runs on our origin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.hls_room import MemoryBlocks, Rooms
from support.http import Closed, running

from hausd.core import dagcbor, unixfs
from hausd.core.cid import CID, Codec
from hausd.core.live import FileRange
from hausd.core.media import LEAF_BYTES
from hausd.http.messages import Chunks, Fetch, Request, Response
from hausd.http.responder import RoomResponder
from hausd.wire.car import CarReader

MP4 = b"\x00\x00\x00\x18ftypiso6" + bytes(100)
HTML = b"<script>fetch('/api/v1/rooms')</script>"
HOST = "localhost:8080"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


class Store(MemoryBlocks):
    def file(self, content: bytes) -> unixfs.Child:
        child, blocks = unixfs.file_of(content)
        self.blocks.update(blocks)
        return child

    def folder(self, entries: Mapping[str, unixfs.Child]) -> unixfs.Child:
        made = unixfs.directory(entries)
        self.blocks.update(made.blocks)
        return made.child


def ask(
    store: Store, path: str, query: str = "", *, public: bool = False, **headers: str
) -> Fetch | Response:
    responder = RoomResponder(Rooms(), store, public_gateway=public)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = responder.respond(
        Request("GET", path, query, named, "1.1", False, "127.0.0.1", "localhost:8080")
    )
    assert isinstance(answer, Fetch | Response)
    return answer


async def get(
    store: Store, path: str, query: str = "", *, public: bool = False, **headers: str
) -> Response:
    answer = ask(store, path, query, public=public, **headers)
    return await answer.get() if isinstance(answer, Fetch) else answer


async def body(response: Response) -> bytes:
    if isinstance(response.body, tuple):
        return b"".join(response.body)
    assert isinstance(response.body, Chunks)
    return b"".join([piece async for piece in response.body.begin()])


def header(response: Response, name: str) -> str:
    return dict(response.headers).get(name.encode(), b"").decode()


async def test_blocks_are_given_raw_for_who_verifies() -> None:
    store = Store()
    child = store.file(os.urandom(LEAF_BYTES + 10))
    for how in ({"query": "format=raw"}, {"accept": "application/vnd.ipld.raw"}):
        answer = await get(store, f"/ipfs/{child.cid}", **how)
        assert child.cid.matches(await body(answer))
        assert header(answer, "content-type") == "application/vnd.ipld.raw"
        assert header(answer, "content-disposition").startswith("attachment")
        assert header(answer, "cache-control") == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("cid", "content"), [("bafkqaaa", b""), ("bafkqabdinf2cc", b"hit!")]
)  # as Kubo and gateway checkers try whether a gateway answers at all
async def test_a_cid_that_is_its_own_content_is_answered(cid: str, content: bytes) -> None:
    answer = await get(Store(), f"/ipfs/{cid}", query="format=raw")
    assert (answer.status, await body(answer)) == (200, content)
    assert header(answer, "content-type") == "application/vnd.ipld.raw"
    assert (await get(Store(), f"/ipfs/{cid}", query="format=car")).status == 406
    assert (await get(Store(), f"/ipfs/{cid}a", query="format=raw")).status == 400


async def test_a_cache_in_front_tells_a_file_from_its_block() -> None:
    store = Store()
    child = store.file(os.urandom(2 * LEAF_BYTES))
    file = await get(store, f"/ipfs/{child.cid}")
    block = await get(store, f"/ipfs/{child.cid}", accept="application/vnd.ipld.raw")
    assert header(file, "vary") == header(block, "vary") == "accept"
    assert header(file, "etag") != header(block, "etag")


async def test_a_car_holds_all_that_is_below_and_reads_back_verified() -> None:
    store = Store()
    film = store.file(os.urandom(3 * LEAF_BYTES))
    top = store.folder({"film.mp4": film, "notes.txt": store.file(b"notes")})
    answer = await get(store, f"/ipfs/{top.cid}", "format=car")
    assert header(answer, "content-type").startswith("application/vnd.ipld.car; version=1")
    reader = CarReader()
    blocks = dict(reader.feed(await body(answer)))
    reader.finish()
    assert reader.roots == (top.cid,)
    assert blocks == store.blocks


@pytest.mark.parametrize(
    ("query", "leaves"),
    [
        ("dag-scope=block", []),
        ("dag-scope=entity", [0, 1, 2]),
        ("entity-bytes=0:10", [0]),
        ("dag-scope=entity&entity-bytes=131072:131072", [1]),
        ("entity-bytes=131071:131072", [0, 1]),
        ("entity-bytes=-1:*", [2]),
        ("entity-bytes=0:-1", [0, 1, 2]),
        ("entity-bytes=99999999:*", []),
    ],
)
async def test_a_car_of_a_part_of_a_file_holds_the_way_to_it_and_its_leaves(
    query: str, leaves: list[int]
) -> None:
    store = Store()
    content = os.urandom(3 * LEAF_BYTES)
    film = store.file(content)
    top = store.folder({"film.mp4": film})
    answer = await get(store, f"/ipfs/{top.cid}/film.mp4", f"format=car&{query}")
    blocks = dict(CarReader().feed(await body(answer)))
    wanted = [CID.of(content[i * LEAF_BYTES : (i + 1) * LEAF_BYTES]) for i in leaves]
    assert list(blocks) == [top.cid, film.cid, *wanted]


@pytest.mark.parametrize("query", ["dag-scope=x", "entity-bytes=1", "entity-bytes=a:b"])
async def test_a_car_request_that_makes_no_sense_is_refused(query: str) -> None:
    store = Store()
    child = store.file(b"x")
    answer = await get(store, f"/ipfs/{child.cid}", f"format=car&{query}")
    assert answer.status == 400


async def test_files_are_found_by_path_and_typed_by_name() -> None:
    store = Store()
    inner = store.folder({"a b.mp4": store.file(MP4), "index.m3u8": store.file(b"#EXTM3U\n")})
    top = store.folder({"inner": inner})
    answer = await get(store, f"/ipfs/{top.cid}/inner/a b.mp4")
    assert await body(answer) == MP4
    assert header(answer, "content-type") == "video/mp4"
    playlist = await get(store, f"/ipfs/{top.cid}/inner/index.m3u8")
    assert header(playlist, "content-type") == "application/vnd.apple.mpegurl"
    listing = (await body(await get(store, f"/ipfs/{top.cid}/inner/"))).decode()
    assert f'href="/ipfs/{top.cid}/inner/a%20b.mp4"' in listing


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (HTML, "index.html"), (HTML, "x.htm"), (HTML, "x.xhtml"), (SVG, "x.svg"), (SVG, "x.SVG"),
        (b"alert(1)", "x.js"), (b"alert(1)", "x.mjs"), (b"%PDF-1.7", "x.pdf"), (HTML, "x"),
        (b"<?xml version='1.0'?>", "x.xml"), (HTML, "x.txt"), (HTML, ""), (SVG, ""), (b"MZ", ""),
        (HTML, 'x".html'), (HTML, "x.mp4.html"), (b"\0asm", "x.wasm"), (b"a{}", "x.css"),
    ],
)  # fmt: skip
async def test_stored_scripts_never_run_on_our_origin(content: bytes, name: str) -> None:
    store = Store()
    child = store.file(content)
    path = f"/ipfs/{child.cid}"
    if name:
        path = f"/ipfs/{store.folder({name: child}).cid}/{name}"
    async with running(responder=RoomResponder(Rooms(), store)) as server:
        answer = await server.get(path.replace('"', "%22"))
    assert (answer.status, answer.body) == (200, content)
    assert answer.fields["content-type"] == "application/octet-stream"
    assert answer.fields["content-disposition"].startswith('attachment; filename="')
    assert answer.fields["content-disposition"].count('"') == 2
    assert answer.fields["content-security-policy"].startswith("sandbox;")
    assert answer.fields["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["x.mp4", "x.jpg", "x.m3u8", "x.vtt"])
async def test_a_script_under_a_harmless_name_is_only_ever_that(name: str) -> None:
    store = Store()
    top = store.folder({name: store.file(HTML)})
    async with running(responder=RoomResponder(Rooms(), store)) as server:
        answer = await server.get(f"/ipfs/{top.cid}/{name}")
    assert not answer.fields["content-type"].startswith(("text/html", "application/x"))
    assert answer.fields["x-content-type-options"] == "nosniff"
    assert answer.fields["content-security-policy"].startswith("sandbox;")


async def test_names_in_a_listing_can_not_break_out_of_it() -> None:
    store = Store()
    evil = '"><script>alert(1)</script>'
    top = store.folder({evil.replace("/", "|"): store.file(b"x")})
    answer = await get(store, f"/ipfs/{top.cid}")
    page = (await body(answer)).decode()
    assert "<script" not in page
    assert header(answer, "content-security-policy") == "sandbox; default-src 'none'"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ipfs", 404), ("/ipfs/", 400),
        ("/ipfs/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", 400),
        ("/ipfs/../live", 400), ("/ipfs/CID/../CID", 400), ("/ipfs/CID/./x", 400),
        ("/ipfs/CID//x", 400), ("/ipfs/CID/missing", 404), ("/ipfs/CID/file/deeper", 404),
        ("/ipfs/CID/" + "a/" * 40 + "b", 404), ("/ipfs/CID/" + "x" * 5000, 404),
        ("/ipfs/CID/\0", 404), ("/ipfs/CID/..%2f", 404),
    ],
)  # fmt: skip
async def test_paths_lead_nowhere_but_into_the_content(path: str, status: int) -> None:
    store = Store()
    top = store.folder({"file": store.file(b"x")})
    answer = await get(store, path.replace("CID", str(top.cid)))
    assert answer.status == status


async def test_only_what_is_in_the_store_is_served_and_only_if_it_is_whole() -> None:
    store = Store()
    missing = CID.of(b"not here")
    assert (await get(store, f"/ipfs/{missing}", "format=raw")).status == 404
    assert (await get(store, f"/ipfs/{missing}", "format=car")).status == 404
    assert (await get(store, f"/ipfs/{missing}")).status == 404
    damaged = CID.of(b"was right once")
    store.blocks[damaged] = b"is something else now"
    assert (await get(store, f"/ipfs/{damaged}", "format=raw")).status == 404
    data = CID.of(node := dagcbor.encode({"a": 1}), Codec.DAG_CBOR)
    store.blocks[data] = node
    assert (await get(store, f"/ipfs/{data}")).status == 406
    assert (await get(store, f"/ipfs/{data}", "format=raw")).status == 200
    assert (await get(store, f"/ipfs/{data}", "format=ipns-record")).status == 406


async def test_large_files_are_streamed_with_ranges_and_break_off_when_a_leaf_is_missing() -> None:
    store = Store()
    content = os.urandom(5 * 1024 * 1024)
    child = store.file(content)
    async with running(responder=RoomResponder(Rooms(), store)) as server:
        path = f"/ipfs/{child.cid}"
        whole = await server.get(path)
        assert whole.body == content
        piece = await server.get(path, "Range: bytes=200000-400000")
        assert piece.status == 206
        assert piece.body == content[200_000:400_001]
        assert piece.fields["content-range"] == f"bytes 200000-400000/{len(content)}"
        beyond = await server.get(path, "Range: bytes=9999999-")
        assert beyond.status == 416
        assert (await server.get(path, f'If-None-Match: "{child.cid}"')).status == 304
        del store.blocks[CID.of(content[-LEAF_BYTES:])]
        with pytest.raises(Closed):
            await server.get(path)


async def test_a_file_that_lies_in_one_piece_leaves_in_one_piece(tmp_path: Path) -> None:
    store = Store()
    content = MP4 + os.urandom(LEAF_BYTES)
    child = store.file(content)
    (tmp_path / "segment").write_bytes(b"before" + content + b"after")
    store.places[child.cid] = FileRange(str(tmp_path / "segment"), 6, len(content))
    async with running(responder=RoomResponder(Rooms(), store)) as server:
        whole = await server.get(f"/ipfs/{child.cid}")
        assert whole.body == content
        assert whole.fields["content-type"] == "video/mp4"
        piece = await server.get(f"/ipfs/{child.cid}", "Range: bytes=-5")
        assert piece.body == content[-5:]


async def test_pages_of_other_sites_can_neither_read_nor_embed_it() -> None:
    store = Store()
    child = store.file(MP4)
    for query in ("", "format=raw", "format=car"):
        answer = await get(store, f"/ipfs/{child.cid}", query, origin="https://evil.example")
        assert header(answer, "access-control-allow-origin") == ""
        assert header(answer, "cross-origin-resource-policy") == "same-origin"
        shared = await get(store, f"/ipfs/{child.cid}", query, public=True)
        assert header(shared, "access-control-allow-origin") == "*"


@pytest.mark.parametrize(
    ("peer", "headers", "fetches"),
    [
        ("127.0.0.1", {}, True),
        ("::1", {}, True),
        ("127.0.0.1", {"sec-fetch-site": "none"}, True),
        ("127.0.0.1", {"sec-fetch-site": "same-origin"}, True),
        ("127.0.0.1", {"origin": "http://localhost:8080"}, True),
        ("127.0.0.1", {"sec-fetch-site": "cross-site"}, False),
        ("127.0.0.1", {"sec-fetch-site": "same-site"}, False),
        ("127.0.0.1", {"origin": "https://evil.example"}, False),
        ("127.0.0.1", {"via": "1.1 hausd"}, False),
        ("127.0.0.1", {"x-forwarded-for": "203.0.113.7"}, False),
        ("203.0.113.7", {}, False),
        ("", {}, False),
    ],
)
async def test_only_for_this_machine_is_fetched_what_is_not_here(
    peer: str, headers: dict[str, str], fetches: bool
) -> None:
    near = Store()
    child = near.file(os.urandom(100))
    responder = RoomResponder(Rooms(), Store(), fetched=near)
    path = f"/ipfs/{child.cid}"
    answer = responder.respond(Request("GET", path, "", headers, "1.1", False, peer, HOST))
    assert isinstance(answer, Fetch)
    assert (await answer.get()).status == (200 if fetches else 404)

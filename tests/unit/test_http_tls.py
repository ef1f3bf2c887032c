"""HTTPS and HTTP/2, where the node has a certificate."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import httpx
import pytest
import trio
import trustme
from support.http import PLAYLIST, running

from hausd.core.live import FileRange
from hausd.http.limits import Limits
from hausd.http.messages import Request, Response, Wait
from hausd.http.tls import TlsFault, TlsFiles, load_context

AUTHORITY = trustme.CA()


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return certificate(tmp_path, "localhost")


def certificate(folder: Path, name: str) -> TlsFiles:
    issued = AUTHORITY.issue_cert(name)
    found = TlsFiles(folder / f"{name}.pem", folder / f"{name}.key")
    issued.private_key_pem.write_to_path(found.key)
    for blob in issued.cert_chain_pems:
        blob.write_to_path(found.certificate, append=True)
    return found


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def browser(http2: bool) -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=trusting(), http2=http2, http1=not http2, timeout=10)


@pytest.mark.parametrize("http2", [False, True])
async def test_both_lanes_answer_by_https_and_http2(
    http2: bool, files: TlsFiles, tmp_path: Path
) -> None:
    data = os.urandom(2_500_000)
    path = tmp_path / "segment"
    path.write_bytes(data)
    there = trio.Event()
    seen: list[Request] = []

    def reload(request: Request) -> Response | Wait:
        seen.append(request)
        return PLAYLIST if there.is_set() else Wait(there.wait, 5.0, PLAYLIST)

    answers = {
        "/live/a": PLAYLIST,
        "/live/s": Response(200, ((b"etag", b'"bafk"'),), FileRange(str(path), 0, len(data))),
        "/live/w": reload,
    }
    async with running(answers, tls=files) as node, browser(http2) as client:
        at = f"https://localhost:{node.port}"
        answer = await client.get(f"{at}/live/a")
        assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
        assert answer.content == PLAYLIST.body[0]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await client.get(f"{at}/live/s")).content == data
        part = await client.get(f"{at}/live/s", headers={"Range": "bytes=-7"})
        assert (part.status_code, part.content) == (206, data[-7:])
        head = await client.head(f"{at}/live/s")
        assert (head.headers["content-length"], head.content) == (str(len(data)), b"")
        same = await client.get(f"{at}/live/s", headers={"If-None-Match": '"bafk"'})
        assert same.status_code == 304
        said = await client.post(f"{at}/api/x", content=b"hello")
        assert said.text == "POST /api/x hello"
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                assert (await client.get(f"{at}/live/w")).content == PLAYLIST.body[0]

            nursery.start_soon(wait)
            await trio.sleep(0.05)
            there.set()
        assert seen[0].scheme == "https"
        assert seen[0].host == f"localhost:{node.port}"
        strange = await client.get(f"{at}/live/a", headers={"Host": "evil.example"})
        assert strange.status_code == 421
        assert node.server.tally.accepted == 1
        assert not node.server.tally.failed


async def test_many_requests_at_once_on_one_http2_connection(files: TlsFiles) -> None:
    async with running(tls=files) as node, browser(http2=True) as client:
        answers = []

        async def ask(n: int) -> None:
            path = "/live/a" if n % 2 else f"/api/{n}"
            answers.append(await client.get(f"https://localhost:{node.port}{path}"))

        async with trio.open_nursery() as nursery:
            for n in range(60):
                nursery.start_soon(ask, n)
        assert [answer.status_code for answer in answers] == [200] * 60
        assert node.server.tally.accepted == 1


async def test_http2_bodies_and_paths_are_checked_as_well(files: TlsFiles) -> None:
    limits = Limits(body_bytes=1000)
    async with running(tls=files, limits=limits) as node, browser(http2=True) as client:
        at = f"https://localhost:{node.port}"

        async def pieces():
            for _ in range(20):
                yield b"x" * 100

        assert (await client.post(f"{at}/api", content=b"x" * 1001)).status_code == 413
        assert (await client.post(f"{at}/api", content=pieces())).status_code == 413
        assert (await client.post(f"{at}/api", content=b"x" * 1000)).status_code == 200
        assert (await client.get(f"{at}/live/%ff")).status_code == 400
        foreign = {"Origin": "https://evil.example"}
        assert (await client.post(f"{at}/api", headers=foreign)).status_code == 403
        assert node.refused("body-too-large") == 2
        assert node.server.tally.accepted == 1, "a refused body does not cost the connection"
        assert not node.server.tally.failed
        assert node.refused("bad-target") == 1


async def test_who_leaves_gives_the_connection_back_at_once(files: TlsFiles) -> None:
    for http2 in (False, True):
        async with running(tls=files) as node:
            async with browser(http2) as client:
                await client.get(f"https://localhost:{node.port}/api")
                assert node.server.tally.connections == 1
            with trio.fail_after(5):
                while node.server.tally.connections:
                    await trio.sleep(0.01)
    async with running() as node:
        handed_over = await node.connect()
        await handed_over.get("/api")
        await handed_over.stream.send_eof()
        await handed_over.rest(within_s=5)


async def test_smuggling_inside_tls_is_refused_too(files: TlsFiles) -> None:
    async with running(tls=files) as node:
        stream = await trio.open_ssl_over_tcp_stream(
            "localhost", node.port, ssl_context=trusting(), https_compatible=True
        )
        await stream.send_all(
            b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /live/a HTTP/1.1\r\n\r\n"
        )
        said = b""
        with trio.fail_after(5):
            while data := await stream.receive_some():
                said += data
        assert said.startswith(b"HTTP/1.1 400")
        assert said.count(b"HTTP/1.1") == 1
        assert node.refused("two-lengths") == 1


async def test_who_does_not_shake_hands_is_closed(files: TlsFiles) -> None:
    limits = Limits(tls_handshake_timeout_s=0.2)
    async with running(tls=files, limits=limits) as node:
        silent, clear = await node.connect(), await node.connect()
        await clear.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await silent.rest(within_s=5)
        await clear.rest(within_s=5)
        with trio.fail_after(5):
            while node.server.tally.connections:
                await trio.sleep(0.01)
        assert node.refused("tls-handshake") == 2


async def test_a_slow_http2_client_is_dropped(files: TlsFiles, tmp_path: Path) -> None:
    import h2.config
    import h2.connection

    path = tmp_path / "segment"
    path.write_bytes(bytes(5_000_000))
    limits = Limits(send_timeout_s=0.3, idle_timeout_s=0.5)
    answers = {"/live/s": Response(200, (), FileRange(str(path), 0, 5_000_000))}
    async with running(answers, tls=files, limits=limits) as node:
        context = trusting()
        context.set_alpn_protocols(["h2"])
        stream = await trio.open_ssl_over_tcp_stream("localhost", node.port, ssl_context=context)
        client = h2.connection.H2Connection(h2.config.H2Configuration())
        client.initiate_connection()
        fields = {
            ":method": "GET",
            ":path": "/live/s",
            ":scheme": "https",
            ":authority": "localhost",
        }
        client.send_headers(1, list(fields.items()), end_stream=True)
        await stream.send_all(client.data_to_send())
        with trio.fail_after(10):  # its window is full, and it never opens it again
            while not node.refused("slow-client"):
                await trio.sleep(0.02)
            while node.server.tally.connections:
                await trio.sleep(0.02)


async def test_a_new_certificate_is_taken_without_a_restart(
    files: TlsFiles, tmp_path: Path
) -> None:
    async with running(tls=files) as node:
        other = certificate(tmp_path, "haus.example")
        node.server.reload_tls(other)
        with pytest.raises(TlsFault):
            node.server.reload_tls(TlsFiles(tmp_path / "none.pem", other.key))
        stream = await trio.open_tcp_stream("localhost", node.port)
        secure = trio.SSLStream(stream, trusting(), server_hostname="haus.example")
        await secure.do_handshake()
        await stream.aclose()


def test_unusable_files_are_named(files: TlsFiles, tmp_path: Path) -> None:
    with pytest.raises(TlsFault, match=r"none\.pem can't be read: No such file"):
        load_context(TlsFiles(tmp_path / "none.pem", files.key))
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(TlsFault, match=r"junk\.pem"):
        load_context(TlsFiles(junk, files.key))
    stranger = certificate(tmp_path, "other")
    with pytest.raises(TlsFault, match="no usable certificate and key"):
        load_context(TlsFiles(files.certificate, stranger.key))


def test_old_tls_is_not_spoken(files: TlsFiles) -> None:
    assert load_context(files).minimum_version == ssl.TLSVersion.TLSv1_2

"""config/nginx.conf in front of the server: media from the cache, playlists always fresh."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from support.http import PLAYLIST, Client, Running, running

from hausd.core.live import FileRange
from hausd.http.messages import Request, Response, Wait

CONFIG = Path(__file__).parents[2] / "config" / "nginx.conf"
FOR_GOOD = (b"cache-control", b"public, max-age=31536000, immutable")
NEVER = (b"cache-control", b"private, no-store")
ETAG = (b"etag", b'"bafk"')


class Counting:
    """A responder that counts, and whose playlists say how often they were asked for."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: Counter[str] = Counter()
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Any:
        self.asked[request.path] += 1
        self.requests.append(request)
        answer = self.answers.get(request.path, Response(404, (), (b"none",)))
        return answer(request) if callable(answer) else answer


def config_for(folder: Path, upstream_port: int, listen: str) -> str:
    """The shipped configuration at other places; each of them must be in it exactly once."""
    text = CONFIG.read_text()
    for shipped, here in (
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid; daemon off;"),
        ("error_log /var/log/nginx/error.log warn;", "error_log stderr warn;"),
        ("/var/cache/nginx/hausd", f"{folder}/cache"),
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{upstream_port};"),
        ("        listen 80;", f"        listen {listen};"),
        ("worker_processes auto;", "worker_processes 1;" + _as_who_we_are()),
    ):
        assert text.count(shipped) == 1, f"{shipped!r} is not once in nginx.conf"
        text = text.replace(shipped, here)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return text.replace("http {", "http {" + temporary, 1)


def _as_who_we_are() -> str:
    return " user root;" if os.geteuid() == 0 else ""


@asynccontextmanager
async def cached(
    answers: dict[str, Any], tmp_path: Path
) -> AsyncIterator[tuple[Counting, int, Running]]:
    """The server, and the port of an nginx in front of it."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "nginx is not installed (scripts/test installs it)"
    counting = Counting(answers)
    proxy = frozenset({"127.0.0.1"})
    async with running(responder=counting, trusted_proxies=proxy) as node:
        port = _free_port()
        path = tmp_path / "nginx.conf"
        path.write_text(config_for(tmp_path, node.port, f"127.0.0.1:{port}"))
        command = [program, "-p", str(tmp_path), "-c", str(path)]
        async with trio.open_nursery() as nursery:
            process = await nursery.start(lambda **how: trio.run_process(command, **how))
            try:
                await _until_it_listens(port)
                yield counting, port, node
            finally:
                process.terminate()


async def _until_it_listens(port: int) -> None:
    with trio.fail_after(10):
        while True:
            try:
                client = await Client.connect(port)
            except OSError:
                await trio.sleep(0.02)
            else:
                await client.stream.aclose()
                return


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_media_is_asked_of_the_node_once(tmp_path: Path) -> None:
    data = os.urandom(700_000)
    path = tmp_path / "segment"
    path.write_bytes(data)
    media = Response(200, (ETAG, FOR_GOOD), FileRange(str(path), 0, len(data)))
    paths = ("/live/r/v/1.m4s", "/archive/r/v/bafk.m4s", "/ipfs/bafk")
    async with cached(dict.fromkeys(paths, media), tmp_path) as (counting, port, _):
        for asked in paths:
            client = await Client.connect(port)
            first = await client.get(asked)
            assert (first.body, first.fields["x-cache"]) == (data, "MISS")
            for _ in range(4):
                again = await client.get(asked)
                assert (again.body, again.fields["x-cache"]) == (data, "HIT")
                assert again.fields["etag"] == '"bafk"'
                assert again.fields["cache-control"] == FOR_GOOD[1].decode()
                assert again.fields["x-content-type-options"] == "nosniff"
            part = await client.get(asked, "Range: bytes=5-9")
            assert (part.status, part.body) == (206, data[5:10])
            assert (await client.get(asked, 'If-None-Match: "bafk"')).status == 304
            assert (await client.get(asked, method="HEAD")).status == 200
            other = await Client.connect(port)
            assert (await other.get(asked)).fields["x-cache"] == "HIT"
        assert counting.asked == dict.fromkeys(paths, 1)


async def test_many_at_once_are_one_request_for_a_recording(tmp_path: Path) -> None:
    there = trio.Event()
    media = Response(200, (ETAG, FOR_GOOD), (b"m" * 50_000,))

    def slow(request: Request) -> Response | Wait:
        return media if there.is_set() else Wait(there.wait, 10.0, media)

    async with cached({"/archive/r/v/bafk.m4s": slow}, tmp_path) as (counting, port, _):
        clients = [await Client.connect(port) for _ in range(10)]
        for client in clients:
            await client.send_request("/archive/r/v/bafk.m4s")
        await trio.sleep(0.2)
        there.set()
        for client in clients:
            assert (await client.read()).body == b"m" * 50_000
        # Once when it came, and once when the wait was over.
        assert counting.asked["/archive/r/v/bafk.m4s"] == 2


async def test_an_announced_part_reaches_everyone_when_it_exists(tmp_path: Path) -> None:
    there = trio.Event()
    part = Response(200, (ETAG, FOR_GOOD), (b"p" * 1000,))

    def hinted(request: Request) -> Response | Wait:
        return part if there.is_set() else Wait(there.wait, 10.0, part)

    async with cached({"/live/r/v/2.1.m4s": hinted}, tmp_path) as (_, port, _node):
        clients = [await Client.connect(port) for _ in range(5)]
        for client in clients:
            await client.send_request("/live/r/v/2.1.m4s")
        await trio.sleep(0.1)
        there.set()
        arrived = trio.current_time()
        for client in clients:
            assert (await client.read()).body == b"p" * 1000
        # nginx's lock would hold all but one for half a second.
        assert trio.current_time() - arrived < 0.45
        assert (await clients[0].get("/live/r/v/2.1.m4s")).fields["x-cache"] == "HIT"


@pytest.mark.parametrize("age", [b"no-cache", b"public, max-age=1", b"public, max-age=60"])
async def test_playlists_are_never_stale(age: bytes, tmp_path: Path) -> None:
    versions = iter(range(100))

    def playlist(request: Request) -> Response:
        return Response(200, ((b"cache-control", age),), (b"version %d" % next(versions),))

    paths = ("/live/r/v/index.m3u8", "/live/r/index.m3u8", "/archive/r/index.m3u8")
    async with cached(dict.fromkeys(paths, playlist), tmp_path) as (counting, port, _):
        client = await Client.connect(port)
        bodies = [(await client.get(path)).body for path in paths for _ in range(5)]
        assert bodies == [b"version %d" % n for n in range(15)]
        for n in range(15, 20):
            path = "/live/r/v/index.m3u8?_HLS_msn=7&_HLS_part=1"
            assert (await client.get(path)).body == b"version %d" % n
        assert sum(counting.asked.values()) == 20


async def test_blocking_reloads_wait_side_by_side(tmp_path: Path) -> None:
    edge = {"7": trio.Event(), "8": trio.Event()}

    def reload(request: Request) -> Response | Wait:
        msn = request.query.removeprefix("_HLS_msn=")
        ready = Response(200, ((b"cache-control", b"no-cache"),), (msn.encode(),))
        return ready if edge[msn].is_set() else Wait(edge[msn].wait, 10.0, ready)

    async with cached({"/live/r/v/index.m3u8": reload}, tmp_path) as (_, port, _node):
        clients = {msn: [await Client.connect(port) for _ in range(5)] for msn in edge}
        for msn, waiting in clients.items():
            for client in waiting:
                await client.send_request(f"/live/r/v/index.m3u8?_HLS_msn={msn}")
        for msn, waiting in clients.items():
            await trio.sleep(0.05)
            edge[msn].set()
            for client in waiting:
                assert (await client.read(within_s=5)).body == msn.encode()


async def test_gated_answers_are_never_kept(tmp_path: Path) -> None:
    gated = Response(200, (ETAG, NEVER), (b"for one viewer",))
    gone = Response(404, ((b"cache-control", b"no-store"),), (b"not yet",))
    answers = {"/live/r/v/1.m4s": gated, "/archive/r/v/x.m4s": gated, "/ipfs/x": gone}
    async with cached(answers, tmp_path) as (counting, port, _):
        for path in answers:
            for _ in range(3):
                client = await Client.connect(port)
                answer = await client.get(path)
                assert answer.fields["x-cache"] == "MISS"
        assert counting.asked == dict.fromkeys(answers, 3)
        assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


async def test_what_has_a_token_in_its_path_is_passed_through_and_not_written_down(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # not even where the node forgot to say that it may not be kept
    media = Response(200, (ETAG, FOR_GOOD), (b"for one viewer",))
    paths = [f"/{view}/r/t/secret-token/v/1.{end}" for view in ("live", "archive") for end in
             ("m4s", "m3u8", "vtt")]  # fmt: skip
    async with cached(dict.fromkeys(paths, media), tmp_path) as (counting, port, node):
        for path in paths:
            for _ in range(3):
                client = await Client.connect(port)
                answer = await client.get(path)
                assert (answer.body, answer.fields.get("x-cache")) == (b"for one viewer", None)
        assert counting.asked == dict.fromkeys(paths, 3)
        assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
        await node.server.stop_intake()  # a fault, which nginx writes down elsewhere
        client = await Client.connect(port)
        assert (await client.get(paths[0])).status == 502
        client = await Client.connect(port)
        assert (await client.get("/live/r/v/told.m4s")).status == 502
    written = capfd.readouterr().err
    assert "told.m4s" in written
    assert "secret-token" not in written


async def test_what_is_not_there_yet_is_asked_for_again(tmp_path: Path) -> None:
    found: list[Response] = [Response(404, (), (b"not yet",))]
    media = Response(200, (FOR_GOOD,), (b"now",))
    async with cached({"/live/r/v/9.m4s": lambda _: found[-1]}, tmp_path) as (_, port, _node):
        client = await Client.connect(port)
        assert (await client.get("/live/r/v/9.m4s")).status == 404
        found.append(media)
        assert (await client.get("/live/r/v/9.m4s")).body == b"now"


async def test_the_node_sees_who_asks_and_by_which_name(tmp_path: Path) -> None:
    async with cached({"/live/r/index.m3u8": PLAYLIST}, tmp_path) as (counting, port, node):
        client = await Client.connect(port)
        claimed = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
        host = f"Host: localhost:{port}"
        assert (await client.get("/live/r/index.m3u8", host, *claimed)).status == 200
        seen = counting.requests[-1]
        assert (seen.peer, seen.host, seen.scheme) == ("127.0.0.1", f"localhost:{port}", "http")
        assert (await client.get("/live/r/index.m3u8", "Host: evil.example")).status == 421
        assert node.refused("unknown-host") == 1


async def test_metrics_stay_inside(tmp_path: Path) -> None:
    async with cached({}, tmp_path) as (_, port, _node):
        client = await Client.connect(port)
        assert (await client.get("/metrics")).status == 403


def test_nginx_finds_nothing_wrong_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(config_for(tmp_path, 1, "127.0.0.1:1"))
    done = subprocess.run(
        ["nginx", "-t", "-q", "-p", str(tmp_path), "-c", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"},
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr

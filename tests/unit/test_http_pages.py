"""The page at / comes with the package, runs only its own scripts and is not sent twice."""

from __future__ import annotations

import gzip
import hashlib
import re
from importlib import resources
from importlib.resources.abc import Traversable

import pytest

from hausd.http.messages import Request, Response
from hausd.http.pages import Pages

STATIC = resources.files("hausd.http") / "static"


def get(path: str, **headers: str) -> Response | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Pages().find(Request("GET", path, "", named, "1.1", False, "127.0.0.1", "localhost"))


def header(response: Response, name: str) -> str:
    return dict(response.headers).get(name.encode(), b"").decode()


def body(response: Response) -> bytes:
    assert isinstance(response.body, tuple)
    return b"".join(response.body)


def own_scripts() -> list[Traversable]:
    scripts = [entry for entry in STATIC.iterdir() if entry.name.endswith(".js")]
    return [entry for entry in scripts if not entry.name.startswith("hls.")]


def test_every_file_that_the_page_names_is_there() -> None:
    page = get("/")
    assert page is not None
    names = re.findall(r'(?:src|href)="(/static/[^"]+)"', body(page).decode())
    scripts = "".join(entry.read_text() for entry in own_scripts())
    names += re.findall(r'"(/static/[^"]+)"', scripts)
    names += [f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', scripts)]
    assert {"/static/main.js", "/static/player.js", "/static/hls.min.js"} <= set(names)
    for name in names:
        assert get(name) is not None, name


def test_nothing_is_fetched_from_elsewhere_and_no_script_is_inline() -> None:
    page = get("/")
    assert page is not None
    text = body(page).decode()
    assert "http://" not in text
    assert "https://" not in text
    assert not re.findall(r"<script(?![^>]*\bsrc=)", text)
    assert not re.findall(r"\son[a-z]+=|\sstyle=|<style", text)
    policy = header(page, "content-security-policy")
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_titles_are_shown_as_text() -> None:
    for entry in own_scripts():
        source = entry.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", source
        )


def test_the_player_is_the_one_that_the_notice_names() -> None:
    notice = (STATIC / "NOTICE.txt").read_text()
    player = (STATIC / "hls.min.js").read_bytes()
    assert hashlib.sha256(player).hexdigest() in notice
    version = re.search(r"hls\.js ([0-9.]+),", notice)
    assert version is not None
    assert f'"{version[1]}"'.encode() in player
    assert b"Apache License" in (STATIC / "hls.js-LICENSE.txt").read_bytes()


@pytest.mark.parametrize("name", ["/", "/static/hls.min.js", "/static/style.css"])
def test_files_are_compressed_for_who_can_read_that(name: str) -> None:
    plain, small = get(name), get(name, accept_encoding="gzip, br")
    assert plain is not None
    assert small is not None
    assert header(small, "content-encoding") == "gzip"
    assert gzip.decompress(body(small)) == body(plain)
    assert header(plain, "etag") != header(small, "etag")
    assert header(plain, "cache-control") == "no-cache"
    assert header(plain, "vary") == "accept-encoding"


@pytest.mark.parametrize(
    "path",
    ["/static/", "/static/index.html", "/static/../pages.py", "/static/x", "/index.html",
     "/static//main.js", "/static/%2e%2e/pages.py", "/static/../static/main.js"],
)  # fmt: skip
def test_nothing_else_is_served(path: str) -> None:
    assert get(path) is None

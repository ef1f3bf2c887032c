"""The page at ``/``: lists the rooms and plays one. Files shipped with the package, no build."""

from __future__ import annotations

import gzip
import hashlib
from functools import cached_property
from importlib import resources

from hausd.http.messages import Request, Response
from hausd.http.sharing import Headers

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        # Media Source Extensions and hls.js's worker are blobs of the page's own making.
        "media-src 'self' blob:",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_SHARED: Headers = (
    (b"content-security-policy", _POLICY.encode()),
    (b"cache-control", b"no-cache"),
    (b"vary", b"accept-encoding"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class Pages:
    """All of ``hausd/http/static``, read once: ``/`` is its index.html, the rest ``/static/…``."""

    def __init__(self) -> None:
        folder = resources.files("hausd.http") / "static"
        self._files = {
            entry.name: _File(entry.name, entry.read_bytes())
            for entry in folder.iterdir()
            if entry.name.rpartition(".")[2] in _TYPES
        }

    def find(self, request: Request) -> Response | None:
        """The page or file of this path; None where there is none."""
        path = request.path
        name = "index.html" if path == "/" else path.removeprefix("/static/")
        if path != "/" and (name == path or name == "index.html"):
            return None
        found = self._files.get(name)
        if found is None:
            return None
        if "gzip" in request.headers.get("accept-encoding", ""):
            return found.compressed
        return found.plain


class _File:
    def __init__(self, name: str, content: bytes) -> None:
        self._content = content
        self._type = (b"content-type", _TYPES[name.rpartition(".")[2]].encode())
        self._tag = hashlib.blake2b(content, digest_size=12).hexdigest().encode()

    @cached_property
    def plain(self) -> Response:
        headers = (self._type, (b"etag", b'"%s"' % self._tag), *_SHARED)
        return Response(200, headers, (self._content,))

    @cached_property
    def compressed(self) -> Response:
        # Made when first asked for: a node that nobody opens in a browser never pays for it.
        body = gzip.compress(self._content, 6, mtime=0)
        headers = (
            self._type,
            (b"content-encoding", b"gzip"),
            (b"etag", b'"%s-gz"' % self._tag),
            *_SHARED,
        )
        return Response(200, headers, (body,))

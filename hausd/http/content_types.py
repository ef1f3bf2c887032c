"""What stored content may be shown as in a browser.

``/ipfs`` serves what others made from our own origin. So there is a short list of what can't run
anything: playlists, media, captions, raster images. All else is a download, whatever it says it
is. SVG, HTML, XML, PDF and scripts are not on the list on purpose.
"""

from __future__ import annotations

_BY_ENDING = {
    "m3u8": "application/vnd.apple.mpegurl",
    "m4s": "video/mp4",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "m4a": "audio/mp4",
    "ts": "video/mp2t",
    "webm": "video/webm",
    "aac": "audio/aac",
    "mp3": "audio/mpeg",
    "vtt": "text/vtt; charset=utf-8",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
}
_MP4_BOXES = (b"ftyp", b"styp", b"moof", b"sidx", b"emsg", b"prft")
_OTHER = "application/octet-stream"

SNIFFED_BYTES = 16
"""So much of a file's beginning tells what it is."""


def type_of_name(name: str) -> str | None:
    """The inline content type that a name's ending stands for, if any."""
    return _BY_ENDING.get(name.rpartition(".")[2].lower()) if "." in name else None


def type_of_content(first: bytes) -> str | None:
    """The inline content type of nameless content, by how it begins."""
    if first[4:8] in _MP4_BOXES:
        return "video/mp4"
    if first.startswith(b"#EXTM3U"):
        return _BY_ENDING["m3u8"]
    if first.startswith(b"WEBVTT"):
        return _BY_ENDING["vtt"]
    if first.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if first.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "image/webp"
    return None


def presentation(content_type: str | None, download_name: str) -> tuple[tuple[bytes, bytes], ...]:
    """Header fields of stored content; without a type from above it is an attachment."""
    fields = [
        (b"content-type", (content_type or _OTHER).encode()),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
    ]
    if content_type is None:
        kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_"
                       for c in download_name)  # fmt: skip
        fields.append((b"content-disposition", f'attachment; filename="{kept[-120:]}"'.encode()))
    return tuple(fields)

"""Takes secrets out of what is about to be logged: stream keys, tokens, passwords, keys.

It works on values and on the names of fields, so that a careless log line does no harm. It is
the last fence, not a licence to log secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

REDACTED = "[redacted]"
_MAX_DEPTH = 6
_SECRET_NAMES = re.compile(
    r"pass(word|phrase|wd)?|.*(_|^)(secret|token|password|authorization|cookie|credentials)"
    r"|stream_?key|private_?key|api_?key|seed",
    re.IGNORECASE,
)
_HEX_SEED = r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)"
_IN_TEXT = (
    # The stream keys that this node gives out.
    (re.compile(r"\bsk_[A-Za-z0-9_-]+"), f"sk_{REDACTED}"),
    # Playback tokens and the like in queries and forms.
    (
        re.compile(
            r"(?i)\b((?:[a-z_]*token|api[_-]?key|key|password|passwd|pass|secret|signature)=)"
            r"[^&\s\"'<>]+"
        ),
        rf"\1{REDACTED}",
    ),
    # Playback tokens in paths.
    (re.compile(r"/t/[^/\s\"'?#]+"), f"/t/{REDACTED}"),
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization['\"]?\s*[:=]\s*['\"]?)(?:[a-z]+ +)?[^\s'\",]+"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b((?:set-)?cookie['\"]?\s*:\s*['\"]?)[^\r\n'\"]+"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(bearer +)[A-Za-z0-9._~+/=-]+"), rf"\1{REDACTED}"),
    # user:password@ in URLs; without their scheme, whose begin would be sought from every letter.
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), rf"\1{REDACTED}@"),
    (re.compile(_HEX_SEED, re.DOTALL), f"{REDACTED} private key"),
)


_MAY_HOLD_ONE = re.compile(r"sk_|=|/t/|://|-----BEGIN|(?i:authorization|cookie|bearer)")
"""Every pattern above needs one of these: most texts are done after this one look."""


def redacted_text(text: str) -> str:
    """The text without the secrets in it."""
    if _MAY_HOLD_ONE.search(text) is None:
        return text
    for pattern, instead in _IN_TEXT:
        text = pattern.sub(instead, text)
    return text


def redacted(value: object, _depth: int = 0) -> object:
    """A value for the log without the secrets in it; containers are copied, objects written out."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redacted_text(value)
    if _depth >= _MAX_DEPTH:
        return redacted_text(str(value))
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if is_secret_name(str(name)) else redacted(inner, _depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(inner, _depth + 1) for inner in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return redacted_text(bytes(value).decode("utf-8", "backslashreplace"))
    return redacted_text(str(value))


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret, whatever its value."""
    return _SECRET_NAMES.fullmatch(name) is not None

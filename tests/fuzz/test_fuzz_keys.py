"""Whatever is shown as a delegation, or said in /haus/keys/1: read in one way, or refused."""

from __future__ import annotations

from hypothesis import example, given
from support.delegations import DELEGATION, signed
from support.mangle import mangled

from hausd.core.delegation import DelegationError, parse, verify

TEXT, SIGNATURE = signed(DELEGATION)


@given(mangled([TEXT.encode()]))
@example(TEXT.encode().replace(b"hausd wants", b"\xff wants"))
@example(TEXT.encode() + b"\n")
@example(TEXT.encode() * 2)
@example(b"")
def test_any_text_is_the_one_form_or_refused(untrusted: bytes) -> None:
    text = untrusted.decode("utf-8", "surrogateescape")
    try:
        delegation = parse(text)
    except DelegationError:
        return
    assert delegation.text == text
    if text != TEXT:
        try:
            verify(text, SIGNATURE)
        except DelegationError:
            return
        raise AssertionError("nothing else was ever signed")

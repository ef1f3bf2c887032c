"""Announcements from strangers: what the authority signed, or an error; never anything else."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from support.content import KEY, ROOM
from support.mangle import mangled, seeds

from hausd.core.dagcbor import encode
from hausd.wire.announce import AnnounceError, sign, unpack, verify
from hausd.wire.follow import TickChain
from hausd.wire.statements import End, Tick

GOOD = seeds("announce")
NAMES = st.sampled_from([f"hausd/1/{kind}" for kind in ("track", "tick", "head", "end", "x")])


@given(mangled(GOOD))
@example(b"\x83\x60\x40\x40")
@example(encode([b""]))
def test_any_bytes_are_a_signed_statement_or_refused(untrusted: bytes) -> None:
    chain = TickChain()
    try:
        heard = [verify(untrusted, KEY.public, ROOM)]
    except AnnounceError:
        try:
            heard = list(unpack(untrusted, KEY.public, ROOM))
        except AnnounceError:
            return
    for signed in heard:
        assert signed.encoded in GOOD, "nothing else was ever signed"
        if isinstance(signed.statement, (Tick, End)):
            chain.accept(signed)  # type: ignore[arg-type] # narrowed through the field


@given(NAMES, mangled(GOOD))
def test_any_body_that_the_authority_signs_is_read_in_one_way_or_refused(
    name: str, said: bytes
) -> None:
    signature = KEY.sign(name.encode() + b"\0" + said)
    try:
        signed = verify(encode([name, said, signature]), KEY.public, ROOM)
    except AnnounceError:
        return
    assert sign(signed.statement, KEY) == signed

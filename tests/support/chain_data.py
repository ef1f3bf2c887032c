"""Accounts of the programs as the chain would hold them, made with the IDLs' own codec."""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey

from hausd.core.cid import CID, Codec
from hausd.core.programs.accounts import Programs
from hausd.core.programs.idl import idl

PROGRAMS = Programs(
    Pubkey(b"\x01" * 32),
    Pubkey(b"\x02" * 32),
    Pubkey(b"\x03" * 32),
)
ARTIST = Pubkey(b"\x0a" * 32)
TIPPER = Pubkey(b"\x0b" * 32)
EVENT = Pubkey(b"\x0e" * 32)
MANIFEST = CID.of(b"a manifest", Codec.DAG_CBOR)


def raw_account(program: str, name: str, **fields: Any) -> bytes:
    """An account's bytes; fields that are not given are zero."""
    form = idl(program).accounts[name]
    size = form.size - 8
    from hausd.core.programs.borsh import Reader

    whole = form.fields.read(Reader(bytes(size))) | {"version": 1} | fields
    return form.discriminator + form.fields.write(whole)


def raw_event(**fields: Any) -> bytes:
    """An open event of ARTIST's."""
    return raw_account(
        "event_factory",
        "Event",
        **{
            "status": 1,
            "artist": ARTIST,
            "metadata": bytes(MANIFEST),
            "title": "Grüße".encode().ljust(64, b"\0"),
        }
        | fields,
    )

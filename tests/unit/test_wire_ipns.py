"""IPNS records: what a key signed is believed of its name alone, and the newest counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hosts import seed_of

from hausd.core.dagcbor import encode as cbor
from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, peer_id_of
from hausd.wire import ipns
from hausd.wire import libp2p_pb2 as pb
from hausd.wire.ipns import IpnsFault

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/dht.json").read_text())
KEY, OTHER = SigningKey(seed_of("name")), SigningKey(seed_of("other"))
NAME = peer_id_of(KEY.public)
UNTIL_NS = 4_000_000_000 * 10**9 + 5


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.integers(0, 2**64 - 1),
    st.integers(0, 4_000_000_000_000_000_000),
)
def test_a_record_is_read_as_it_was_signed(path: str, sequence: int, until_ns: int) -> None:
    made = ipns.sign(KEY, path, sequence, until_ns)
    assert (made.path, made.sequence, made.valid_until_ns) == (path, sequence, until_ns)
    if until_ns:
        assert ipns.verify(made.encoded, NAME, until_ns - 1) == made
    with pytest.raises(IpnsFault, match="over"):
        ipns.verify(made.encoded, NAME, until_ns)
    with pytest.raises(IpnsFault, match="signature"):
        ipns.verify(made.encoded, peer_id_of(OTHER.public))


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_what_kubo_signed_is_believed(kind: str) -> None:
    name, raw = PeerId(VECTORS[kind]["name"]), bytes.fromhex(VECTORS[kind]["record"])
    record = ipns.verify(raw, name, UNTIL_NS)
    assert (record.path, record.sequence, record.encoded) == (VECTORS["path"], 0, raw)
    for at in range(0, len(raw), 7):
        forged = raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]
        try:
            assert ipns.verify(forged, name).path == VECTORS["path"]
        except IpnsFault:
            continue


def test_the_newest_counts_then_the_one_that_lasts() -> None:
    made = [
        ipns.sign(KEY, path, sequence, UNTIL_NS + later)
        for path, sequence, later in (("/a", 2, 0), ("/c", 1, 9), ("/b", 2, 1))
    ]
    assert [one.path for one in sorted(made)] == ["/c", "/a", "/b"]


def _forged(**changes: object) -> bytes:
    packed = pb.IpnsRecord.FromString(ipns.sign(KEY, "/ipfs/x", 1, UNTIL_NS).encoded)
    for field, value in changes.items():
        setattr(packed, field, value)
    return packed.SerializeToString()


def _signed(document: object) -> bytes:
    data = cbor(document)
    signature = KEY.sign(b"ipns-signature:" + data)
    return pb.IpnsRecord(data=data, signature_v2=signature).SerializeToString()


GOOD = {
    "Value": b"/ipfs/x",
    "Validity": b"2096-10-02T07:06:40Z",
    "ValidityType": 0,
    "Sequence": 1,
    "TTL": 0,
}


@pytest.mark.parametrize(
    ("untrusted", "why"),
    [
        (_forged(value=b"/ipfs/y"), "different"),
        (_forged(sequence=2), "different"),
        (_forged(validity=b"2099-01-01T00:00:00Z"), "different"),
        (_forged(ttl=1), "different"),
        (_forged(data=b"\xa0"), "signature"),
        (_forged(signature_v2=b""), "version 2"),
        (_forged(signature_v2=b"short"), "signature"),
        (_forged(public_key=bytes(20_000)), "at most"),
        (b"\xff", "no record"),
        (_signed({**GOOD, "ValidityType": 1}), "kind"),
        (_signed({**GOOD, "Sequence": -1}), "lacks"),
        (_signed({**GOOD, "Validity": b"tomorrow"}), "no time"),
        (_signed({**GOOD, "Validity": b"2026-13-01T00:00:00Z"}), "no time"),
        (_signed({**GOOD, "Value": b"\xff"}), "no text"),
        (_signed({**GOOD, "Value": bytes(2000)}), "at most"),
        (_signed([]), "lacks"),
    ],
)
def test_what_is_forged_or_broken_is_refused(untrusted: bytes, why: str) -> None:
    with pytest.raises(IpnsFault, match=why):
        ipns.verify(untrusted, NAME)


def test_further_fields_are_the_owners_own_business() -> None:
    assert ipns.verify(_signed({**GOOD, "Note": b"x"}), NAME).path == "/ipfs/x"

"""IPNS records: where a name points, signed by the key that the name is of.

Source: https://specs.ipfs.tech/ipns/ipns-record/. What counts is the DAG-CBOR document ``data``
and the signature over it (V2). The fields beside it (V1) are written for old readers, and have to
say the same where they are there at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.message import DecodeError

from hausd.core.dagcbor import DagCborError
from hausd.core.dagcbor import decode as decode_cbor
from hausd.core.dagcbor import encode as encode_cbor
from hausd.core.forms import is_uint
from hausd.core.keys import SigningKey
from hausd.core.peers import PeerId, key_of, peer_id_of
from hausd.wire import libp2p_pb2 as pb
from hausd.wire import peer_keys

MAX_RECORD_BYTES = 10 * 1024
MAX_PATH_BYTES = 1024
TTL_NS = 300 * 10**9
"""How long who resolved a name may keep that: 5 minutes, as Kubo writes it."""

_V2_PREFIX = b"ipns-signature:"
_END_OF_LIFE = 0
_NS = 10**9
_MOST = 2**64 - 1
_TIME = re.compile(rb"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z")


class IpnsFault(ValueError):
    """The bytes are no record that stands under this name; ``args[0]`` says why."""


@dataclass(frozen=True, slots=True, order=True)
class IpnsRecord:
    """A record whose signature was checked. Of two of one name the greater counts.

    ``valid_until_ns`` are nanoseconds since 1970-01-01 UTC. ``path`` is as it was signed, which
    may be anything of the name's owner: ``/ipfs/CID`` as a rule.
    """

    sequence: int
    valid_until_ns: int
    encoded: bytes
    path: str = field(compare=False)


def sign(key: SigningKey, path: str, sequence: int, valid_until_ns: int) -> IpnsRecord:
    """A record for the name of this key."""
    value = path.encode()
    validity = _time_text(valid_until_ns)
    data = encode_cbor(
        {
            "Value": value,
            "Validity": validity,
            "ValidityType": _END_OF_LIFE,
            "Sequence": sequence,
            "TTL": TTL_NS,
        }
    )
    encoded = pb.IpnsRecord(
        value=value,
        signature_v1=key.sign(value + validity + b"EOL"),
        validity_type=_END_OF_LIFE,
        validity=validity,
        sequence=sequence,
        ttl=TTL_NS,
        signature_v2=key.sign(_V2_PREFIX + data),
        data=data,
    ).SerializeToString()
    return verify(encoded, peer_id_of(key.public))


def verify(untrusted: bytes, name: PeerId, now_ns: int | None = None) -> IpnsRecord:
    """The one door for records: checks size, signature, form and validity at this time.

    Raises IpnsFault. Without ``now_ns`` a record that is over is taken as well.
    """
    if len(untrusted) > MAX_RECORD_BYTES:
        raise IpnsFault(f"a record has at most {MAX_RECORD_BYTES} bytes")
    try:
        packed = pb.IpnsRecord.FromString(untrusted)
    except DecodeError:
        raise IpnsFault("it is no record") from None
    if not packed.data or not packed.signature_v2:
        raise IpnsFault("it has no signature of version 2")
    if not _signed_by(name, packed):
        raise IpnsFault("the signature is not the name's")
    record = _read(packed, untrusted)
    if now_ns is not None and record.valid_until_ns <= now_ns:
        raise IpnsFault("its time is over")
    return record


def _signed_by(name: PeerId, packed: pb.IpnsRecord) -> bool:
    signed = _V2_PREFIX + packed.data
    inline = key_of(name)
    if inline is not None:
        return inline.verifies(packed.signature_v2, signed)
    try:
        key = peer_keys.decode(packed.public_key)
    except peer_keys.PeerKeyFault:
        return False
    return key.peer == name and key.verifies(packed.signature_v2, signed)


def _read(packed: pb.IpnsRecord, encoded: bytes) -> IpnsRecord:
    try:
        match decode_cbor(packed.data, MAX_RECORD_BYTES):
            case {
                "Value": bytes(value),
                "Validity": bytes(validity),
                "ValidityType": int(kind),
                "Sequence": sequence,
                "TTL": ttl,
            } if is_uint(sequence, most=_MOST) and is_uint(ttl, most=_MOST):
                pass
            case _:
                raise IpnsFault("its document lacks a field, or one is of another kind")
    except DagCborError as fault:
        raise IpnsFault(str(fault)) from None
    if kind != _END_OF_LIFE:
        raise IpnsFault("it has a validity of a kind that is not known")
    old = (packed.value, packed.validity, packed.validity_type, packed.sequence, packed.ttl)
    if (packed.signature_v1 or packed.value) and old != (value, validity, kind, sequence, ttl):
        raise IpnsFault("its two versions say different things")
    if len(value) > MAX_PATH_BYTES:
        raise IpnsFault(f"a path has at most {MAX_PATH_BYTES} bytes")
    try:
        path = value.decode()
    except UnicodeDecodeError:
        raise IpnsFault("its path is no text") from None
    return IpnsRecord(sequence, _time_ns(validity), encoded, path)


def _time_text(ns: int) -> bytes:
    second = datetime.fromtimestamp(ns // _NS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{second}.{ns % _NS:09}Z".encode()


def _time_ns(untrusted: bytes) -> int:
    """Source: RFC 3339 in UTC, up to nanoseconds."""
    found = _TIME.fullmatch(untrusted)
    try:
        if found is None:
            raise ValueError
        second = datetime.fromisoformat(found[1].decode()).replace(tzinfo=UTC)
    except ValueError:
        raise IpnsFault("its validity is no time in UTC") from None
    seconds = int((second - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return seconds * _NS + int((found[2] or b"").ljust(9, b"0"))

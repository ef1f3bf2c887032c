"""Where an open room's IPNS name points, and when that is signed anew.

It points to the room's newest finished directory; until there is one, to the newest manifest, but
not to a new one more often than every CHECKPOINT_NS. A name that has pointed to something playable
goes on doing so while the room is live again.
"""

from __future__ import annotations

from hausd.core.keys import SigningKey
from hausd.core.peers import peer_id_of
from hausd.rooms.records import RoomRecord
from hausd.wire import ipns
from hausd.wire.ipns import IpnsFault, IpnsRecord

LIFETIME_NS = 48 * 3600 * 10**9
"""As Kubo has it: nodes of the DHT keep a record no longer either."""
CHECKPOINT_NS = 600 * 10**9


def newest(record: RoomRecord) -> IpnsRecord | None:
    """The newest record that was signed for the room's name."""
    try:
        return ipns.verify(record.name, peer_id_of(SigningKey(record.seed).public))
    except IpnsFault:
        return None


def renewed(record: RoomRecord, now_ns: int) -> IpnsRecord | None:
    """A record to take the newest one's place; None where that is good still, or nothing is there
    to point to. The sequence grows with what it points to, and only then."""
    target = record.directory or record.manifest
    if not target:
        return None
    path, last = f"/ipfs/{target}", newest(record)
    sequence = 1
    if last is not None:
        left_ns = last.valid_until_ns - now_ns
        age_ns = LIFETIME_NS - left_ns
        if last.path == path and LIFETIME_NS // 2 < left_ns <= LIFETIME_NS:
            return None
        if last.path != path and not record.directory and 0 <= age_ns < CHECKPOINT_NS:
            return None
        sequence = last.sequence + (last.path != path)
    return ipns.sign(SigningKey(record.seed), path, sequence, now_ns + LIFETIME_NS)

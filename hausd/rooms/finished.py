"""A finished room's directory, made of nothing but what its authority signed.

The newest head names the manifest, which has every segment with its init, time and length, the
poster, and in a gated room the keys that are for everybody. So every node that has the whole
recording makes the same directory, byte for byte, whatever its configuration and however it came by
the recording. What is missing here is left out, and said.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hausd.core.cid import CID
from hausd.core.ids import RoomId
from hausd.core.keys import SigningKey
from hausd.core.manifest import SegmentRecord, read_root, records
from hausd.core.pictures import PicturesError, decode_pictures
from hausd.core.unixfs import Getter
from hausd.rooms.archive import Archive, target_s
from hausd.rooms.export import Exported, export_directory
from hausd.rooms.records import Role, RoomRecord, authority_of
from hausd.wire.announce import AnnounceError, verify
from hausd.wire.statements import Head

_POSTER = "poster.jpg"
_README, _KEYS = "README.txt", "free-keys.cbor"
_OPENED = """\
What lies here is encrypted. Of some of it, or all, the keys are for everybody: {keys}.
A hausd node opens it, without a ticket:

    hausctl rooms follow {room}
    hausctl rooms export {room} --output recording.mp4

How it is sealed, and what the keys' file says (DAG-CBOR): hausd/wire/leafseal.py and schema.cddl.
"""


@dataclass(frozen=True, slots=True)
class Finished:
    """``whole``: nothing that was signed is missing, so that every node makes the same of it."""

    exported: Exported
    whole: bool


def newest_head(record: RoomRecord) -> Head | None:
    """The newest head whose manifest is here; None where there is none. Raises Problem."""
    origin = record.role is Role.ORIGIN
    signed = record.head if origin else record.read_head or record.head
    if not signed:
        return None
    authority = SigningKey(record.seed).public if origin else authority_of(record)
    try:
        found = verify(signed, authority, RoomId(record.id)).statement
    except AnnounceError:
        return None
    return found if isinstance(found, Head) else None


async def finished_directory(
    head: Head, get: Getter, here: Callable[[SegmentRecord], bool]
) -> Finished:
    """The directory of what a head names; ``here`` says which segments there are.

    Raises ManifestError or BlockMissing where the manifest is not here, ValueError where nothing
    is, and what ``export_directory`` raises.
    """
    named = await _named(head.manifest, get)
    found = [record for record in named if here(record)]
    poster, depicted = await _poster(head, get)
    keys, told = await _free_keys(head, get)
    longest_ms = max((record.segment.duration_ms for record in found), default=0)
    archive = Archive(target_s=target_s(longest_ms))
    for record in found:
        archive.add(record.rendition, record.segment)
    shown = [
        (variant, playlist)
        for variant in archive.variants()
        if (playlist := archive.playlist(variant.rendition.name)) is not None
    ]
    exported = await export_directory(shown, get, poster | keys)
    return Finished(exported, whole=depicted and told and len(found) == len(named))


async def _named(manifest: CID, get: Getter) -> list[SegmentRecord]:
    """Every record of a manifest, in one order for all."""
    root = await read_root(manifest, get)
    found = [record for name in root.trees async for record in records(manifest, get, name)]
    return sorted(found, key=lambda record: (record.segment.number, record.rendition.name))


async def _free_keys(head: Head, get: Getter) -> tuple[dict[str, bytes], bool]:
    """How what is free is opened, in words and by its keys as files; and whether they are here."""
    if head.free is None:
        return {}, True
    keys = await get(head.free)
    if keys is None:
        return {}, False
    words = _OPENED.format(keys=_KEYS, room=head.room)
    return {_README: words.encode(), _KEYS: keys}, True


async def _poster(head: Head, get: Getter) -> tuple[dict[str, bytes], bool]:
    """The poster as a file, and whether the head's pictures are here."""
    if head.pictures is None:
        return {}, True
    node = await get(head.pictures)
    if node is None:
        return {}, False
    try:
        pictures = decode_pictures(node)
    except PicturesError:
        return {}, True  # signed, and none: nobody can make more of it
    if pictures.room != head.room or pictures.poster is None:
        return {}, True
    if pictures.poster.seal is not None:
        return {}, True  # no picture for who has no key
    jpeg = await get(pictures.poster.cid)
    return ({_POSTER: jpeg}, True) if jpeg is not None else ({}, False)

"""The finished room as one UnixFS directory, playable from any IPFS gateway.

::

    index.m3u8                    the renditions
    <rendition>/index.m3u8        its segments, VOD
    <rendition>/init-0.mp4 …      inits, in the order of their first use
    <rendition>/000123.m4s …      segments, by their number in the room; or
    <rendition>/0001/000123.m4s   by hundreds, where there are more than FLAT_SEGMENTS

Segments and inits are the blocks that are stored already, linked to; only playlists and directory
nodes are new. The same recording gives the same CID on every node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hausd.core import unixfs
from hausd.core.cid import CID, Codec
from hausd.core.live import ArchivePlaylist, ArchiveSegment, Variant
from hausd.core.unixfs import Block, Child, Getter
from hausd.wire.hls import multivariant_playlist
from hausd.wire.hls_archive import archive_media_playlist

FLAT_SEGMENTS = 1000
"""Up to this many segments stand in a rendition's folder themselves. A directory is one block,
and gateways list it whole."""
_GROUP = 100
_PLAYLIST = "index.m3u8"


@dataclass(frozen=True, slots=True)
class Exported:
    """A room's directory. ``size`` is that of all blocks below it, in bytes.

    ``blocks`` are the new ones (a few MB for 12 h), to be stored; the root is the last.
    """

    root: CID
    size: int
    blocks: tuple[Block, ...]


async def export_directory(
    recorded: Sequence[tuple[Variant, ArchivePlaylist]],
    get: Getter,
    files: Mapping[str, bytes] | None = None,
) -> Exported:
    """The directory of these renditions; videos from best to least, then audio.

    ``files`` are further small files by name (a poster). Reads the top node of every segment.
    Raises ValueError where nothing is recorded or the store's segments are not what the playlist
    says, BlockMissing where one is not at hand.
    """
    shown = [(variant, playlist) for variant, playlist in recorded if playlist.segments]
    if not shown:
        raise ValueError("nothing of this room is recorded, so there is nothing to export")
    made = _Directories()
    entries = {name: made.file(content) for name, content in (files or {}).items()}
    for _, playlist in shown:
        entries[playlist.rendition.name] = await _rendition(playlist, get, made)
    text = multivariant_playlist([variant for variant, _ in shown])
    entries[_PLAYLIST] = made.file(text.encode())
    root = made.directory(entries)
    return Exported(root.cid, root.tsize, tuple(made.blocks))


@dataclass(slots=True)
class _Directories:
    """Collects the blocks of what is made."""

    blocks: list[Block] = field(default_factory=list)

    def file(self, content: bytes) -> Child:
        child, blocks = unixfs.file_of(content)
        self.blocks.extend(blocks)
        return child

    def directory(self, entries: Mapping[str, Child]) -> Child:
        made = unixfs.directory(entries)
        self.blocks.extend(made.blocks)
        return made.child


async def _rendition(playlist: ArchivePlaylist, get: Getter, made: _Directories) -> Child:
    flat = len(playlist.segments) <= FLAT_SEGMENTS
    inits: dict[CID, str] = {}
    entries: dict[str, Child] = {}
    groups: dict[str, dict[str, Child]] = {}
    for segment in playlist.segments:
        if segment.init not in inits:
            inits[segment.init] = f"init-{len(inits)}.mp4"
            entries[inits[segment.init]] = await unixfs.child_of(segment.init, get)
        group, name = _place(segment)
        (entries if flat else groups.setdefault(group, {}))[name] = await _segment(segment, get)
    for group, members in groups.items():
        entries[group] = made.directory(members)

    def uri(segment: ArchiveSegment) -> str:
        group, name = _place(segment)
        return name if flat else f"{group}/{name}"

    finished = replace(playlist, ended=True)
    text = archive_media_playlist(finished, uri, lambda init: inits[init])
    entries[_PLAYLIST] = made.file(text.encode())
    return made.directory(entries)


def _place(segment: ArchiveSegment) -> tuple[str, str]:
    """The folder of a segment where there are folders, and its name."""
    return f"{segment.number // _GROUP:04}", f"{segment.number:06}.m4s"


async def _segment(segment: ArchiveSegment, get: Getter) -> Child:
    if segment.cid.codec is Codec.RAW:
        return unixfs.raw_child(segment.cid, segment.size)
    child = await unixfs.child_of(segment.cid, get)
    if child.size != segment.size:
        raise ValueError(
            f"segment {segment.number} has {child.size} bytes, its playlist says {segment.size}"
        )
    return child

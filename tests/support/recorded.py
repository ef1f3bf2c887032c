"""A recorded room made of nothing but bytes: segments over GOPs over leaves, with playlists."""

from __future__ import annotations

from dataclasses import dataclass, field

from support.content import AUDIO, NOW_MS, VIDEO, BlockBox, content

from hausd.core import unixfs
from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.live import ArchivePlaylist, ArchiveSegment, Variant
from hausd.core.media import LEAF_BYTES, Rendition


@dataclass
class Recorded:
    """``bytes_of`` gives the content of every segment and init by its CID."""

    box: BlockBox = field(default_factory=BlockBox)
    bytes_of: dict[CID, bytes] = field(default_factory=dict)
    tracks: list[tuple[Variant, ArchivePlaylist]] = field(default_factory=list)


def add_segment(room: Recorded, number: int, size: int, gops: int) -> unixfs.Child:
    """Cuts some bytes as a segment is cut: ``gops`` GOPs of ``size`` bytes."""
    made = []
    whole = b""
    for gop in range(gops):
        data = (b"%d.%d" % (number, gop) + content(number * 3 + gop, size))[:size]
        whole += data
        leaves = []
        for at in range(0, size, LEAF_BYTES):
            leaf = data[at : at + LEAF_BYTES]
            room.box.blocks[CID.of(leaf)] = leaf
            leaves.append(unixfs.raw_child(CID.of(leaf), len(leaf)))
        node = unixfs.file_over(leaves)
        room.box.blocks.update(node.blocks)
        made.append(node.child)
    segment = unixfs.file_over(made)
    room.box.blocks.update(segment.blocks)
    room.bytes_of[segment.cid] = whole
    return segment.child


def add_init(room: Recorded, number: int) -> CID:
    init = b"init %d" % number + content(number, 800)
    room.box.blocks[CID.of(init)] = init
    room.bytes_of[CID.of(init)] = init
    return CID.of(init)


def recorded_room(
    segments: int = 6, *, size: int = 150_000, first: int = 3, runs: int = 2
) -> Recorded:
    """A room of one video and one audio rendition. The video's segments are files over GOPs of
    two leaves, the audio's are one leaf each."""
    room = Recorded()
    for rendition, gops, each in ((VIDEO, 3, size), (AUDIO, 1, 900)):
        listed = []
        for at in range(segments):
            number, run = first + at, at * runs // segments
            child = add_segment(room, number + len(rendition.name) * 1000, each, gops)
            init = add_init(room, run + len(rendition.name) * 10)
            listed.append(_listed(number, run, child, init, 9_990 + gops))
        room.tracks.append(_track(rendition, listed))
    return room


def _listed(
    number: int, run: int, child: unixfs.Child, init: CID, duration_ms: int
) -> ArchiveSegment:
    return ArchiveSegment(
        number=number,
        session=SessionId(run + 1, 7),
        run=run,
        program_time_ms=NOW_MS + number * 10_000,
        duration_ms=duration_ms,
        cid=child.cid,
        size=child.size,
        init=init,
    )


def _track(rendition: Rendition, listed: list[ArchiveSegment]) -> tuple[Variant, ArchivePlaylist]:
    average = sum(one.size for one in listed) * 8000 // sum(one.duration_ms for one in listed)
    playlist = ArchivePlaylist(rendition, 10, tuple(listed), ended=False, version=1)
    return Variant(rendition, average, average), playlist

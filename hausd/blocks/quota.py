"""What the store may take of the disk, and the words for when it may not."""

from __future__ import annotations

from dataclasses import dataclass

GB = 10**9


SMALL_BYTES = 256 * 1024 * 1024
"""A room of 12 h with four renditions has 44 MB of manifest nodes (64,900 blocks, measured) and at
most 45 MB of storyboard; one with sixteen renditions has 176 MB and 45 MB."""
_SMALL_PART, _MOST_SMALL_PART = 20, 4


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Hard limits. Bytes are counted in whole disk blocks of 4 KiB, as ``du`` does.

    ``quota_bytes`` and ``quota_files`` bound what the store holds, its index included.
    ``reserve_bytes`` is left free on the disk whoever fills it. ``sync_s``: so much of the last
    writes a power cut may cost; 0 syncs at every write. ``live_segments``: as many of a running
    room's newest segments are never evicted, since the live edge still shows them.
    """

    quota_bytes: int = 20 * GB
    quota_files: int = 200_000
    reserve_bytes: int = GB
    sync_s: float = 5.0
    live_segments: int = 6


def small_bytes(limits: StoreLimits) -> int:
    """What the small blocks of one room of another node's may take.

    They stay as long as their room, so that they could fill the store with what is never evicted.
    """
    quota = limits.quota_bytes
    return max(quota // _SMALL_PART, min(quota // _MOST_SMALL_PART, SMALL_BYTES))


def shortfall(used: int, need: int, limit: int) -> int:
    """How much must go before ``need`` more fits."""
    return max(0, used + need - limit)


def over_quota(limits: StoreLimits, used_bytes: int, used_files: int) -> str:
    """Why nothing more is recorded, and what would help."""
    return (
        f"quota: the store holds {size_text(used_bytes)} of {size_text(limits.quota_bytes)} in "
        f"{used_files} of {limits.quota_files} files, and all of it is pinned or in use. Raise "
        "store.quota or store.quota_files, or unpin something (hausctl pins remove)"
    )


def over_small(room: str, most_bytes: int) -> str:
    """Why nothing more of a room is recorded, and what would help."""
    return (
        f"room {room} has {size_text(most_bytes)} of small blocks (indexes, images), more than a "
        "recording of another node's needs. Pin the room to record it all the same (hausctl pins "
        f"add {room}), or raise store.quota"
    )


def below_reserve(limits: StoreLimits, free_bytes: int, path: str) -> str:
    """Why nothing more is recorded, and what would help."""
    return (
        f"free space: {size_text(free_bytes)} are left on the disk of {path}, and "
        f"{size_text(limits.reserve_bytes)} have to stay free. Free some space, or lower "
        "store.reserve_free"
    )


def size_text(size: int) -> str:
    """Bytes as people read them."""
    for unit, name in ((10**12, "TB"), (GB, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"

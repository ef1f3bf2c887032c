"""Delivery directives: what a player asks of a live playlist in its query (RFC 8216bis, 6.2.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from hausd.core.live import LivePlaylist

_NUMBER = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class Directives:
    """``_HLS_msn``, ``_HLS_part`` and ``_HLS_skip``; a part only ever comes with an msn."""

    msn: int | None = None
    part: int | None = None
    skip: bool = False


@dataclass(frozen=True, slots=True)
class BadDirectives:
    """Why a query is answered with 400."""

    message: str


@lru_cache(maxsize=1024)  # at the live edge everyone sends the same few
def parse_directives(untrusted_query: str) -> Directives | BadDirectives:
    """Reads a raw query. Other parameters are not ours and pass."""
    found: dict[str, str] = {}
    for item in untrusted_query.split("&"):
        name, _, value = item.partition("=")
        if name in ("_HLS_msn", "_HLS_part", "_HLS_skip"):
            if name in found:
                return BadDirectives(f"{name} is given twice")
            found[name] = value
    numbers: dict[str, int] = {}
    for name in ("_HLS_msn", "_HLS_part"):
        if name in found:
            if not _NUMBER.fullmatch(found[name]):
                return BadDirectives(f"{name} is not a number")
            numbers[name] = int(found[name])
    if "_HLS_part" in numbers and "_HLS_msn" not in numbers:
        return BadDirectives("_HLS_part needs _HLS_msn")
    return Directives(
        numbers.get("_HLS_msn"),
        numbers.get("_HLS_part"),
        found.get("_HLS_skip") in ("YES", "v2"),
    )


def is_reached(playlist: LivePlaylist, msn: int, part: int | None) -> bool:
    """Whether the playlist holds what was asked for, or something later (6.2.5.2).

    A part beyond the last one of its segment means the first part of the segment after it.
    """
    if playlist.ended:
        return True
    edge_msn, edge_part = playlist.edge()
    if part is None or edge_msn > msn + 1:
        return edge_msn > msn
    if edge_msn == msn:
        return edge_part > part
    if edge_msn < msn:
        return False
    found = next((one for one in reversed(playlist.segments) if one.msn == msn), None)
    return found is None or part < len(found.parts) or edge_part > 0


def is_too_far(playlist: LivePlaylist, msn: int, part: int | None) -> bool:
    """Whether nobody who knows the playlist would ask for this yet (6.2.5.2)."""
    if playlist.ended:
        return False
    edge_msn, edge_part = playlist.edge()
    if msn > edge_msn + 1:
        return True
    if part is None or msn != edge_msn:
        return False
    target_ms = playlist.part_target_ms
    advance = 3 if target_ms >= 1000 else -(-3000 // max(target_ms, 1))
    return part > edge_part - 1 + advance

"""A validator of HLS as a viewer gets it: RFC 8216bis and section 4 of the design.

Text: ``check_live``, ``check_archive``, ``check_multivariant``, ``check_media`` give what they
read and a list of ``Finding``; ``Series`` compares reloads; ``merge_delta`` applies delta updates;
``check_alignment`` compares renditions. Bytes: ``read_init``, ``read_fragments``,
``check_media_bytes``. Over HTTP: ``watch(url, seconds)`` and ``inspect_archive(url)``; their
result's ``require()`` raises with everything that was found.

Nothing here uses the code that it checks. Run as a program it watches a URL:
``python -m support.hls_validator URL [seconds]`` (from the tests' folder).
"""

from __future__ import annotations

import sys
from functools import partial

import trio
from support.hls_boxes import BadBytes, Fragment, Init, read_fragments, read_init, same_codec
from support.hls_grammar import (
    Finding,
    MediaPlaylist,
    Multivariant,
    Part,
    Segment,
    Stream,
    read_media,
    read_multivariant,
)
from support.hls_rules import check_archive, check_live, check_media, check_multivariant
from support.hls_series import Series, check_alignment, difference, merge_delta
from support.hls_watch import Track, Watched, check_media_bytes, inspect_archive, peak_bps, watch

__all__ = [
    "BadBytes",
    "Finding",
    "Fragment",
    "Init",
    "MediaPlaylist",
    "Multivariant",
    "Part",
    "Segment",
    "Series",
    "Stream",
    "Track",
    "Watched",
    "check_alignment",
    "check_archive",
    "check_live",
    "check_media",
    "check_media_bytes",
    "check_multivariant",
    "difference",
    "inspect_archive",
    "merge_delta",
    "peak_bps",
    "read_fragments",
    "read_init",
    "read_media",
    "read_multivariant",
    "same_codec",
    "watch",
]


def _main(arguments: list[str]) -> int:
    url = arguments[0]
    seconds = float(arguments[1]) if len(arguments) > 1 else 10.0
    if "/archive/" in url:
        found = trio.run(inspect_archive, url)
    else:
        found = trio.run(partial(watch, url, seconds))
    for finding in found.findings:
        print(finding)
    for uri, track in found.tracks.items():
        print(f"{uri}: {track.reloads} reloads, {len(track.fragments)} segments, "
              f"{len(track.parts)} parts, peak {peak_bps(track):.0f} bit/s")  # fmt: skip
    print(f"{len(found.findings)} findings")
    return 1 if found.findings else 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))

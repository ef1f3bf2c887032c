"""What is opened of a gated recording for a film of it is on disk for a moment, and nobody's."""

from __future__ import annotations

import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.content import leaf

from hausd.core.live import Media, Sealed
from hausd.core.media import Kind
from hausd.filming import _Opening

READ = "import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())"


def a_room(*pieces: bytes) -> Any:
    async def opened() -> tuple[bytes, ...]:
        return pieces

    media = Media(leaf(1), "video/mp4", 9, Sealed(opened))
    return SimpleNamespace(archive_media=lambda name, cid: media)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a way to files without a name")
async def test_what_is_opened_has_no_name_so_that_nothing_is_left_of_a_killed_node(
    tmp_path: Path,
) -> None:
    draft = tmp_path / ".film.mp4.clear"
    draft.write_bytes(b"of an earlier version that was killed")
    opening = _Opening(a_room(b"clear ", b"media"), draft, lambda done, total, what: None)
    playlist = cast(Any, SimpleNamespace(rendition=SimpleNamespace(name="source", kind=Kind.VIDEO)))
    async with aclosing(opening):
        for at in (0, 11):
            place = await opening.place(playlist, leaf(1))
            assert (place.offset, place.length) == (at, 11)
            assert list(tmp_path.iterdir()) == []
        other = [sys.executable, "-c", READ, place.path]
        assert subprocess.run(other, capture_output=True, check=True).stdout == 2 * b"clear media"

"""What the journal was told is on disk before it is not brought there again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hausd.blocks.journal import Journal, Replay


def test_only_what_was_told_since_is_brought_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "journal")
    one = Journal.resume(path, Replay())
    assert one.synced
    one.write_created("first.pack")
    assert not one.synced

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="Input/output"):
            one.sync()
    assert not one.synced, "it is still to be done"
    one.sync()
    assert one.synced
    one.rewrite({}, {}, ["first.pack"])
    assert one.synced
    one.close()

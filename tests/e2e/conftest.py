"""What whole nodes are fed with; made once a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.publish import make


@pytest.fixture(scope="session")
def looped_h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 s of 320x180 H.264 at 30 fps with a keyframe every 2 s, AAC at 48 kHz; loops well."""
    return make(tmp_path_factory.mktemp("media") / "loop.mp4", "-tune", "zerolatency", seconds=24)

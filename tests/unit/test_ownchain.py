"""Where a node's own chain listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from hausd.config import Config
from hausd.core.clock import SystemClock
from hausd.ownchain import OwnChainFailed, open_own_chain


async def test_the_last_port_leaves_none_for_the_websocket_and_that_is_said(tmp_path: Path) -> None:
    config = Config.model_validate({"chain": {"listen": "127.0.0.1:65535"}})
    with pytest.raises(OwnChainFailed, match="no port is left for its WebSocket"):
        async with open_own_chain(config, tmp_path, SystemClock()):
            pass

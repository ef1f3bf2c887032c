"""The node's own chain, from its first start on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hausd.config import Config
from hausd.core.clock import SystemClock
from hausd.ownchain import OwnChainFailed, open_own_chain

CONFIG = Config.model_validate({"chain": {"listen": "127.0.0.1:0"}})


class Killed(BaseException):
    """The process is no more."""


async def begin(home: Path) -> None:
    async with open_own_chain(CONFIG, home, SystemClock()) as own:
        assert own is not None


async def test_a_kill_while_the_authority_is_made_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    for call in ("fdopen", "fsync"):
        with monkeypatch.context() as patched:
            patched.setattr(os, call, killed)
            with pytest.raises(Killed):
                await begin(tmp_path)
    await begin(tmp_path)
    authority = tmp_path / "chain" / "authority.json"
    kept = authority.read_bytes()
    assert authority.stat().st_mode & 0o777 == 0o600
    await begin(tmp_path)
    assert authority.read_bytes() == kept


async def test_what_an_earlier_kill_left_empty_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "authority.json").touch()
    await begin(tmp_path)


async def test_the_last_port_leaves_none_for_the_websocket_and_that_is_said(tmp_path: Path) -> None:
    config = Config.model_validate({"chain": {"listen": "127.0.0.1:65535"}})
    with pytest.raises(OwnChainFailed, match="no port is left for its WebSocket"):
        async with open_own_chain(config, tmp_path, SystemClock()):
            pass

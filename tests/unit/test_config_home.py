"""A home is one node's, and its keys are nobody else's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hausd.config.home import HomeError, node_key, open_home
from hausd.config.template import commented_toml


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_what_is_missing(tmp_path: Path) -> None:
    with open_home(tmp_path / "deep" / "home") as home:
        key = node_key(home)
        assert home.config_file.read_text() == commented_toml()
        assert mode(home.path) == 0o700
        assert mode(home.keys_dir) == 0o700
        assert mode(home.node_key_file) == 0o600
        assert node_key(home).private_bytes_raw() == key.private_bytes_raw()
    left = {path.name for path in home.path.iterdir()}
    assert left == {"hausd.toml", "hausd.lock", "keys", "node.key"}


def test_a_second_start_keeps_configuration_and_key(tmp_path: Path) -> None:
    with open_home(tmp_path) as home:
        key = node_key(home).private_bytes_raw()
        home.config_file.write_text("[log]\nlevel = 'debug'\n")
    with open_home(tmp_path) as home:
        assert node_key(home).private_bytes_raw() == key
        assert "debug" in home.config_file.read_text()


def test_a_second_node_in_the_same_home_is_kept_out(tmp_path: Path) -> None:
    held = pytest.raises(HomeError, match=f"process {os.getpid()}")
    with open_home(tmp_path), held as caught, open_home(tmp_path):
        pass
    assert "--home" in caught.value.hint


def test_the_lock_goes_with_a_killed_node(tmp_path: Path) -> None:
    holds = (
        "import sys, time; from pathlib import Path; from hausd.config.home import open_home\n"
        "with open_home(Path(sys.argv[1])): print('open', flush=True); time.sleep(60)"
    )
    node = subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with node:
        assert node.stdout is not None
        assert node.stdout.readline() == "open\n"
        with pytest.raises(HomeError, match=f"process {node.pid}"), open_home(tmp_path):
            pass
        node.kill()
        node.wait()
    with open_home(tmp_path):
        pass


@pytest.mark.parametrize("name", ["node.key", "keys/room.key", "keys", "rooms"])
def test_a_key_that_others_may_read_stops_the_start(tmp_path: Path, name: str) -> None:
    with open_home(tmp_path) as home:
        node_key(home)
        (home.keys_dir / "room.key").touch(0o600)
        home.rooms_dir.mkdir(0o700)
    (tmp_path / name).chmod(0o755)
    with pytest.raises(HomeError, match=name) as caught, open_home(tmp_path):
        pass
    assert (
        caught.value.hint
        == f"chmod {'700' if name in ('keys', 'rooms') else '600'} {tmp_path / name}"
    )


def test_a_file_that_holds_no_key_is_left_alone(tmp_path: Path) -> None:
    with open_home(tmp_path) as home:
        home.node_key_file.touch(0o600)
        with pytest.raises(HomeError, match="holds no key"):
            node_key(home)
        assert home.node_key_file.read_bytes() == b""


def test_a_key_cut_short_by_a_crash_is_made_anew(tmp_path: Path) -> None:
    with open_home(tmp_path) as home:
        (tmp_path / ".node.key.new").write_text("-----BEGIN")
        assert node_key(home)
        assert not (tmp_path / ".node.key.new").exists()


def test_what_is_no_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(HomeError, match="is not a directory"), open_home(path):
            pass


def test_a_failure_of_the_node_itself_is_not_blamed_on_the_home(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), open_home(tmp_path):
        raise PermissionError("of something else")

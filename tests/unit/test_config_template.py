"""The commented TOML is complete and true, and the presets beside it load."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from hausd.config import load
from hausd.config.load import extra, options, sections
from hausd.config.positions import key_lines
from hausd.config.template import commented_toml

CONFIG = Path(__file__).parents[2] / "config"


def uncommented() -> str:
    return re.sub(r"^#(?=[a-z0-9_]+ = )", "", commented_toml(), flags=re.MULTILINE)


def test_the_committed_file_is_what_the_schema_says() -> None:
    told = "write it anew: python -m hausd.config template > config/hausd.toml"
    assert (CONFIG / "hausd.toml").read_text() == commented_toml(), told


def test_it_holds_every_option_and_nothing_else() -> None:
    found = tomllib.loads(uncommented())
    assert [(section, key) for section in found for key in found[section]] == list(options())


def test_its_defaults_are_the_schemas(tmp_path: Path) -> None:
    (tmp_path / "all.toml").write_text(uncommented())
    assert load(tmp_path, file=tmp_path / "all.toml").config == load(tmp_path).config


def test_as_it_is_written_it_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "hausd.toml").write_text(commented_toml())
    loaded = load(tmp_path)
    assert loaded.set_by == {}
    assert (
        loaded.config == load(tmp_path / "elsewhere", sets=[f"store.path={tmp_path}/store"]).config
    )


def test_every_option_is_explained_above_it_with_its_unit() -> None:
    lines = commented_toml().splitlines()
    places = key_lines(uncommented())
    for section, key in options():
        above = lines[places[section, key] - 2]
        assert above.startswith("# "), f"{section}.{key} has no explanation"
        model = sections()[section].model_fields[key]
        assert model.description
        unit = extra(section, key)["unit"]
        text = " ".join(lines[max(0, places[section, key] - 6) : places[section, key] - 1])
        for word in unit.split():
            assert word in text


@pytest.mark.parametrize("name", ["dev", "staging", "production"])
def test_the_presets_load(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, file=CONFIG / f"{name}.toml").set_by


def test_lines_are_found_however_a_key_is_written() -> None:
    text = (
        "a.b = 1\r\n"
        "# [not.this]\n"
        "[http] # here\n"
        'text = """\n'
        "[not.this]\n"
        'x = 1 """\n'
        "list = [ # [x]\n"
        "  '[y]',\n"
        "  'z' ]\n"
        ' "listen" = "#"\n'
        "  [ 'x' . y ]\n"
        "z = { q = 1 }\n"
        "[[many]]\n"
        "k = '''\n\n'''\n"
        "[[many]]\n"
    )
    tomllib.loads(text)
    assert dict(key_lines(text)) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("http",): 3,
        ("http", "text"): 4,
        ("http", "list"): 7,
        ("http", "listen"): 10,
        ("x",): 11,
        ("x", "y"): 11,
        ("x", "y", "z"): 12,
        ("many",): 13,
        ("many", "k"): 14,
    }

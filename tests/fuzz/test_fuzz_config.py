"""Whatever a configuration file, variable or argument says: a configuration, or ConfigError."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from hausd.config import Config, ConfigError, load
from hausd.config.load import options
from hausd.config.positions import key_lines

SEEDS = sorted((Path(__file__).parent / "seeds" / "config").iterdir())

_texts = st.text(max_size=40) | st.sampled_from(
    ["", "127.0.0.1:0", "[::]:1", "20 GB", "10s", "2800k", "~nobody", "\0", "veryfast", "9" * 5000]
)
_scalars = (
    _texts
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -1, 0, 2**63, float("inf")])
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_settings = st.lists(st.tuples(st.sampled_from(list(options())), _values), max_size=8)


def tried(
    raw: bytes | None = None,
    environ: Mapping[str, str] | None = None,
    sets: Sequence[str] = (),
) -> Config | None:
    """Loads in an empty home; a fault has to be told in words, each with its place."""
    with tempfile.TemporaryDirectory() as home:
        if raw is not None:
            (Path(home) / "hausd.toml").write_bytes(raw)
        try:
            return load(Path(home), environ=environ, sets=sets).config
        except ConfigError as error:
            faults = error.faults
    assert faults
    assert all(fault.place and fault.problem for fault in faults)
    return None


def toml(value: object) -> str:
    """A value as TOML, as well as it goes."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(name)} = {toml(each)}" for name, each in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)


def with_seeds(test: Callable[[bytes], None]) -> Callable[[bytes], None]:
    for seed in SEEDS:
        test = example(seed.read_bytes())(test)
    return test


@given(st.binary(max_size=400))
@with_seeds
def test_any_bytes_are_a_configuration_or_a_fault(raw: bytes) -> None:
    tried(raw=raw)


@given(st.lists(st.sampled_from(list("[]{}=.,\"'#\n\\ a1")) | st.text(max_size=3)).map("".join))
@example("[http]\nlisten = '''\n''' # ]\n[[x]]\n")
@example("a = 1_" + "9" * 5000)
def test_anything_like_toml_is_a_configuration_or_a_fault(text: str) -> None:
    tried(raw=text.encode("utf-8", "surrogatepass"))


@given(_settings)
def test_any_values_of_the_options_are_a_configuration_or_a_fault(
    settings: list[tuple[tuple[str, str], object]],
) -> None:
    text = "\n".join(f"{section}.{key} = {toml(value)}" for (section, key), value in settings)
    config = tried(raw=text.encode("utf-8", "surrogatepass"))
    if config is not None:
        again = Config.model_validate(config.model_dump(mode="json"))
        assert again == config


@given(_settings.map(lambda s: [(name, str(value)) for name, value in s]))
def test_any_environment_and_arguments_are_a_configuration_or_a_fault(
    settings: list[tuple[tuple[str, str], str]],
) -> None:
    environ = {f"HAUSD_{s}__{k}".upper(): value for (s, k), value in settings}
    tried(environ=environ)
    tried(sets=[f"{section}.{key}={value}" for (section, key), value in settings])


@given(st.text(), st.text())
def test_any_variable_and_argument_is_a_configuration_or_a_fault(name: str, value: str) -> None:
    tried(environ={f"HAUSD_{name}": value, f"HAUSD_{name}__x": value})
    tried(sets=[name, f"{name}={value}", f"http.{name}={value}"])


@given(st.text())
def test_lines_are_looked_for_in_any_text(text: str) -> None:
    count = text.replace("\r\n", "\n").count("\n") + 1
    assert all(1 <= line <= count for line in key_lines(text).values())

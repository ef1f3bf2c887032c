"""Puts a configuration together: defaults < TOML file < environment < ``--set``.

The file is the one named with ``--config``, else ``hausd.toml`` in the home if there is one. The
environment gives ``HAUSD_SECTION__KEY``. Every fault of every layer is told at once, each with
its place.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hausd.config.checks import contradictions
from hausd.config.faults import ConfigError, Fault, nearest, words
from hausd.config.options import Section
from hausd.config.positions import key_lines
from hausd.config.schema import Config

CONFIG_NAME = "hausd.toml"
ENVIRONMENT_PREFIX = "HAUSD_"
_MAX_FILE_BYTES = 1024 * 1024
_AT_LINE = re.compile(r" \(at line ([0-9]+), column ([0-9]+)\)$")
_LINE = re.compile(r":([0-9]+)$")
_INSECURE = ("http.insecure", "rtmp.insecure", "chain.insecure")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, the file it came from, and for each key that is set, by what."""

    config: Config
    file: Path | None
    set_by: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys in which two configurations differ, and what a running node takes over of them.

    ``effective`` is the old configuration with the ``applied`` keys of the new one.
    """

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]
    effective: Config


def load(
    home: Path,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    sets: Sequence[str] = (),
    insecure: bool = False,
) -> Loaded:
    """Reads and checks everything; raises ConfigError with all faults.

    ``home`` is the home directory (relative paths start there), ``file`` what ``--config`` named,
    ``environ`` the environment, ``sets`` the ``section.key=value`` of ``--set``, ``insecure``
    whether ``--insecure`` was given.
    """
    draft = _Draft()
    if file is None and (home / CONFIG_NAME).exists():
        file = home / CONFIG_NAME
    if file is not None:
        draft.read_file(file)
    for name, value in sorted((environ or {}).items()):
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            draft.set_variable(name, value)
    for each in sets:
        draft.set_argument(each)
    if insecure:
        for key in _INSECURE:
            section, _, name = key.partition(".")
            draft.put(section, name, True, "--insecure")
    config = draft.checked(home)
    return Loaded(config, file, {f"{s}.{k}": place for (s, k), place in draft.places.items()})


def options() -> Iterator[tuple[str, str]]:
    """Every option there is, as (section, key), in the order of the schema."""
    for section, model in sections().items():
        for key in model.model_fields:
            yield section, key


def sections() -> Mapping[str, type[Section]]:
    """The sections by name, in the order of the schema."""
    return {
        name: info.annotation
        for name, info in Config.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
    }


def extra(section: str, key: str) -> Mapping[str, Any]:
    """What the schema notes beside an option: ``unit``, ``reload``, ``secret``."""
    noted = sections()[section].model_fields[key].json_schema_extra
    return noted if isinstance(noted, dict) else {}


def compare(old: Config, new: Config) -> Changes:
    """What a reload from one configuration to another changes, and what waits for a restart."""
    applied: list[str] = []
    waiting: list[str] = []
    effective: dict[str, Section] = {}
    for section in sections():
        before, after = getattr(old, section), getattr(new, section)
        taken: dict[str, Any] = {}
        for key in type(before).model_fields:
            if getattr(before, key) == getattr(after, key):
                continue
            if extra(section, key).get("reload"):
                applied.append(f"{section}.{key}")
                taken[key] = getattr(after, key)
            else:
                waiting.append(f"{section}.{key}")
        effective[section] = before.model_copy(update=taken)
    return Changes(tuple(applied), tuple(waiting), old.model_copy(update=effective))


@dataclass(slots=True)
class _Draft:
    """Layers put over each other; knows what set each key last, and what was wrong."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def put(self, section: str, key: str, value: object, place: str) -> None:
        self.values.setdefault(section, {})[key] = value
        self.places[section, key] = place

    def read_file(self, path: Path) -> None:
        text = self._text_of(path)
        if text is None:
            return
        try:
            untrusted = tomllib.loads(text)
        except RecursionError:
            self.faults.append(Fault(str(path), "", "values are nested too deeply"))
            return
        except ValueError as error:  # TOMLDecodeError, or a number too long for Python
            said = str(error)
            at = _AT_LINE.search(said)
            place = f"{path}:{at[1]}" if at else str(path)
            problem = f"this is not TOML: {_AT_LINE.sub('', said)}"
            right = f"look at column {at[2]}" if at else "look at the end of the file"
            self.faults.append(Fault(place, "", problem, right))
            return
        lines = key_lines(text)
        for name, value in untrusted.items():
            place = f"{path}:{lines.get((name,), 1)}"
            if name not in sections():
                self._unknown_section(name, value, place)
                continue
            if not isinstance(value, dict):
                right = f"write [{name}] on a line of its own, and its options below"
                self.faults.append(Fault(place, name, "this is a section, not an option", right))
                continue
            for key, inner in value.items():
                line = lines.get((name, key), lines.get((name,), 1))
                self._offer(name, key, inner, f"{path}:{line}")

    def _text_of(self, path: Path) -> str | None:
        try:
            with path.open("rb") as opened:
                raw = opened.read(_MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            self.faults.append(Fault(str(path), "", f"can't be read ({reason})"))
            return None
        if len(raw) > _MAX_FILE_BYTES:
            self.faults.append(Fault(str(path), "", "this is larger than 1 MiB"))
            return None
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            self.faults.append(Fault(f"{path}:{line}", "", "this is not UTF-8 text"))
            return None

    def set_variable(self, name: str, text: str) -> None:
        section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        self._offer_text(section, key, text, f"environment {name}")

    def set_argument(self, argument: str) -> None:
        path, equals, text = argument.partition("=")
        section, dot, key = path.strip().partition(".")
        if not (equals and dot):
            right = "write --set section.key=value, as in --set http.listen=127.0.0.1:8080"
            self.faults.append(Fault(f"--set {argument}", "", "this sets no option", right))
            return
        self._offer_text(section, key, text, f"--set {path.strip()}")

    def _offer_text(self, section: str, key: str, text: str, place: str) -> None:
        if section not in sections():
            self._unknown_section(section, {key: None}, place)
            return
        self._offer(section, key, _value_of(section, key, text.strip()), place)

    def _offer(self, section: str, key: str, value: object, place: str) -> None:
        if key in sections()[section].model_fields:
            self.put(section, key, value, place)
            return
        right = _meant(section, key)
        self.faults.append(Fault(place, f"{section}.{key}", "there is no such option", right))

    def _unknown_section(self, name: str, value: object, place: str) -> None:
        if not isinstance(value, dict):
            right = _meant("", name)
            self.faults.append(Fault(place, name, "there is no such option", right))
            return
        near = nearest(name, sections())
        right = f"did you mean [{near}]?" if near else "sections are " + ", ".join(sections())
        self.faults.append(Fault(place, f"[{name}]", "there is no such section", right))

    def checked(self, home: Path) -> Config:
        """The finished configuration; raises ConfigError with every fault found so far."""
        context = {"home": home}
        # Every section is validated, so that paths which are defaults start at the home as well.
        untrusted = {name: self.values.setdefault(name, {}) for name in sections()}
        try:
            config = Config.model_validate(untrusted, context=context)
        except ValidationError as error:
            broken: dict[tuple[str, str], tuple[str, str]] = {}
            for detail in error.errors(include_url=False):
                section, key = str(detail["loc"][0]), str(detail["loc"][1])
                broken.setdefault((section, key), words(detail))
            for (section, key), (problem, right) in broken.items():
                place = self.places[section, key]
                self.faults.append(Fault(place, f"{section}.{key}", problem, right))
                # The rest is checked as if this option had its default.
                del untrusted[section][key]
            config = Config.model_validate(untrusted, context=context)
        faulty = {fault.key for fault in self.faults}
        for each in contradictions(config):
            if faulty.isdisjoint(each.keys):
                key = next((k for k in each.keys if self._place(k)), each.keys[0])
                place = self._place(key) or "default"
                self.faults.append(Fault(place, key, each.problem, each.right))
        if self.faults:
            raise ConfigError(sorted(self.faults, key=_reading_order))
        return config

    def _place(self, key: str) -> str | None:
        section, _, name = key.partition(".")
        return self.places.get((section, name))


def _reading_order(fault: Fault) -> tuple[bool, int]:
    """The file from top to bottom, then what else sets options."""
    at = _LINE.search(fault.place)
    return at is None, int(at[1]) if at else 0


def _meant(section: str, key: str) -> str:
    """The option that an unknown one was probably meant to be, in words."""
    if section:
        near = nearest(key, sections()[section].model_fields)
        if near:
            return f"did you mean {section}.{near}?"
    elsewhere = [f"{other}.{name}" for other, name in options() if name == key.lower()]
    if elsewhere:
        return "did you mean " + " or ".join(elsewhere) + "?"
    by_name = {name: f"{other}.{name}" for other, name in options()}
    near = nearest(key, by_name)
    if near:
        return f"did you mean {by_name[near]}?"
    return f"[{section}] has " + ", ".join(sections()[section].model_fields) if section else ""


def _value_of(section: str, key: str, text: str) -> object:
    """What a text of the environment or ``--set`` means: TOML where it is, else the text."""
    fields = sections()[section].model_fields
    try:
        value = tomllib.loads(f"value = {text}")["value"] if "\n" not in text else text
    except (ValueError, RecursionError):
        return text
    is_text = key in fields and fields[key].annotation is str
    if isinstance(value, str) or (isinstance(value, bool | int | float | list) and not is_text):
        return value
    return text

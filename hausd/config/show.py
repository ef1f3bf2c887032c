"""A configuration as it is shown to people: every option, and what set it, without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hausd.config.load import Loaded, extra, options
from hausd.config.schema import Config
from hausd.core.shapes import OptionShape

_URL_SECRETS = (
    (re.compile(r"(://)[^/@]*@"), r"\1[redacted]@"),
    (re.compile(r"([?&][^=&#]*=)[^&#]*"), r"\1[redacted]"),
)


def shown(loaded: Loaded) -> list[OptionShape]:
    """Every option in the order of the schema; what may hold a secret is blacked out."""
    return shown_config(loaded.config, loaded.set_by)


def shown_config(config: Config, set_by: Mapping[str, str]) -> list[OptionShape]:
    """The same for a configuration and what set its keys."""
    values = config.model_dump(mode="json")
    shapes = []
    for section, key in options():
        value = values[section][key]
        if extra(section, key).get("secret"):
            value = [*map(_redacted, value)] if isinstance(value, list) else _redacted(value)
        name = f"{section}.{key}"
        shapes.append(OptionShape(key=name, value=value, set_by=set_by.get(name, "")))
    return shapes


def _redacted(value: str) -> str:
    for pattern, instead in _URL_SECRETS:
        value = pattern.sub(instead, value)
    return value

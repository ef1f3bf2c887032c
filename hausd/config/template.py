"""The one commented TOML, written from the schema: every option where it stands, with its default.

``python -m hausd.config template > config/hausd.toml`` writes it; a test keeps that file equal to
this text. A node's first start puts it into its home.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from hausd.config.load import extra, sections
from hausd.config.units import Address, Rung, write_bps, write_bytes

_COLUMNS = 96
_PREAMBLE = """\
# Configuration of hausd.
#
# Every option stands here, commented out, with its default. To change one, take the "#" away
# and set your value. Check with: hausd --check
#
# Stronger than this file are environment variables (HAUSD_HTTP__LISTEN=…) and arguments
# (hausd --set http.listen=…). Options marked "live" are taken over by a running node
# (hausctl config reload, or SIGHUP); the others wait for its next start.
#
# Sizes may be written "20 GB" or "512 MiB", times 10, "400ms" or "5m", bit rates "2800k" or
# "2.8M".
"""


def commented_toml() -> str:
    """The whole file. With every ``#key = …`` uncommented it gives the schema's defaults."""
    return _PREAMBLE + "".join(_section(name) for name in sections())


def written(value: Any, unit: str = "") -> str:
    """A value as it stands in TOML, in the form that people write."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Rung):
        return f'[{value.height}, "{write_bps(value.bandwidth_bps)}"]'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, Address | Path | str | IPv4Network | IPv6Network):
        return json.dumps(str(value), ensure_ascii=False)
    if unit == "bytes":
        return json.dumps(write_bytes(value)) if value else "0"
    if unit == "bits a second":
        return json.dumps(write_bps(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _section(name: str) -> str:
    model = sections()[name]
    lines = ["", *_comment(model.__doc__ or ""), f"[{name}]"]
    for key, info in model.model_fields.items():
        noted = extra(name, key)
        lines += ["", *_comment(f"{info.description}{_notes(noted, info)}")]
        lines.append(f"#{key} = {written(info.default, noted['unit'])}")
    return "\n".join(lines) + "\n"


def _notes(noted: Mapping[str, Any], info: FieldInfo) -> str:
    unit = str(noted["unit"])
    notes = [unit] if unit else []
    if get_origin(info.annotation) is Literal:
        notes.append(", ".join(get_args(info.annotation)))
    least = next((b.ge for b in info.metadata if isinstance(b, Ge)), None)
    most = next((b.le for b in info.metadata if isinstance(b, Le)), None)
    if least is not None and most is not None:
        notes.append(f"{_bound(least, unit)} to {_bound(most, unit)}")
    elif least is not None:
        notes.append(f"at least {_bound(least, unit)}")
    if noted["reload"]:
        notes.append("live")
    return f" ({'; '.join(notes)})" if notes else ""


def _bound(number: Any, unit: str) -> str:
    return write_bytes(int(number)) if unit == "bytes" else f"{number:.12g}"


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, _COLUMNS, break_on_hyphens=False):
        yield f"# {line}"

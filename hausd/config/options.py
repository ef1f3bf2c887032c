"""How options are declared: their types, read from TOML, environment and command line, and what
an option says of itself. The options are in ``hausd.config.schema``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
)

from hausd.config import units


def _home(info: ValidationInfo) -> Path | None:
    home = (info.context or {}).get("home")
    return home if isinstance(home, Path) else None


def _path(untrusted: object, info: ValidationInfo) -> Path:
    return units.parse_path(untrusted, _home(info))


def _path_or_none(untrusted: object, info: ValidationInfo) -> Path | None:
    return units.parse_path_or_none(untrusted, _home(info))


def _text_or_empty(value: object) -> str:
    return "" if value is None else str(value)


def _lists(value: object) -> object:
    return [_lists(each) for each in value] if isinstance(value, tuple) else value


def _texts(value: tuple[object, ...]) -> list[str]:
    return [str(each) for each in value]


Listen = Annotated[
    units.Address,
    PlainValidator(units.parse_address),
    PlainSerializer(str, return_type=str),
]
ListenOrOff = Annotated[
    units.Address | None,
    PlainValidator(units.parse_address_or_off),
    PlainSerializer(_text_or_empty, return_type=str),
]
Seconds = Annotated[float, BeforeValidator(units.parse_seconds)]
Bytes = Annotated[int, BeforeValidator(units.parse_bytes)]
BitsPerSecond = Annotated[int, BeforeValidator(units.parse_bps)]
Ladder = Annotated[
    tuple[units.Rung, ...], PlainValidator(units.parse_ladder), PlainSerializer(_lists)
]
HostNames = Annotated[
    tuple[str, ...], PlainValidator(units.parse_host_names), PlainSerializer(_lists)
]
Multiaddrs = Annotated[
    tuple[str, ...], PlainValidator(units.parse_multiaddrs), PlainSerializer(_lists)
]
Peers = Annotated[tuple[str, ...], PlainValidator(units.parse_peers), PlainSerializer(_lists)]
RoomIds = Annotated[tuple[str, ...], PlainValidator(units.parse_rooms), PlainSerializer(_lists)]
Networks = Annotated[
    tuple[units.Network, ...], PlainValidator(units.parse_networks), PlainSerializer(_texts)
]
SingleAddresses = Annotated[
    tuple[units.Network, ...], PlainValidator(units.parse_single_addresses), PlainSerializer(_texts)
]
FilePath = Annotated[Path, PlainValidator(_path), PlainSerializer(_text_or_empty, return_type=str)]
FilePathOrNone = Annotated[
    Path | None, PlainValidator(_path_or_none), PlainSerializer(_text_or_empty, return_type=str)
]
Text = Annotated[str, Field(max_length=1024)]


def option(
    default: Any,
    about: str,
    *,
    unit: str = "",
    reload: bool = False,
    secret: bool = False,
    ge: float | None = None,
    le: float | None = None,
) -> Any:
    """An option with its default, what it is for, and its unit and bounds."""
    extra: dict[str, Any] = {"unit": unit, "reload": reload, "secret": secret}
    return Field(default, description=about, ge=ge, le=le, json_schema_extra=extra)


class Section(BaseModel):
    """Common ground: frozen, strict, and no option that nobody knows."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )

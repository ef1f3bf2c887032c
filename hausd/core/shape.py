"""What every JSON shape is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """Common ground: unknown fields are a mistake, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

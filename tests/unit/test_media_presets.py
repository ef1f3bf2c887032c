"""Every preset that the configuration allows is one that the encoder knows."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from hausd.media.encoder import Encoder, Look
from hausd.policy.ladder import Rung

_TEMPLATE = Path(__file__).parents[2] / "config" / "hausd.toml"


def allowed() -> list[str]:
    """The presets as the commented configuration lists them."""
    listed = re.search(r"\((ultrafast[^;)]*)", _TEMPLATE.read_text())
    assert listed is not None
    return listed[1].split(", ")


@pytest.mark.parametrize("preset", allowed())
def test_every_preset_of_the_configuration_makes_an_encoder(preset: str) -> None:
    rung = Rung("90p", 160, 90, 100_000)
    made = Encoder(rung, preset=preset, frame_rate=Fraction(30), look=Look())
    assert made.track.record

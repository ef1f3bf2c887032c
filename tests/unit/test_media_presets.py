"""Every preset that the configuration allows is one that the encoder knows."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from hausd.media.encoder import Encoder, Look
from hausd.media.lane import Recipe
from hausd.media.rendition import cheaper_forms
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


@pytest.mark.parametrize("preset", allowed())
def test_an_encoder_that_is_made_cheaper_goes_on_under_the_init_segment_that_it_had(
    preset: str,
) -> None:
    rung = Rung("source", 1280, 720, 3_000_000)
    recipe = Recipe(rung, preset, Fraction(30), Look(), 1)

    def record(recipe: Recipe) -> bytes:
        return Encoder(
            recipe.rung, preset=recipe.preset, frame_rate=recipe.frame_rate, look=recipe.look
        ).track.record

    cheaper = [form(recipe) for form in cheaper_forms(preset)]
    assert cheaper
    assert {record(each) for each in cheaper} == {record(recipe)}

"""What of a gated room is free: how long, and which renditions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hausd.core.forms import FormError
from hausd.core.media import Kind, Rendition
from hausd.core.preview import LOWEST, FreeTerms, free_terms_form, read_free_terms
from hausd.policy.preview import free_left_ms, free_renditions

SOURCE = Rendition("source", Kind.VIDEO, "avc1", 90_000, 6_000_000, 1920, 1080)
MIDDLE = replace(SOURCE, name="720p", width=1280, height=720)
LEAST = replace(SOURCE, name="360p", width=640, height=360)
SOUND = Rendition("audio", Kind.AUDIO, "mp4a", 48_000)
LADDER = (SOURCE, MIDDLE, LEAST, SOUND)


@given(st.integers(0, 86_400), st.integers(0, 2**41), st.integers(0, 10**9))
def test_the_beginning_is_free_to_the_millisecond(first_s: int, began_ms: int, on_ms: int) -> None:
    left_ms = free_left_ms(FreeTerms(first_s), began_ms, began_ms + on_ms)
    assert left_ms == max(0, first_s * 1000 - on_ms)


@pytest.mark.parametrize(
    ("name", "made", "free"),
    [
        (LOWEST, LADDER, {"360p", "audio"}),
        (LOWEST, (SOURCE, SOUND), set()),  # the source is never given away by this word
        (LOWEST, (SOUND,), set()),
        (LOWEST, (), set()),
        ("720p", LADDER, {"720p", "audio"}),
        ("source", LADDER, {"source", "audio"}),
        ("audio", LADDER, {"audio"}),
        ("480p", LADDER, set()),
        ("", LADDER, set()),
    ],
)
def test_a_rendition_is_free_with_its_sound(
    name: str, made: tuple[Rendition, ...], free: set[str]
) -> None:
    assert free_renditions(FreeTerms(rendition=name), made) == free


def test_a_choice_takes_the_place_of_the_one_before() -> None:
    first = FreeTerms().changed(300, None, finalized=True)
    assert first == FreeTerms(300, "", finalized=True)
    lowest = first.changed(None, LOWEST, None)
    assert lowest == FreeTerms(0, LOWEST, finalized=True)
    assert lowest.changed(60, None, finalized=False) == FreeTerms(60)
    assert not lowest.changed(None, "", finalized=False)
    for first_s, rendition in [(60, LOWEST), (-1, ""), (86_401, ""), (0, "a/b")]:
        with pytest.raises(ValueError, match=r"free|preview|rendition"):
            FreeTerms().changed(first_s, rendition, None)


@pytest.mark.parametrize(
    "terms", [FreeTerms(1), FreeTerms(86_400, finalized=True), FreeTerms(rendition=LOWEST)]
)
def test_a_card_says_the_terms_in_one_way(terms: FreeTerms) -> None:
    assert read_free_terms(free_terms_form(terms), "free") == terms  # type: ignore[arg-type] # plain values


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"first": 0},
        {"first": 86_401},
        {"first": True},
        {"finalized": False},
        {"rendition": ""},
        {"rendition": "a b"},
        {"first": 1, "rendition": "audio"},
        {"first": 1, "more": 1},
        [],
    ],
)
def test_terms_that_say_nothing_or_two_things_are_none(form: object) -> None:
    with pytest.raises(FormError):
        read_free_terms(form, "free")  # type: ignore[arg-type] # as it may come

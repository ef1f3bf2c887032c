"""Options of previews: what the node is told, and what a person reads."""

from __future__ import annotations

import pytest
import typer

from hausctl.previewing import free_wish, free_words
from hausd.core.shapes import FreeShape


def test_only_what_was_said_changes() -> None:
    assert free_wish("", "", None) == {}
    assert free_wish("5m", "", finalized=True) == {"first_s": 300, "finalized": True}
    assert free_wish("", "lowest", None) == {"rendition": "lowest"}
    assert free_wish("none", "none", finalized=False) == {
        "first_s": 0,
        "rendition": "",
        "finalized": False,
    }
    assert free_wish("none", "audio", None) == {"first_s": 0, "rendition": "audio"}


@pytest.mark.parametrize("preview", ["5", "0s", "1.5s", "25h", "soon"])
def test_a_length_that_is_none_is_refused(preview: str) -> None:
    with pytest.raises(typer.BadParameter):
        free_wish(preview, "", None)


def test_either_the_beginning_or_a_quality() -> None:
    with pytest.raises(typer.BadParameter, match="either"):
        free_wish("5m", "lowest", None)


@pytest.mark.parametrize(
    ("free", "words"),
    [
        (None, ""),
        (FreeShape(), ""),
        (FreeShape(first_s=300), "the first 5 minutes are free"),
        (FreeShape(first_s=60), "the first minute is free"),
        (FreeShape(first_s=90), "the first 90 seconds are free"),
        (FreeShape(rendition="lowest"), "the lowest quality is free"),
        (
            FreeShape(rendition="audio", finalized=True),
            "audio is free; the recording is free once the event is finalized",
        ),
        (FreeShape(first_s=300, finalized=True, all=True), "the recording is free"),
    ],
)
def test_what_is_free_in_words(free: FreeShape | None, words: str) -> None:
    assert free_words(free) == words

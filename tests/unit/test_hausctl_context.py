"""What hausctl prints for people, and whom they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hausctl.client import Refused
from hausctl.context import Here, marked


def test_what_others_wrote_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    here = Here(Path("/home"), json=False)
    here.answer({}, "Show [/b] [red]is[/] closed :warning:", "http://[fe80::1]:8080/live")
    here.answer({}, marked("[bold]mine[/] :warning:"))
    assert capsys.readouterr().out == (
        "Show [/b] [red]is[/] closed :warning:\nhttp://[fe80::1]:8080/live\nmine :warning:\n"
    )


def test_who_means_no_event_is_told_where_events_are_listed() -> None:
    class NoRooms:
        def get(self, *path: str) -> Any:
            return []

    here = Here(Path("/home"), json=False)
    here.__dict__["client"] = NoRooms()
    with pytest.raises(Refused, match="there is no event 'Show'") as caught:
        here.event_id("Show")
    assert caught.value.hint == "hausctl events list shows their ids"
    with pytest.raises(Refused, match="there is no room 'Show'"):
        here.room_id("Show")

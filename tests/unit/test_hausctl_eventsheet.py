"""What an event's sheet says is what the programs do."""

from __future__ import annotations

from rich.console import Console

from hausctl.eventsheet import event_sheet
from hausd.chain.shapes import event_shape
from hausd.chain.tokens import SOL_COIN
from hausd.core.programs.accounts import EventAccount, read_account
from tests.support.chain_data import EVENT, PROGRAMS, raw_event


def test_how_far_a_late_tip_moves_the_close() -> None:
    factory = PROGRAMS.event_factory
    event = read_account(EventAccount, EVENT, factory, factory, raw_event(tip_extension=120))
    console = Console(width=200)
    with console.capture() as shown:
        console.print(event_sheet(event_shape(event, None, None, None, 1, SOL_COIN)))
    assert "puts the close off to 2 min 00 s from then, to 16 min 00 s after" in shown.get()

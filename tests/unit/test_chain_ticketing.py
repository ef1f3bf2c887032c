"""What counts as a ticket: the wallet's own, for this event, of our program, not given back."""

from __future__ import annotations

from typing import Any, cast

import pytest
from support.chain_data import ARTIST, EVENT, PROGRAMS, TIPPER, raw_account

from hausd.chain.client import Account, ChainClient
from hausd.chain.pool import Pool
from hausd.chain.ticketing import _ticket
from hausd.core.ids import RoomId
from hausd.core.programs.addresses import ticket_place
from hausd.core.release import Held, Missing

KEY = (RoomId(str(EVENT)), str(TIPPER))
PLACE = ticket_place(PROGRAMS, EVENT, TIPPER).address
ONE, NONE = (1,) + (0,) * 7, (0,) * 8
TICKET = {"event": EVENT, "holder": TIPPER, "paid": ONE}


@pytest.mark.parametrize(
    ("changed", "program", "found"),
    [
        ({}, PROGRAMS.ticket_factory, Held(1)),
        ({"paid": (0,) * 7 + (2,), "comp": ONE}, PROGRAMS.ticket_factory, Held(3)),  # of any tier
        ({"paid": NONE}, PROGRAMS.ticket_factory, Missing()),
        ({"holder": ARTIST}, PROGRAMS.ticket_factory, Missing()),
        ({"event": ARTIST}, PROGRAMS.ticket_factory, Missing()),
        ({}, PROGRAMS.live_tipping, Missing()),
    ],
    ids=[
        "one",
        "any tier",
        "given back",
        "another wallet's",
        "another event's",
        "another program's",
    ],
)
def test_only_the_wallets_own_ticket_for_the_event_is_one(
    changed: dict[str, Any], program: Any, found: object
) -> None:
    client = ChainClient(cast(Pool, None), PROGRAMS)
    raw = raw_account("ticket_factory", "Ticket", **{**TICKET, **changed})
    assert _ticket(client, KEY, Account(PLACE, program, 1, raw)) == found


def test_another_kind_of_account_of_the_program_is_no_ticket() -> None:
    client = ChainClient(cast(Pool, None), PROGRAMS)
    raw = raw_account("ticket_factory", "Sale", tier_len=0)
    assert _ticket(client, KEY, Account(PLACE, PROGRAMS.ticket_factory, 1, raw)) == Missing()
    assert _ticket(client, KEY, None) == Missing()

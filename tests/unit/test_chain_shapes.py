"""What the API shows of accounts can't rewrite what stands on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from hausd.chain.shapes import event_shape, room_event
from hausd.chain.tokens import SOL_COIN
from hausd.core.programs.accounts import EventAccount, SaleAccount, read_account
from hausd.core.programs.borsh import Reader
from hausd.core.programs.idl import idl
from tests.support.chain_data import EVENT, PROGRAMS, raw_account, raw_event

_TRICK = "Free\x1b[2K\r\u202e\n0 SOL"
_SHOWN = "Free [2K 0 SOL"


def test_titles_and_tiers_are_one_line_of_what_is_printed() -> None:
    title = _TRICK.encode().ljust(64, b"\0")
    factory, tickets = PROGRAMS.event_factory, PROGRAMS.ticket_factory
    event = read_account(EventAccount, EVENT, factory, factory, raw_event(title=title))
    form = idl("ticket_factory").accounts["Sale"]
    tier = form.fields.read(Reader(bytes(form.size - 8)))["tiers"][0]
    tiers = (tier | {"name": _TRICK.encode().ljust(len(tier["name"]), b"\0")},) * 8
    raw = raw_account("ticket_factory", "Sale", tier_len=1, tiers=tiers)
    sale = read_account(SaleAccount, EVENT, tickets, tickets, raw)
    shape = event_shape(event, sale, None, None, 1, SOL_COIN)
    assert (shape.title, shape.tiers[0].name) == (_SHOWN, _SHOWN)
    known = room_event(event, sale, None, bytes(32), 1, SOL_COIN)
    assert (known.title, known.offers[0].name) == (_SHOWN, _SHOWN)


@pytest.mark.parametrize("time", [-(2**63), -1, 2**63 - 1])
def test_a_time_that_no_calendar_has_is_its_nearest_end(time: int) -> None:
    factory = PROGRAMS.event_factory
    raw = raw_event(starts_at=time, scheduled_end=time, authority_since=2**64 - 1)
    event = read_account(EventAccount, EVENT, factory, factory, raw)
    shape = event_shape(event, None, None, None, 7, SOL_COIN)
    known = room_event(event, None, None, bytes(32), 7, SOL_COIN)
    for ms, shown in ((known.starts_ms, shape.starts), (known.ends_ms, shape.ends)):
        assert datetime.fromtimestamp(ms / 1000, UTC) == shown
    assert known.authority_slot == 7, "it can't be later than it was read"

"""Whether wallets have tickets, as the chain says now: asked together, remembered for seconds.

Implements ``keys.ports.Tickets``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
import trio

from hausd.chain.asking import address
from hausd.chain.calls import RpcError
from hausd.chain.client import MAX_ACCOUNTS_AT_ONCE, Account, ChainClient
from hausd.chain.metrics import TICKET_CHECKS, TICKETS_FORGOTTEN
from hausd.chain.service import ChainService
from hausd.chain.subscriptions import tell_of
from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.programs.accounts import AccountError, TicketAccount
from hausd.core.programs.addresses import ticket_place
from hausd.core.programs.logs import events_of
from hausd.core.release import Held, Missing, Ticket, Unknown

FRESH_S = 5.0
"""How long an answer is good, unless the chain tells of a change before."""
ANSWER_S = 3.0
"""A chain that takes longer does not answer."""
MAX_REMEMBERED = 16_384
MAX_WAITING = 4_096
"""Lookups that wait for the one under way, of newcomers, and the same of those inside; the chain is
unknown to those beyond."""
_AGAIN_S = 5.0
log = structlog.get_logger("hausd.chain")
_Key = tuple[RoomId, str]
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Asked:
    """A lookup that is not answered yet."""

    done: trio.Event = field(default_factory=trio.Event)
    ticket: Ticket = field(default_factory=Unknown)


class Tickets:
    """``run`` does the asking: one call at a time, for all who wait. ``follow`` keeps it true."""

    def __init__(self, chain: ChainService, websockets: Sequence[str]) -> None:
        """``websockets``: where the endpoints' subscriptions may be."""
        self._chain = chain
        self._websockets = websockets
        self._fresh: OrderedDict[_Key, tuple[Ticket, float]] = OrderedDict()
        self._had: OrderedDict[_Key, None] = OrderedDict()
        self._asked: OrderedDict[_Key, _Asked] = OrderedDict()
        self._later: OrderedDict[_Key, _Asked] = OrderedDict()
        """What waits till nothing of the former does."""
        self._wake = trio.Event()
        self._changes = 0
        self._changed = trio.Event()
        self.passed_on: Callable[[RoomId, str, str, int], None] | None = None
        """Is told who passed how many tickets of an event on to whom, as far as that is heard."""
        self._wanted = trio.Event()
        """A node that never looks at a ticket subscribes to nothing."""

    async def ticket(self, room: RoomId, wallet: str, *, later: bool = False) -> Ticket:
        """What the chain (confirmed) says of a wallet's tickets for an event, at most FRESH_S ago;
        Unknown where it does not answer in time. ``later``: newcomers go first."""
        self._wanted.set()
        key = (room, wallet)
        found = self._fresh.get(key)
        if found is not None and trio.current_time() - found[1] < FRESH_S:
            TICKET_CHECKS.labels("remembered").inc()
            return found[0]
        asked = self._wait(key, later=later)
        if asked is None:
            TICKET_CHECKS.labels("too-many").inc()
            return Unknown()
        with trio.move_on_after(ANSWER_S):
            await asked.done.wait()
        TICKET_CHECKS.labels(type(asked.ticket).__name__.lower()).inc()
        return asked.ticket

    def _wait(self, key: _Key, *, later: bool) -> _Asked | None:
        asked = self._asked.get(key)
        if asked is not None:
            return asked
        asked = self._later.get(key)
        if asked is not None and later:
            return asked
        queue = self._later if later else self._asked
        if len(queue) >= MAX_WAITING:
            return asked
        self._later.pop(key, None)
        queue[key] = asked = asked or _Asked()
        self._wake.set()
        return asked

    def forget(self) -> None:
        """Some ticket changed on chain: nothing that was read before is an answer any more."""
        TICKETS_FORGOTTEN.inc()
        self._changes += 1
        self._fresh.clear()
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def changed(self) -> None:
        """Returns when ``forget`` is called next."""
        await self._changed.wait()

    async def follow(self) -> None:
        """Has the chain tell of every change of a ticket, until cancelled."""
        await self._wanted.wait()
        while True:
            try:
                client = await self._chain.client()
                break
            except Problem:
                await trio.sleep(_AGAIN_S)
        programs = client.programs

        def read(untrusted_logs: Sequence[str]) -> None:
            for found in events_of(programs, untrusted_logs):
                if found.name == "TicketsTransferred" and self.passed_on is not None:
                    event, from_, to = (str(found.fields[one]) for one in ("event", "from", "to"))
                    self.passed_on(RoomId(event), from_, to, int(found.fields["count"]))

        await tell_of(self._websockets, programs.ticket_factory, self.forget, read)

    async def run(self) -> None:
        """Asks until cancelled."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._asked or self._later:
                keys = [*self._asked, *self._later][:MAX_ACCOUNTS_AT_ONCE]
                tickets: Sequence[Ticket] = [Unknown()] * len(keys)
                changes = self._changes
                with trio.move_on_after(ANSWER_S):
                    tickets = await self._read(keys)
                for key, ticket in zip(keys, tickets, strict=True):
                    # what was read while something changed answers the question, and no later one
                    self._take(key, ticket, fresh=changes == self._changes)

    def _take(self, key: _Key, ticket: Ticket, *, fresh: bool) -> None:
        if isinstance(ticket, Held):
            _put(self._had, key, None)
        elif isinstance(ticket, Missing):
            ticket = Missing(had=key in self._had)
        if fresh and not isinstance(ticket, Unknown):
            _put(self._fresh, key, (ticket, trio.current_time()))
        asked = self._asked.pop(key, None) or self._later.pop(key)
        asked.ticket = ticket
        asked.done.set()

    async def _read(self, keys: Sequence[_Key]) -> list[Ticket]:
        try:
            client = await self._chain.client()
            places = [
                ticket_place(client.programs, address(room), address(wallet)).address
                for room, wallet in keys
            ]
            seen = await client.accounts(places)
        except (Problem, RpcError) as fault:
            log.warning("tickets-not-read", because=str(fault))
            return [Unknown()] * len(keys)
        return [
            _ticket(client, key, account) for key, account in zip(keys, seen.accounts, strict=True)
        ]


def _put(kept: OrderedDict[_Key, T], key: _Key, value: T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > MAX_REMEMBERED:
        kept.popitem(last=False)


def _ticket(client: ChainClient, key: _Key, account: Account | None) -> Ticket:
    if account is None:
        return Missing()
    try:
        found = client.checked(TicketAccount, account)
    except AccountError as fault:
        # somebody else's account, or a closed one: whatever it is, it is no ticket
        log.info("no-ticket-account", because=str(fault))
        return Missing()
    if (str(found.event), str(found.holder)) != key or found.count <= 0:
        return Missing()
    return Held(found.count)

"""A stand-in for the three programs, in Python, until their artifacts are there.

It keeps the accounts' forms and moves the money, and checks next to nothing: what is tested with it
is the client, never a program. To be deleted with ``LiteChain``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from solders.account import Account
from solders.litesvm import LiteSVM
from solders.message import Message
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import NOBODY, Programs
from hausd.core.programs.addresses import EventPlaces
from hausd.core.programs.borsh import Reader
from hausd.core.programs.idl import PROGRAMS as NAMES
from hausd.core.programs.idl import idl

FEE = 5000
_OWNERS = {"Config": 0, "Event": 0, "Checkpoint": 0, "Sale": 1, "Ticket": 1, "Vault": 2}
_OWNERS |= {"TipRecord": 2}


class Failed(Exception):
    """``args``: the instruction's index, the program, the error's number."""


class StandIn:
    """Runs transactions that name our programs."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self._by_address = dict(zip(programs, NAMES, strict=True))

    def concerns(self, message: Message) -> bool:
        return any(key in self._by_address for key in message.account_keys)

    def run(
        self, svm: LiteSVM, message: Message, slot: int, *, keep: bool
    ) -> tuple[object, list[str], int]:
        """Gives error, logs, units; ``keep``: the accounts are changed."""
        run = _Run(svm, self.programs, slot)
        keys = message.account_keys
        error: object = None
        try:
            for at, each in enumerate(message.instructions):
                program = keys[each.program_id_index]
                accounts = [keys[index] for index in each.accounts]
                data = bytes(each.data)
                if program == Pubkey.default() and data[:4] == b"\2\0\0\0":
                    run.move(accounts[0], accounts[1], int.from_bytes(data[4:12], "little"))
                elif program in self._by_address:
                    name = self._by_address[program]
                    form, arguments = idl(name).read_instruction(data)
                    named = dict(zip((s.name for s in form.slots), accounts, strict=False))
                    run.logs.append(f"Program {program} invoke [1]")
                    step: Callable[..., int | None] = getattr(run, f"{name}_{form.name}")
                    number = step(named, **arguments)
                    if number is not None:
                        line = f"Program {program} failed: custom program error: {number:#x}"
                        run.logs.append(line)
                        raise Failed(at, number)
                    run.logs.append(f"Program {program} success")
        except Failed as failed:
            error = {"InstructionError": [failed.args[0], {"Custom": failed.args[1]}]}
            run.changed.clear()
        if keep:
            payer = keys[0]
            run.lamports(payer, -FEE)
            for address, account in run.changed.items():
                svm.set_account(address, account)
        return error, run.logs, 3_000


class _Run:
    def __init__(self, svm: LiteSVM, programs: Programs, slot: int) -> None:
        self._svm = svm
        self._programs = programs
        self._slot = slot
        self._now = svm.get_clock().unix_timestamp
        self.changed: dict[Pubkey, Account] = {}
        self.logs: list[str] = []

    # -- accounts --

    def account(self, at: Pubkey) -> Account | None:
        return self.changed.get(at) or self._svm.get_account(at)

    def lamports(self, at: Pubkey, more: int) -> None:
        account = self.account(at) or Account(0, b"", Pubkey.default())
        if account.lamports + more < 0:
            raise Failed(0, 1)
        self.changed[at] = Account(account.lamports + more, account.data, account.owner)

    def move(self, from_: Pubkey, to: Pubkey, amount: int) -> None:
        self.lamports(from_, -amount)
        self.lamports(to, amount)

    def read(self, kind: str, at: Pubkey) -> dict[str, Any]:
        account = self.account(at)
        assert account is not None, kind
        fields: dict[str, Any] = idl(NAMES[_OWNERS[kind]]).accounts[kind].read(account.data)
        return fields

    def write(self, kind: str, at: Pubkey, fields: dict[str, Any]) -> None:
        form = idl(NAMES[_OWNERS[kind]]).accounts[kind]
        account = self.account(at)
        owner = list(self._programs)[_OWNERS[kind]]
        data = form.discriminator + form.fields.write(fields)
        self.changed[at] = Account(account.lamports if account else 0, data, owner)

    def make(self, kind: str, at: Pubkey, payer: Pubkey, **fields: Any) -> None:
        form = idl(NAMES[_OWNERS[kind]]).accounts[kind]
        empty = form.fields.read(Reader(bytes(form.size - 8)))
        self.write(kind, at, empty | {"version": 1} | fields)
        self.move(payer, at, self._svm.minimum_balance_for_rent_exemption(form.size))

    def change(self, kind: str, at: Pubkey, **fields: Any) -> None:
        self.write(kind, at, self.read(kind, at) | fields)

    # -- EventFactory --

    def event_factory_create_event(self, a: dict[str, Pubkey], **g: Any) -> None:
        artist, event = a["artist"], a["event"]
        places = EventPlaces.of(self._programs, event)
        same = {k: g[k] for k in ("starts_at", "scheduled_end", "tip_extension", "metadata")}
        self.make(
            "Event",
            event,
            artist,
            artist=artist,
            nonce=g["nonce"],
            stream_authority=g["stream_authority"],
            authority_since=self._slot,
            rta_mint=places.rta_mint.address,
            created_at=self._now,
            title=g["title"].encode().ljust(64, b"\0"),
            ticket_program=self._programs.ticket_factory,
            tipping_program=self._programs.live_tipping,
            **same,
        )
        authority = g["stream_authority"]
        self.make("Checkpoint", places.checkpoint.address, artist, event=event, authority=authority)
        self.make("Sale", places.sale.address, artist, event=event, artist=artist)
        closes = g["scheduled_end"]
        vault = places.vault.address
        self.make("Vault", vault, artist, event=event, artist=artist, tips_close_at=closes)

    def event_factory_add_tier(self, a: dict[str, Pubkey], tier: dict[str, Any]) -> None:
        sale = self.read("Sale", a["sale"])
        tiers = list(sale["tiers"])
        tiers[sale["tier_len"]] = tier | {"sold": 0}
        self.change("Sale", a["sale"], tiers=tuple(tiers), tier_len=sale["tier_len"] + 1)

    def event_factory_open(self, a: dict[str, Pubkey]) -> None:
        self.change("Event", a["event"], status=1)
        self.change("Sale", a["sale"], state=1)
        self.change("Vault", a["vault"], state=1)

    def event_factory_end_event(self, a: dict[str, Pubkey]) -> int | None:
        if self.read("Event", a["event"])["status"] > 2:
            return 6000
        self.change("Event", a["event"], status=3, ended_at=self._now)
        self.change("Sale", a["sale"], state=2)
        self.change("Vault", a["vault"], state=2)
        return None

    def event_factory_cancel(self, a: dict[str, Pubkey]) -> None:
        self.change("Event", a["event"], status=5)
        self.change("Sale", a["sale"], state=4)
        self.change("Vault", a["vault"], state=4)

    def event_factory_finalize(self, a: dict[str, Pubkey]) -> int | None:
        event = self.read("Event", a["event"])
        if event["status"] != 3:
            return 6000
        for kind, name, sum_ in (("Sale", "sale", "proceeds"), ("Vault", "vault", "total")):
            pot = self.read(kind, a[name])
            payees = list(pot["payees"])
            payees[0] = {"payee": event["artist"], "amount": pot[sum_], "claimed": False}
            self.change(kind, a[name], payees=tuple(payees), payee_len=1, state=3)
        leader = self.read("Vault", a["vault"])["leader"]
        winner = leader if leader != NOBODY else event["artist"]
        self.change("Event", a["event"], status=4, winner=winner, finalized_at=self._now)
        return None

    def event_factory_deliver_rta(self, a: dict[str, Pubkey]) -> None:
        self.change("Event", a["event"], rta_delivered=True)

    # -- TicketFactory --

    def ticket_factory_buy(
        self, a: dict[str, Pubkey], tier: int, count: int, max_price: int, bump: int
    ) -> int | None:
        sale = self.read("Sale", a["sale"])
        tiers = list(sale["tiers"])
        one = tiers[tier]
        if one["sold"] + count > one["supply"]:
            return 6000
        tiers[tier] = one | {"sold": one["sold"] + count}
        cost = one["price"] * count
        sold = {"proceeds": sale["proceeds"] + cost, "tickets": sale["tickets"] + count}
        self.change("Sale", a["sale"], tiers=tuple(tiers), **sold)
        self.move(a["buyer"], a["sale"], cost)
        if self.account(a["ticket"]) is None:
            who = {"holder": a["holder"], "rent_payer": a["buyer"]}
            self.make("Ticket", a["ticket"], a["buyer"], event=sale["event"], **who)
        ticket = self.read("Ticket", a["ticket"])
        paid = list(ticket["paid"])
        paid[tier] += count
        amount = ticket["paid_amount"] + cost
        self.change("Ticket", a["ticket"], paid=tuple(paid), paid_amount=amount)
        return None

    def ticket_factory_claim(self, a: dict[str, Pubkey], index: int) -> None:
        self._claim("Sale", a["sale"], a["payee"], index)

    # -- LiveTipping --

    def live_tipping_open_record(self, a: dict[str, Pubkey], bump: int) -> None:
        who = {"tipper": a["tipper"], "rent_payer": a["payer"]}
        self.make("TipRecord", a["record"], a["payer"], vault=a["vault"], **who)

    def live_tipping_tip(self, a: dict[str, Pubkey], amount: int, message: str) -> int | None:
        if amount < 1000:
            return 6000
        vault, record = self.read("Vault", a["vault"]), self.read("TipRecord", a["record"])
        self.move(a["tipper"], a["vault"], amount)
        total = record["total"] + amount
        count = record["count"] + 1
        self.change("TipRecord", a["record"], total=total, count=count, last_slot=self._slot)
        leads = total > vault["leader_total"]
        leader = {"leader": a["tipper"], "leader_total": total} if leads else {}
        tipped = {"total": vault["total"] + amount, "tips": vault["tips"] + 1}
        self.change("Vault", a["vault"], **tipped, **leader)
        form = idl("live_tipping").events["Tipped"]
        fields = {
            "vault": a["vault"],
            "tipper": a["tipper"],
            "amount": amount,
            "total": total,
            "leader": leads,
            "message": message,
        }
        raw = form.discriminator + form.fields.write(fields)
        self.logs.append("Program data: " + base64.b64encode(raw).decode())
        return None

    def live_tipping_claim(self, a: dict[str, Pubkey], index: int) -> None:
        self._claim("Vault", a["vault"], a["payee"], index)

    def _claim(self, kind: str, pot: Pubkey, payee: Pubkey, index: int) -> None:
        payees = list(self.read(kind, pot)["payees"])
        payees[index] = payees[index] | {"claimed": True}
        self.change(kind, pot, payees=tuple(payees))
        self.move(pot, payee, payees[index]["amount"])

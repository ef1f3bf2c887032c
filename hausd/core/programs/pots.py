"""The instructions of the two programs that keep money: tickets and tips."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import Programs
from hausd.core.programs.addresses import SYSTEM, EventPlaces, Pda, ticket_place, tip_place
from hausd.core.programs.idl import idl
from hausd.core.programs.payments import SOL, Accounts, Payment


class PotBuilder:
    """Makes instructions for TicketFactory and LiveTipping."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs

    # -- TicketFactory --

    def buy(
        self,
        buyer: Pubkey,
        event: Pubkey,
        holder: Pubkey,
        *,
        tier: int,
        count: int,
        max_price: int,
        payment: Payment = SOL,
    ) -> Instruction:
        """Buys tickets, for oneself or another; ``max_price`` is for one ticket."""
        ticket, sale = self._ticket(event, holder), self._places(event).sale.address
        accounts = {
            "buyer": buyer,
            "sale": sale,
            "ticket": ticket.address,
            "holder": holder,
            "system_program": SYSTEM,
        } | payment.accounts("buyer", buyer, "sale", sale)
        return self._tickets(
            "buy", accounts, tier=tier, count=count, max_price=max_price, bump=ticket.bump
        )

    def gift(
        self, artist: Pubkey, event: Pubkey, holder: Pubkey, tier: int, count: int
    ) -> Instruction:
        """Puts somebody on the guest list."""
        ticket = self._ticket(event, holder)
        accounts = {
            "artist": artist,
            "sale": self._places(event).sale.address,
            "ticket": ticket.address,
            "holder": holder,
            "system_program": SYSTEM,
        }
        return self._tickets("gift", accounts, tier=tier, count=count, bump=ticket.bump)

    def transfer(
        self, holder: Pubkey, event: Pubkey, to: Pubkey, tier: int, count: int
    ) -> Instruction:
        """Passes tickets on."""
        target = self._ticket(event, to)
        accounts = {
            "holder": holder,
            "sale": self._places(event).sale.address,
            "from_ticket": self._ticket(event, holder).address,
            "to_ticket": target.address,
            "to": to,
            "system_program": SYSTEM,
        }
        return self._tickets("transfer", accounts, tier=tier, count=count, bump=target.bump)

    def refund_ticket(
        self,
        holder: Pubkey,
        event: Pubkey,
        rent_payer: Pubkey,
        tier: int,
        count: int,
        payment: Payment = SOL,
    ) -> Instruction:
        """Gives tickets back for what was paid."""
        sale = self._places(event).sale.address
        accounts = {
            "holder": holder,
            "sale": sale,
            "ticket": self._ticket(event, holder).address,
            "rent_payer": rent_payer,
        } | payment.accounts("holder", holder, "sale", sale)
        return self._tickets("refund", accounts, tier=tier, count=count)

    def claim_sale(
        self, event: Pubkey, payee: Pubkey, index: int, payment: Payment = SOL
    ) -> Instruction:
        """Pays a payee of the sale what it is owed; anyone may ask for it."""
        sale = self._places(event).sale.address
        accounts = {"sale": sale, "payee": payee} | payment.accounts("payee", payee, "sale", sale)
        return self._tickets("claim", accounts, index=index)

    # -- LiveTipping --

    def open_record(self, payer: Pubkey, event: Pubkey, tipper: Pubkey) -> Instruction:
        """Makes the account that counts what a tipper gives."""
        vault = self._places(event).vault.address
        record = tip_place(self.programs, vault, tipper)
        accounts = {
            "payer": payer,
            "vault": vault,
            "record": record.address,
            "tipper": tipper,
            "system_program": SYSTEM,
        }
        return self._tips("open_record", accounts, bump=record.bump)

    def tip(
        self, tipper: Pubkey, event: Pubkey, amount: int, message: str, payment: Payment = SOL
    ) -> Instruction:
        """Tips; the tipper's record has to be open."""
        vault = self._places(event).vault.address
        accounts = {
            "tipper": tipper,
            "vault": vault,
            "record": tip_place(self.programs, vault, tipper).address,
            "system_program": SYSTEM,
        } | payment.accounts("tipper", tipper, "vault", vault)
        return self._tips("tip", accounts, amount=amount, message=message)

    def claim_tips(
        self, event: Pubkey, payee: Pubkey, index: int, payment: Payment = SOL
    ) -> Instruction:
        """Pays a payee of the tips what it is owed; anyone may ask for it."""
        vault = self._places(event).vault.address
        accounts = {"vault": vault, "payee": payee}
        accounts |= payment.accounts("payee", payee, "vault", vault)
        return self._tips("claim", accounts, index=index)

    def refund_tips(
        self, tipper: Pubkey, event: Pubkey, rent_payer: Pubkey, payment: Payment = SOL
    ) -> Instruction:
        """Gives back what was tipped to a cancelled event."""
        vault = self._places(event).vault.address
        accounts = {
            "tipper": tipper,
            "vault": vault,
            "record": tip_place(self.programs, vault, tipper).address,
            "rent_payer": rent_payer,
        } | payment.accounts("tipper", tipper, "vault", vault)
        return self._tips("refund", accounts)

    # -- the details --

    def _places(self, event: Pubkey) -> EventPlaces:
        return EventPlaces.of(self.programs, event)

    def _ticket(self, event: Pubkey, holder: Pubkey) -> Pda:
        return ticket_place(self.programs, event, holder)

    def _tickets(self, name: str, accounts: Accounts, **arguments: object) -> Instruction:
        return idl("ticket_factory").build(self.programs.ticket_factory, name, accounts, arguments)

    def _tips(self, name: str, accounts: Accounts, **arguments: object) -> Instruction:
        return idl("live_tipping").build(self.programs.live_tipping, name, accounts, arguments)

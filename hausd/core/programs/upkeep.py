"""The platform's own instructions, and those that give the rent of accounts back."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import Programs
from hausd.core.programs.addresses import EventPlaces, config_place, ticket_place, tip_place
from hausd.core.programs.idl import idl


class Upkeep:
    """Makes instructions for the programs of one chain."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs

    # -- the platform --

    def set_config(self, authority: Pubkey, fee_bps: int, treasury: Pubkey) -> Instruction:
        """Fee, in ten thousandths, and who gets it, of events that are created from now on."""
        return self._platform(
            "set_config", "authority", authority, fee_bps=fee_bps, treasury=treasury
        )

    def propose_authority(self, authority: Pubkey, new: Pubkey) -> Instruction:
        """Offers the platform to another wallet, which has to accept it."""
        return self._platform("propose_authority", "authority", authority, new=new)

    def accept_authority(self, pending: Pubkey) -> Instruction:
        return self._platform("accept_authority", "pending", pending)

    def set_premium(self, authority: Pubkey, event: Pubkey, *, premium: bool) -> Instruction:
        """Whether relays that serve premium events first count this one among them."""
        accounts = {
            "authority": authority,
            "config": config_place(self.programs).address,
            "event": event,
        }
        build = idl("event_factory").build
        return build(self.programs.event_factory, "set_premium", accounts, {"premium": premium})

    # -- rent --

    def close_ticket(self, holder: Pubkey, event: Pubkey, rent_payer: Pubkey) -> Instruction:
        """Closes a holder's account, to who paid its rent."""
        accounts = {
            "holder": holder,
            "sale": EventPlaces.of(self.programs, event).sale.address,
            "ticket": ticket_place(self.programs, event, holder).address,
            "rent_payer": rent_payer,
        }
        program = self.programs.ticket_factory
        return idl("ticket_factory").build(program, "close_ticket", accounts, {})

    def close_record(self, tipper: Pubkey, event: Pubkey, rent_payer: Pubkey) -> Instruction:
        """Closes a tipper's record, to who paid its rent; anyone may ask."""
        vault = EventPlaces.of(self.programs, event).vault.address
        accounts = {
            "vault": vault,
            "record": tip_place(self.programs, vault, tipper).address,
            "rent_payer": rent_payer,
        }
        return idl("live_tipping").build(self.programs.live_tipping, "close_record", accounts, {})

    def _platform(self, name: str, who: str, signer: Pubkey, **arguments: object) -> Instruction:
        accounts = {who: signer, "config": config_place(self.programs).address}
        program = self.programs.event_factory
        return idl("event_factory").build(program, name, accounts, arguments)

"""The programs' instructions, made from nouns: which accounts they take is worked out here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.programs.accounts import Share, TicketTier
from hausd.core.programs.addresses import (
    ASSOCIATED_TOKEN,
    SYSTEM,
    TOKEN_2022,
    EventPlaces,
    config_place,
    event_place,
    token_place,
)
from hausd.core.programs.idl import idl
from hausd.core.programs.payments import SOL, Accounts, Payment
from hausd.core.programs.pots import PotBuilder

NONCE_BYTES = 16
_TIER_NAME_BYTES = 24


@dataclass(frozen=True, slots=True)
class NewEvent:
    """What an event begins with. Times are seconds since 1970, ``tip_extension`` seconds."""

    title: str
    starts_at: int
    scheduled_end: int
    tip_extension: int
    stream_authority: Pubkey
    metadata: CID
    payment: Payment = SOL


class Builder(PotBuilder):
    """Makes instructions for the programs of one chain: here those of EventFactory."""

    def create_event(self, artist: Pubkey, nonce: bytes, new: NewEvent) -> Instruction:
        """Makes the event with its RTA, sale and vault."""
        event = event_place(self.programs, artist, nonce)
        places = EventPlaces.of(self.programs, event.address)
        accounts = {
            "artist": artist,
            "config": config_place(self.programs).address,
            "event": event.address,
            "checkpoint": places.checkpoint.address,
            "rta_mint": places.rta_mint.address,
            "escrow": places.escrow.address,
            "sale": places.sale.address,
            "vault": places.vault.address,
            "ticket_program": self.programs.ticket_factory,
            "tipping_program": self.programs.live_tipping,
            "token2022": TOKEN_2022,
            "system_program": SYSTEM,
        } | new.payment.of_new_pots(places.sale.address, places.vault.address)
        return self._events(
            "create_event",
            accounts,
            nonce=nonce,
            event_bump=event.bump,
            checkpoint_bump=places.checkpoint.bump,
            rta_bump=places.rta_mint.bump,
            escrow_bump=places.escrow.bump,
            sale_bump=places.sale.bump,
            vault_bump=places.vault.bump,
            starts_at=new.starts_at,
            scheduled_end=new.scheduled_end,
            tip_extension=new.tip_extension,
            stream_authority=new.stream_authority,
            metadata=bytes(new.metadata),
            title=new.title,
            uri=f"ipfs://{new.metadata}",
        )

    def add_tier(self, artist: Pubkey, event: Pubkey, tier: TicketTier) -> Instruction:
        """Adds a kind of ticket to an event that is a draft still."""
        accounts = {
            "artist": artist,
            "event": event,
            "sale": self._places(event).sale.address,
            "ticket_program": self.programs.ticket_factory,
        }
        fields = {
            "price": tier.price,
            "supply": tier.supply,
            "per_wallet": tier.per_wallet,
            "sale_start": tier.sale_start,
            "sale_end": tier.sale_end,
            "transferable": tier.transferable,
            "refundable_until": tier.refundable_until,
            "name": tier.name.encode().ljust(_TIER_NAME_BYTES, b"\0"),
        }
        return self._events("add_tier", accounts, tier=fields)

    def set_split(self, artist: Pubkey, event: Pubkey, shares: Sequence[Share]) -> Instruction:
        """Shares the pots; the artist gets what is left. Payees are wallets, each named once."""
        payees = tuple({"payee": share.payee, "bps": share.bps} for share in shares)
        accounts = {"artist": artist, "event": event}
        made = self._events("set_split", accounts, payees=payees)
        # an IDL has no word for as many accounts as there are payees: the program looks at each
        wallets = [AccountMeta(share.payee, False, False) for share in shares]
        return Instruction(made.program_id, bytes(made.data), [*made.accounts, *wallets])

    def open_event(self, artist: Pubkey, event: Pubkey) -> Instruction:
        """Opens sale and tips."""
        return self._events("open", {"artist": artist} | self._with_pots(event))

    def set_metadata(self, artist: Pubkey, event: Pubkey, cid: CID) -> Instruction:
        accounts = {"artist": artist, "event": event}
        return self._events("set_metadata", accounts, cid=bytes(cid))

    def set_schedule(
        self, artist: Pubkey, event: Pubkey, starts_at: int, scheduled_end: int
    ) -> Instruction:
        accounts = {
            "artist": artist,
            "event": event,
            "vault": self._places(event).vault.address,
            "tipping_program": self.programs.live_tipping,
        }
        times = {"starts_at": starts_at, "scheduled_end": scheduled_end}
        return self._events("set_schedule", accounts, **times)

    def set_stream_authority(self, artist: Pubkey, event: Pubkey, new: Pubkey) -> Instruction:
        checkpoint = self._places(event).checkpoint.address
        accounts = {"artist": artist, "event": event, "checkpoint": checkpoint}
        return self._events("set_stream_authority", accounts, new=new)

    def go_live(self, signer: Pubkey, event: Pubkey) -> Instruction:
        """By the artist or the stream authority."""
        return self._events("go_live", {"signer": signer, "event": event})

    def checkpoint(
        self, authority: Pubkey, event: Pubkey, manifest: CID, session: SessionId, sequence: int
    ) -> Instruction:
        """Writes the newest manifest down; only ever moves forward."""
        accounts = {
            "stream_authority": authority,
            "checkpoint": self._places(event).checkpoint.address,
        }
        return self._events(
            "checkpoint",
            accounts,
            manifest=bytes(manifest),
            session_counter=session.counter,
            session_random=session.nonce,
            sequence=sequence,
        )

    def set_recording(self, signer: Pubkey, event: Pubkey, cid: CID) -> Instruction:
        """Tells the CID of the finished directory."""
        return self._events("set_recording", {"signer": signer, "event": event}, cid=bytes(cid))

    def end_event(self, signer: Pubkey, event: Pubkey) -> Instruction:
        return self._events("end_event", {"signer": signer} | self._with_pots(event))

    def finalize(self, cranker: Pubkey, event: Pubkey) -> Instruction:
        """Settles both pots and records the winner."""
        return self._events("finalize", {"cranker": cranker} | self._with_pots(event))

    def deliver_rta(
        self, cranker: Pubkey, event: Pubkey, recipient: Pubkey, artist: Pubkey
    ) -> Instruction:
        """Gives the RTA to whom it belongs; can be repeated until it succeeds. The escrow's rent
        goes back to the artist."""
        places = self._places(event)
        mint = places.rta_mint.address
        accounts = {
            "cranker": cranker,
            "event": event,
            "rta_mint": mint,
            "escrow": places.escrow.address,
            "recipient": recipient,
            "recipient_ata": token_place(recipient, mint, TOKEN_2022),
            "token2022": TOKEN_2022,
            "associated_token_program": ASSOCIATED_TOKEN,
            "system_program": SYSTEM,
            "artist": artist,
        }
        return self._events("deliver_rta", accounts)

    def set_rta_recipient(self, winner: Pubkey, event: Pubkey, new: Pubkey) -> Instruction:
        return self._events("set_rta_recipient", {"winner": winner, "event": event}, new=new)

    def cancel(self, artist: Pubkey, event: Pubkey) -> Instruction:
        """Calls an event off: tickets and tips can be refunded then."""
        return self._events("cancel", {"artist": artist} | self._with_pots(event))

    # -- the details --

    def _with_pots(self, event: Pubkey) -> Accounts:
        places = self._places(event)
        return {
            "event": event,
            "sale": places.sale.address,
            "vault": places.vault.address,
            "ticket_program": self.programs.ticket_factory,
            "tipping_program": self.programs.live_tipping,
        }

    def _events(self, name: str, accounts: Accounts, **arguments: object) -> Instruction:
        return idl("event_factory").build(self.programs.event_factory, name, accounts, arguments)

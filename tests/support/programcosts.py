"""What each instruction of the programs costs: compute units, and the bytes of its transaction.

Prints the table of ``programs/costs.json``: ``python -m tests.support.programcosts``.
"""

from __future__ import annotations

import json
from dataclasses import replace

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hausd.core.cid import CID
from hausd.core.ids import SessionId
from hausd.core.programs.accounts import Share
from hausd.core.programs.addresses import (
    EMBEDDED,
    EventPlaces,
    config_place,
    event_place,
    tip_place,
)
from hausd.core.programs.idl import idl
from hausd.core.programs.instructions import NewEvent
from tests.support.programs import MANIFEST, TIER, ProgramChain, Show
from tests.support.tokens import TOKEN_PROGRAMS, Coin

Table = dict[str, dict[str, int]]
SOL = 10**9


class Counter:
    """Sends instructions, each in its own transaction, and notes what it took."""

    def __init__(self, chain: ProgramChain) -> None:
        self.chain, self.table = chain, Table()

    def __call__(self, name: str, instruction: Instruction, by: Keypair) -> None:
        done = self.chain.send(instruction, by=by)
        rows = {"compute_units": done.units, "transaction_bytes": done.size}
        assert name not in self.table
        self.table[name] = rows


def measure() -> Table:
    """Every instruction once, at its most expensive where that is known."""
    chain = ProgramChain(fee_bps=250)
    costs = Counter(chain)
    _platform(costs)
    _whole_event(costs)
    _called_off(costs)
    for name, token_program in TOKEN_PROGRAMS.items():
        _in_tokens(costs, name, token_program)
    return dict(sorted(costs.table.items()))


def _platform(costs: Counter) -> None:
    chain, new = costs.chain, costs.chain.person()
    config = config_place(EMBEDDED).address

    def built(name: str, signer: str, by: Keypair, **arguments: object) -> Instruction:
        accounts = {signer: by.pubkey(), "config": config}
        return idl("event_factory").build(EMBEDDED.event_factory, name, accounts, arguments)

    old = chain.authority
    fee = {"fee_bps": 250, "treasury": chain.treasury.pubkey()}
    costs("event_factory.set_config", built("set_config", "authority", old, **fee), old)
    propose = built("propose_authority", "authority", old, new=new.pubkey())
    costs("event_factory.propose_authority", propose, old)
    costs("event_factory.accept_authority", built("accept_authority", "pending", new), new)
    chain.authority = new


def _whole_event(costs: Counter) -> None:
    chain, build = costs.chain, costs.chain.build
    artist, stream = chain.person(), chain.person()
    who, nonce = artist.pubkey(), bytes(range(16))
    event = event_place(EMBEDDED, who, nonce).address
    show = Show(chain, artist, stream, event, EventPlaces.of(EMBEDDED, event))
    new = NewEvent("x" * 64, chain.now + 60, chain.now + 7_200, 60, stream.pubkey(), MANIFEST)
    costs("event_factory.create_event", build.create_event(who, nonce, new), artist)
    costs("event_factory.add_tier", build.add_tier(who, event, TIER), artist)
    payees = [Share(chain.person().pubkey(), 1_000) for _ in range(8)]
    costs("event_factory.set_split", build.set_split(who, event, payees), artist)
    costs("event_factory.open", build.open_event(who, event), artist)
    costs("event_factory.set_metadata", build.set_metadata(who, event, CID.of(b"m")), artist)
    starts, ends = chain.now + 60, chain.now + 7_300
    costs("event_factory.set_schedule", build.set_schedule(who, event, starts, ends), artist)
    replaced = build.set_stream_authority(who, event, stream.pubkey())
    costs("event_factory.set_stream_authority", replaced, artist)
    premium = idl("event_factory").build(
        EMBEDDED.event_factory,
        "set_premium",
        {
            "authority": chain.authority.pubkey(),
            "config": config_place(EMBEDDED).address,
            "event": event,
        },
        {"premium": True},
    )
    costs("event_factory.set_premium", premium, chain.authority)
    _tickets(costs, show)
    costs("event_factory.go_live", build.go_live(stream.pubkey(), event), stream)
    point = build.checkpoint(stream.pubkey(), event, CID.of(b"c"), SessionId(1, 1), 1)
    costs("event_factory.checkpoint", point, stream)
    fan = _tips(costs, show)
    chain.at(show.vault.tips_close_at + 1)
    costs("event_factory.end_event", build.end_event(who, event), artist)
    told = build.set_recording(stream.pubkey(), event, CID.of(b"r"))
    costs("event_factory.set_recording", told, stream)
    costs("event_factory.finalize", build.finalize(who, event), artist)
    named = chain.person().pubkey()
    recipient = build.set_rta_recipient(fan.pubkey(), event, named)
    costs("event_factory.set_rta_recipient", recipient, fan)
    costs("event_factory.deliver_rta", build.deliver_rta(who, event, named, who), artist)
    treasury = chain.treasury.pubkey()
    costs("ticket_factory.claim", build.claim_sale(event, treasury, 0), fan)
    costs("live_tipping.claim", build.claim_tips(event, treasury, 0), fan)
    record = {
        "vault": show.places.vault.address,
        "record": tip_place(EMBEDDED, show.places.vault.address, fan.pubkey()).address,
        "rent_payer": fan.pubkey(),
    }
    close = idl("live_tipping").build(EMBEDDED.live_tipping, "close_record", record, {})
    costs("live_tipping.close_record", close, fan)


def _tickets(costs: Counter, show: Show) -> None:
    chain, build, event = costs.chain, costs.chain.build, show.address
    buyer, guest = chain.person(), chain.person()
    who, to, price = buyer.pubkey(), guest.pubkey(), TIER.price
    first = build.buy(who, event, who, tier=0, count=2, max_price=price)
    costs("ticket_factory.buy (first of a holder)", first, buyer)
    more = build.buy(who, event, who, tier=0, count=1, max_price=price)
    costs("ticket_factory.buy", more, buyer)
    gift = build.gift(show.artist.pubkey(), event, to, 0, 1)
    costs("ticket_factory.gift (first of a holder)", gift, show.artist)
    costs("ticket_factory.transfer", build.transfer(who, event, to, 0, 1), buyer)
    costs("ticket_factory.refund", build.refund_ticket(who, event, who, 0, 1), buyer)
    ticket = {"ticket": first.accounts[2].pubkey, "holder": who}
    verify = idl("ticket_factory").build(EMBEDDED.ticket_factory, "verify", ticket, {"mask": 0})
    costs("ticket_factory.verify", verify, guest)


def _tips(costs: Counter, show: Show) -> Keypair:
    chain, build, event = costs.chain, costs.chain.build, show.address
    fan, late = chain.person(), chain.person()
    who = fan.pubkey()
    costs("live_tipping.open_record", build.open_record(who, event, who), fan)
    costs("live_tipping.tip (no message)", build.tip(who, event, SOL, ""), fan)
    costs("live_tipping.tip (140 bytes)", build.tip(who, event, SOL, "x" * 140), fan)
    chain.at(show.event.scheduled_end - 10)
    chain.send(build.open_record(late.pubkey(), event, late.pubkey()), by=late)
    extending = build.tip(late.pubkey(), event, 3 * SOL, "x" * 140)
    costs("live_tipping.tip (140 bytes, takes the lead late)", extending, late)
    return late


def _called_off(costs: Counter) -> None:
    chain = costs.chain
    show = Show.opened(chain)
    fan = chain.person()
    who = fan.pubkey()
    show.buy(fan, 1)
    show.tip(fan, SOL)
    cancel = chain.build.cancel(show.artist.pubkey(), show.address)
    costs("event_factory.cancel", cancel, show.artist)
    costs("live_tipping.refund", chain.build.refund_tips(who, show.address, who), fan)


def _in_tokens(costs: Counter, name: str, token_program: Pubkey) -> None:
    chain, build = costs.chain, costs.chain.build
    coin = Coin.made(chain, token_program)
    artist, fan = chain.person(), chain.person()
    coin.give(fan.pubkey(), SOL)
    who, me, paid = artist.pubkey(), fan.pubkey(), coin.payment
    nonce = bytes(16)
    event = event_place(EMBEDDED, who, nonce).address
    show = Show(chain, artist, fan, event, EventPlaces.of(EMBEDDED, event), paid)
    new = NewEvent("x" * 64, chain.now + 60, chain.now + 7_200, 0, who, MANIFEST, paid)
    costs(f"event_factory.create_event ({name})", build.create_event(who, nonce, new), artist)
    tier = replace(TIER, refundable_until=chain.now + 60)
    show.artists("add_tier", build.add_tier(who, event, tier))
    show.artists("open", build.open_event(who, event))
    price = TIER.price
    buy = build.buy(me, event, me, tier=0, count=2, max_price=price, payment=paid)
    costs(f"ticket_factory.buy (first of a holder, {name})", buy, fan)
    refund = build.refund_ticket(me, event, me, 0, 1, paid)
    costs(f"ticket_factory.refund ({name})", refund, fan)
    chain.send(build.open_record(me, event, me), by=fan)
    tip = build.tip(me, event, 1_000_000, "x" * 140, paid)
    costs(f"live_tipping.tip (140 bytes, {name})", tip, fan)
    show.end()
    show.finalize()
    treasury = chain.treasury.pubkey()
    coin.opened(treasury)
    costs(f"ticket_factory.claim ({name})", build.claim_sale(event, treasury, 0, paid), fan)
    costs(f"live_tipping.claim ({name})", build.claim_tips(event, treasury, 0, paid), fan)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))

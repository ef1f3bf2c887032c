//! Buys tickets, for oneself or another. Accounts: buyer (signs, pays), sale (written), ticket of
//! the holder (written), holder, system program; in a token: mint, token program, a token account
//! of the buyer's (written), the sale's (written).

use hausd_common::{
    account::bytes_of,
    create::pull,
    load_mut, names, require, require_signer,
    sys::{log_data, now, Now},
    tokens::{left_out, Payment, SOL},
    Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TicketError,
    state::{Sale, Ticket, Tier, SELLING},
    tickets::{hold, Place},
};

const EVENT: [u8; 8] = names::event("TicketsBought");

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct TicketsBought {
    discriminator: [u8; 8],
    event: Address,
    holder: Address,
    tier: u8,
    count: u16,
    amount: u64,
}

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [buyer, sale, ticket, holder, _system, rest @ ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let (index, count, max_price) = (data.u8()?, data.u16()?, data.u64()?);
    let bump = data.u8()?;
    data.end()?;

    require_signer(buyer)?;
    let now = now()?;
    let (event, in_sol, tier) = {
        let mut sale = load_mut::<Sale>(sale, program)?;
        require(sale.state == SELLING, TicketError::NotOnSale)?;
        let tier = *sale.tier(index)?;
        require_on_sale(&tier, now)?;
        require(tier.price <= max_price, TicketError::PriceAboveLimit)?;
        sale.issue(index, count)?;
        sale.proceeds += tier.cost(count);
        (sale.event, sale.mint == SOL, tier)
    };
    let amount = tier.cost(count);
    let place = Place {
        event: &event,
        holder: holder.address(),
        untrusted_bump: bump,
    };
    hold(program, buyer, ticket, &place)?;
    if in_sol {
        require(left_out(rest, program), Fault::PaidInSol)?;
        pull(buyer, sale, amount)?;
    } else if amount > 0 {
        let payment = Payment {
            program,
            pot: sale,
            rest,
        };
        payment.pull::<Sale>(buyer, amount)?;
    }
    let mut ticket = load_mut::<Ticket>(ticket, program)?;
    ticket.add(index, count, 0, amount)?;
    ticket.acquired_slot = now.slot;
    let bought = ticket.paid;
    require(
        tier.per_wallet == 0 || bought[index as usize] <= tier.per_wallet,
        TicketError::WalletLimit,
    )?;
    log_data(bytes_of(&TicketsBought {
        discriminator: EVENT,
        event,
        holder: *holder.address(),
        tier: index,
        count,
        amount,
    }));
    Ok(())
}

fn require_on_sale(tier: &Tier, now: Now) -> ProgramResult {
    let over = tier.sale_end != 0 && now.time >= tier.sale_end;
    require(now.time >= tier.sale_start && !over, TicketError::NotOnSale)
}

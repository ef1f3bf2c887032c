//! Gives tickets back for what was paid; those paid for go first. Accounts: holder (signs,
//! written), sale (written), ticket (written), rent payer (written); in a token: mint, token program,
//! a token account of the holder's (written), the sale's (written). An account that is empty then
//! is closed.

use hausd_common::{
    account::{bytes_of, close, rent_to, require_address, require_writable},
    create::pay,
    load_mut, names, require, require_signer,
    sys::{log_data, now},
    tokens::{left_out, Payment, SOL},
    Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TicketError,
    state::{Sale, Ticket, CLOSED, REFUNDING, SELLING},
};

const EVENT: [u8; 8] = names::event("TicketsRefunded");

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct TicketsRefunded {
    discriminator: [u8; 8],
    event: Address,
    holder: Address,
    tier: u8,
    count: u16,
    amount: u64,
}

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [holder, sale, ticket, rent_payer, rest @ ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let (index, count) = (data.u8()?, data.u16()?);
    data.end()?;

    require_signer(holder)?;
    require_writable(holder)?;
    let (event, in_sol, amount, empty) = {
        let mut sale = load_mut::<Sale>(sale, program)?;
        let mut ticket = load_mut::<Ticket>(ticket, program)?;
        require(
            ticket.event == sale.event && ticket.holder == *holder.address(),
            Fault::WrongAccount,
        )?;
        require_address(rent_payer, &ticket.rent_payer)?;
        let state = sale.state;
        let tier = sale.tier(index)?;
        require_refundable(state, tier.refundable_until)?;
        let taken = ticket.take(index, count, tier.price)?;
        tier.sold -= u32::from(count);
        sale.tickets -= u32::from(count);
        sale.proceeds -= taken.amount;
        (sale.event, sale.mint == SOL, taken.amount, ticket.is_empty())
    };
    if in_sol {
        require(left_out(rest, program), Fault::PaidInSol)?;
        pay(sale, holder, amount)?;
    } else if amount > 0 {
        let payment = Payment {
            program,
            pot: sale,
            rest,
        };
        payment.pay::<Sale>(holder.address(), amount)?;
    }
    if empty {
        close(ticket, rent_to(rent_payer, holder))?;
    }
    log_data(bytes_of(&TicketsRefunded {
        discriminator: EVENT,
        event,
        holder: *holder.address(),
        tier: index,
        count,
        amount,
    }));
    Ok(())
}

/// An event that was called off gives all back; else the tier says until when, and never once
/// the sale is settled.
fn require_refundable(state: u8, until: i64) -> ProgramResult {
    let holds = match state {
        REFUNDING => true,
        SELLING | CLOSED => now()?.time < until,
        _ => false,
    };
    require(holds, TicketError::NotRefundable)
}

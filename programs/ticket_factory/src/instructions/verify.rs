//! Says whether a holder has a ticket. Accounts: ticket, holder. Data: the tiers asked for, a bit
//! each; 0 is any. Gives back valid (u8), the tiers held (u8) and how many are of those asked for
//! (u16). The ticket's address tells the event: who asks derives it.

use hausd_common::{load, sys::return_data, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::{Ticket, MAX_TIERS};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [ticket, holder, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let asked = match data.u8()? {
        0 => u8::MAX,
        mask => mask,
    };
    data.end()?;

    let (mut held, mut count) = (0u8, 0u16);
    if let Ok(ticket) = load::<Ticket>(ticket, program) {
        if ticket.holder == *holder.address() {
            let (paid, comp) = (ticket.paid, ticket.comp);
            for tier in 0..MAX_TIERS {
                let has = paid[tier].saturating_add(comp[tier]);
                if has > 0 {
                    held |= 1 << tier;
                }
                if asked & (1 << tier) != 0 {
                    count = count.saturating_add(has);
                }
            }
        }
    }
    let many = count.to_le_bytes();
    return_data(&[u8::from(count > 0), held, many[0], many[1]]);
    Ok(())
}

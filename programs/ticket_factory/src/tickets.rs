//! A holder's account, made where there is none yet.

use hausd_common::{account::begin, create::{create, require_canonical}, load, require, Account, Fault};
use pinocchio::{error::ProgramError, AccountView, Address};

use crate::state::Ticket;

/// Whose an account is, for which event; the bump is what the client says.
pub struct Place<'a> {
    pub event: &'a Address,
    pub holder: &'a Address,
    pub untrusted_bump: u8,
}

/// Fails unless the account is the holder's for that event; makes it if there is none.
pub fn hold(
    program: &Address,
    payer: &AccountView,
    ticket: &mut AccountView,
    place: &Place,
) -> Result<(), ProgramError> {
    let (event, holder) = (place.event, place.holder);
    if ticket.owned_by(program) {
        let found = load::<Ticket>(ticket, program)?;
        return require(
            found.event == *event && found.holder == *holder,
            Fault::WrongAccount,
        );
    }
    let bump = [place.untrusted_bump];
    let seeds: [&[u8]; 4] = [b"ticket", event.as_array(), holder.as_array(), &bump];
    require_canonical(seeds, program)?;
    create(payer, ticket, Ticket::BYTES, seeds, program)?;
    let mut made = begin::<Ticket>(ticket, program)?;
    made.bump = place.untrusted_bump;
    made.event = *event;
    made.holder = *holder;
    made.rent_payer = *payer.address();
    Ok(())
}

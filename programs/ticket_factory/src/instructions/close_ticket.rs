//! Closes a holder's account: an empty one at anyone's wish, another when its holder signs and the
//! sale is settled. Accounts: holder, sale, ticket (written), rent payer (written).

use hausd_common::{
    account::{close, require_address},
    load, require, Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TicketError,
    state::{Sale, Ticket, SETTLED},
};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [holder, sale, ticket, rent_payer, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    Reader::new(data).end()?;
    {
        let sale = load::<Sale>(sale, program)?;
        let found = load::<Ticket>(ticket, program)?;
        require(
            found.event == sale.event && found.holder == *holder.address(),
            Fault::WrongAccount,
        )?;
        require_address(rent_payer, &found.rent_payer)?;
        let given_up = holder.is_signer() && sale.state == SETTLED;
        require(found.is_empty() || given_up, TicketError::TicketNotEmpty)?;
    }
    close(ticket, rent_payer)
}

//! EventFactory ends an event: no more tickets. Accounts: sale (written), event (signs).

use hausd_common::{event::require_event, load_mut, require, Fault, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::{Sale, CLOSED, SELLING};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [sale, event, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    Reader::new(data).end()?;
    let mut sale = load_mut::<Sale>(sale, program)?;
    require_event(event, &sale.event, &sale.factory)?;
    require(sale.state == SELLING, Fault::WrongState)?;
    sale.state = CLOSED;
    Ok(())
}

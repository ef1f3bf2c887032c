//! EventFactory says who gets what of the sale. Accounts: sale (written), event (signs).

use hausd_common::{event::require_event, load_mut, require, Fault, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::{Sale, CLOSED, SETTLED};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [sale, event, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let mut sale = load_mut::<Sale>(sale, program)?;
    require_event(event, &sale.event, &sale.factory)?;
    require(sale.state == CLOSED, Fault::WrongState)?;
    let proceeds = sale.proceeds;
    sale.payouts.settle(&mut data, proceeds)?;
    data.end()?;
    sale.state = SETTLED;
    Ok(())
}

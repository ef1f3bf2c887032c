//! EventFactory says who gets what of the tips. Accounts: vault (written), event (signs).

use hausd_common::{event::require_event, load_mut, require, Fault, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::{Vault, CLOSED, SETTLED};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [vault, event, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let mut vault = load_mut::<Vault>(vault, program)?;
    require_event(event, &vault.event, &vault.factory)?;
    require(vault.state == CLOSED, Fault::WrongState)?;
    let total = vault.total;
    vault.payouts.settle(&mut data, total)?;
    data.end()?;
    vault.state = SETTLED;
    Ok(())
}

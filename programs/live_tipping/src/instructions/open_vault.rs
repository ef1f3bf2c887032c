//! EventFactory opens an event: tips are taken. Accounts: vault (written), event (signs).

use hausd_common::{event::require_event, load_mut, require, Fault, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::{Vault, DRAFT, OPEN};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [vault, event, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    Reader::new(data).end()?;
    let mut vault = load_mut::<Vault>(vault, program)?;
    require_event(event, &vault.event, &vault.factory)?;
    require(vault.state == DRAFT, Fault::WrongState)?;
    vault.state = OPEN;
    Ok(())
}

//! EventFactory ends an event: no more tips. Accounts: vault (written), event (signs).
//! With an extension nobody closes before the time that was told, the artist neither: whoever takes
//! the lead, the others have that long to answer.

use hausd_common::{event::require_event, load_mut, require, sys::now, Fault, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TipError,
    state::{Vault, CLOSED, OPEN},
};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [vault, event, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    Reader::new(data).end()?;
    let mut vault = load_mut::<Vault>(vault, program)?;
    require_event(event, &vault.event, &vault.factory)?;
    require(vault.state == OPEN, Fault::WrongState)?;
    require(
        vault.extension == 0 || now()?.time >= vault.tips_close_at,
        TipError::TipsOpen,
    )?;
    vault.state = CLOSED;
    Ok(())
}

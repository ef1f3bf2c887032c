//! EventFactory moves the time at which tips close. Accounts: vault (written), event (signs).
//! What a late tip has put off stays put off. With an extension the others can always answer: the
//! close is told that long before, and what has closed stays closed.

use hausd_common::{event::require_event, load_mut, require, sys::now, Fault, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TipError,
    state::{Vault, DRAFT, OPEN},
};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [vault, event, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let (tips_close_at, latest_close_at) = (data.i64()?, data.i64()?);
    data.end()?;

    let mut vault = load_mut::<Vault>(vault, program)?;
    require_event(event, &vault.event, &vault.factory)?;
    require(matches!(vault.state, DRAFT | OPEN), Fault::WrongState)?;
    require(tips_close_at <= latest_close_at, TipError::BadClose)?;
    require(
        vault.extended == 0 || tips_close_at >= vault.tips_close_at,
        TipError::BadClose,
    )?;
    if vault.extension > 0 && vault.state == OPEN {
        let now = now()?.time;
        let soonest = vault.tips_close_at.min(now + i64::from(vault.extension));
        require(
            now < vault.tips_close_at && tips_close_at >= soonest,
            TipError::BadClose,
        )?;
    }
    vault.tips_close_at = tips_close_at;
    vault.latest_close_at = latest_close_at;
    Ok(())
}

//! Called off, before the end: tickets and tips can be had back.

use hausd_common::load_mut;
use pinocchio::{AccountView, Address, ProgramResult};

use super::{log_status, nothing, require_artist, require_status, take, Pots};
use crate::{
    pots::{tell, Data, CANCEL_SALE, CANCEL_VAULT},
    state::{status, Event},
};

/// `[artist (s), event (w), sale (w), vault (w), ticket_program, tipping_program]`
pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [artist, event, sale, vault, tickets, tips] = take::<6>(accounts)?;
    nothing(data)?;
    let pots = {
        let mut event = load_mut::<Event>(event, program)?;
        require_artist(artist, &event)?;
        require_status(&event, &[status::DRAFT, status::OPEN, status::LIVE])?;
        event.status = status::CANCELLED;
        Pots::of(&event, tickets, tips)?
    };
    tell(&pots.ticket_program, sale, event, &Data::of(CANCEL_SALE), &pots.seeds)?;
    tell(&pots.tipping_program, vault, event, &Data::of(CANCEL_VAULT), &pots.seeds)?;
    log_status(event.address(), status::CANCELLED);
    Ok(())
}

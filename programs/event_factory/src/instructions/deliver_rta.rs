//! The RTA to its winner: by anyone, as often as it takes, since a recipient's account may refuse.

use hausd_common::{
    account::require_address, load_mut, require, require_signer, require_writable, Reader,
};
use pinocchio::{AccountView, Address, ProgramResult};

use super::{require_status, take};
use crate::{
    error::Refusal,
    state::{status, Event},
    token,
};

/// `[cranker (s w), event (w), rta_mint, escrow (w), recipient, recipient_ata (w),
/// token_2022, associated_token_program, system, artist (w)]`
pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [cranker, event, mint, escrow, recipient, account, token_2022, _associated, system, artist] =
        take::<10>(accounts)?;
    super::nothing(data)?;
    require_signer(cranker)?;
    token::require_token_2022(token_2022)?;
    let (seeds, wanted, rta_mint, maker) = {
        let mut known = load_mut::<Event>(event, program)?;
        require_status(&known, &[status::FINALIZED, status::CANCELLED])?;
        require(known.rta_delivered == 0, Refusal::AlreadyDelivered)?;
        known.rta_delivered = 1;
        let (artist, winner, named) = (known.artist, known.winner, known.rta_recipient);
        let wanted = if named != Address::default() {
            named
        } else if winner != Address::default() {
            winner
        } else {
            artist
        };
        (known.seeds(), wanted, known.rta_mint, known.artist)
    };
    require_address(recipient, &wanted)?;
    require_address(mint, &rta_mint)?;
    require_address(artist, &maker)?;
    // An artist who makes a program of their own address can't be given anything, and must not keep
    // the RTA from the winner by that: then who delivers gets the rent.
    let rent_to = if artist.executable() { &*cranker } else { &*artist };
    require_writable(rent_to)?;
    // Token-2022 checks that the escrow is the event's and of this mint; only one such holds it.
    let delivery = token::Delivery {
        payer: cranker,
        escrow,
        mint,
        event,
        recipient,
        account,
        token_program: token_2022,
        system,
        rent_to,
    };
    token::deliver(&delivery, &seeds)
}

/// `[winner (s), event (w)]`; `new`: the account that the RTA is for instead
pub fn set_recipient(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [winner, event] = take::<2>(accounts)?;
    let mut data = Reader::new(data);
    let new = data.address()?;
    data.end()?;
    let mut event = load_mut::<Event>(event, program)?;
    let (who, artist) = (event.winner, event.artist);
    let cancelled = event.status == status::CANCELLED;
    require_status(&event, &[status::FINALIZED, status::CANCELLED])?;
    let owner = if cancelled { artist } else { who };
    require(
        winner.is_signer() && winner.address() == &owner && event.rta_delivered == 0,
        Refusal::Unauthorized,
    )?;
    event.rta_recipient = new;
    Ok(())
}

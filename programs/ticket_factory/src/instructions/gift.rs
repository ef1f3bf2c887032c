//! The artist puts somebody on the guest list. Accounts: artist (signs, pays the rent), sale
//! (written), ticket of the holder (written), holder, system program.

use hausd_common::{
    account::require_address, load_mut, require, require_signer, sys::now, Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    state::{Sale, Ticket, SELLING},
    tickets::{hold, Place},
};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [artist, sale, ticket, holder, _system, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let (tier, count) = (data.u8()?, data.u16()?);
    let bump = data.u8()?;
    data.end()?;

    require_signer(artist)?;
    let event = {
        let mut sale = load_mut::<Sale>(sale, program)?;
        require_address(artist, &sale.artist)?;
        require(sale.state == SELLING, Fault::WrongState)?;
        sale.issue(tier, count)?;
        sale.event
    };
    let place = Place {
        event: &event,
        holder: holder.address(),
        untrusted_bump: bump,
    };
    hold(program, artist, ticket, &place)?;
    let mut ticket = load_mut::<Ticket>(ticket, program)?;
    ticket.add(tier, 0, count, 0)?;
    ticket.acquired_slot = now()?.slot;
    Ok(())
}

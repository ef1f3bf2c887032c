//! EventFactory makes the sale of a new event. Accounts: payer (signs, pays), sale
//! (written), event (signs), system program.

use hausd_common::{
    account::begin, create::create, event::factory_of, require, Account, Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::Sale;

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [payer, sale, event, _system, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let bump = data.u8()?;
    let (artist, mint, token_program) = (data.address()?, data.address()?, data.address()?);
    data.end()?;

    let sol = Address::default();
    require(mint == sol && token_program == sol, Fault::UnknownTokenProgram)?;
    let factory = factory_of(event)?;
    let seeds: [&[u8]; 3] = [b"sale", event.address().as_array(), &[bump]];
    create(payer, sale, Sale::BYTES, seeds, program)?;

    let mut sale = begin::<Sale>(sale, program)?;
    sale.bump = bump;
    sale.event = *event.address();
    sale.factory = factory;
    sale.artist = artist;
    Ok(())
}

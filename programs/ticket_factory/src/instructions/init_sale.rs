//! EventFactory makes the sale of a new event. Accounts: payer (signs, pays), sale
//! (written), event (signs), system program;
//! for payment in a token: mint, token program, token account (written).

use hausd_common::{
    account::begin, create::create, event::factory_of, 
    tokens::{NewPot, Purse}, Account, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::Sale;

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [payer, sale, event, _system, rest @ ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let bump = data.u8()?;
    let (artist, mint, token_program) = (data.address()?, data.address()?, data.address()?);
    data.end()?;

    let factory = factory_of(event)?;
    let seeds: [&[u8]; 3] = [b"sale", event.address().as_array(), &[bump]];
    create(payer, sale, Sale::BYTES, seeds, program)?;

    let purse = Purse {
        mint,
        token_program,
        event: *event.address(),
        bump: [bump],
    };
    let new = NewPot {
        payer,
        pot: sale,
        rest,
        purse: &purse,
    };
    new.make_tokens::<Sale>()?;

    let mut sale = begin::<Sale>(sale, program)?;
    sale.bump = bump;
    sale.event = purse.event;
    sale.mint = purse.mint;
    sale.token_program = purse.token_program;
    sale.factory = factory;
    sale.artist = artist;
    Ok(())
}

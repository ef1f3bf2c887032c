//! EventFactory makes the vault of a new event. Accounts: payer (signs, pays), vault
//! (written), event (signs), system program;
//! for payment in a token: mint, token program, token account (written).

use hausd_common::{
    account::begin, create::create, event::factory_of, require,
    tokens::{NewPot, Purse}, Account, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{error::TipError, state::Vault};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [payer, vault, event, _system, rest @ ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let bump = data.u8()?;
    let (artist, mint, token_program) = (data.address()?, data.address()?, data.address()?);
    let (tips_close_at, latest_close_at) = (data.i64()?, data.i64()?);
    let extension = data.u32()?;
    data.end()?;

    let factory = factory_of(event)?;
    require(tips_close_at <= latest_close_at, TipError::BadClose)?;
    let seeds: [&[u8]; 3] = [b"vault", event.address().as_array(), &[bump]];
    create(payer, vault, Vault::BYTES, seeds, program)?;

    let purse = Purse {
        mint,
        token_program,
        event: *event.address(),
        bump: [bump],
    };
    let new = NewPot {
        payer,
        pot: vault,
        rest,
        purse: &purse,
    };
    new.make_tokens::<Vault>()?;

    let mut vault = begin::<Vault>(vault, program)?;
    vault.bump = bump;
    vault.event = purse.event;
    vault.mint = purse.mint;
    vault.token_program = purse.token_program;
    vault.factory = factory;
    vault.artist = artist;
    vault.tips_close_at = tips_close_at;
    vault.latest_close_at = latest_close_at;
    vault.extension = extension;
    Ok(())
}

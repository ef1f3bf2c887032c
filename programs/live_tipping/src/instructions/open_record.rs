//! Makes the account that counts what a tipper gives. Accounts: payer (signs, pays), vault,
//! record (written), tipper (need not sign: a friend may pay), system program.

use hausd_common::{account::begin, create::{create, require_canonical}, load, require, Account, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TipError,
    state::{TipRecord, Vault, OPEN},
};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [payer, vault, record, tipper, _system, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let bump = data.u8()?;
    data.end()?;

    let place = *vault.address();
    require(
        load::<Vault>(vault, program)?.state == OPEN,
        TipError::TipsClosed,
    )?;
    let seeds: [&[u8]; 4] = [
        b"tip",
        place.as_array(),
        tipper.address().as_array(),
        &[bump],
    ];
    require_canonical(seeds, program)?;
    create(payer, record, TipRecord::BYTES, seeds, program)?;

    let mut record = begin::<TipRecord>(record, program)?;
    record.bump = bump;
    record.vault = place;
    record.tipper = *tipper.address();
    record.rent_payer = *payer.address();
    Ok(())
}

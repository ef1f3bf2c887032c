//! Gives the rent of a record back to who paid it, once nothing depends on it any more; anyone may
//! ask. Accounts: vault, record (written), rent payer (written).

use hausd_common::{
    account::{close, require_address},
    load, require, Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TipError,
    state::{TipRecord, Vault, REFUNDING, SETTLED},
};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [vault, record, rent_payer, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    Reader::new(data).end()?;
    let state = load::<Vault>(vault, program)?.state;
    {
        let found = load::<TipRecord>(record, program)?;
        require(found.vault == *vault.address(), Fault::WrongAccount)?;
        require_address(rent_payer, &found.rent_payer)?;
        require(matches!(state, SETTLED | REFUNDING), Fault::WrongState)?;
        require(
            state == SETTLED || found.total == 0,
            TipError::RecordHasTips,
        )?;
    }
    close(record, rent_payer)
}

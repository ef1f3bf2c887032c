//! Pays one payee of a settled vault; anyone may ask for it. Accounts: vault (written), payee
//! (written). A payee whose account would be too small to be kept waits: it can be asked again.

use hausd_common::{
    account::{bytes_of, require_writable},
    create::pay,
    load_mut, names, require,
    sys::{log_data, rent},
    Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::{Vault, SETTLED};

const EVENT: [u8; 8] = names::event("Claimed");

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Claimed {
    discriminator: [u8; 8],
    pot: Address,
    event: Address,
    payee: Address,
    amount: u64,
}

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [vault, payee, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let index = data.u8()?;
    data.end()?;

    require_writable(payee)?;
    let (event, amount) = {
        let mut vault = load_mut::<Vault>(vault, program)?;
        require(vault.state == SETTLED, Fault::WrongState)?;
        (vault.event, vault.payouts.take(index, payee.address())?)
    };
    let kept = rent(payee.data_len())?;
    require(payee.lamports() + amount >= kept, Fault::PayeeBelowRent)?;
    pay(vault, payee, amount)?;
    log_data(bytes_of(&Claimed {
        discriminator: EVENT,
        pot: *vault.address(),
        event,
        payee: *payee.address(),
        amount,
    }));
    Ok(())
}

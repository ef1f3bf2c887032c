//! Gives back what was tipped to an event that was called off, and closes the record. Accounts:
//! tipper (signs, written), vault (written), record (written), rent payer (written); in a token: mint, token
//! program, a token account of the tipper's (written), the vault's (written).

use hausd_common::{
    account::{bytes_of, close, rent_to, require_address},
    create::pay,
    load, load_mut, names, require, require_signer,
    sys::log_data,
    tokens::{left_out, Payment, SOL},
    Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::state::{TipRecord, Vault, REFUNDING};

const EVENT: [u8; 8] = names::event("Refunded");

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Refunded {
    discriminator: [u8; 8],
    vault: Address,
    tipper: Address,
    amount: u64,
}

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [tipper, vault, record, rent_payer, rest @ ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    Reader::new(data).end()?;
    require_signer(tipper)?;
    let amount = {
        let found = load::<TipRecord>(record, program)?;
        require(
            found.vault == *vault.address() && found.tipper == *tipper.address(),
            Fault::WrongAccount,
        )?;
        require_address(rent_payer, &found.rent_payer)?;
        found.total
    };
    let in_sol = {
        let mut vault = load_mut::<Vault>(vault, program)?;
        require(vault.state == REFUNDING, Fault::WrongState)?;
        vault.total -= amount;
        vault.mint == SOL
    };
    if in_sol {
        require(left_out(rest, program), Fault::PaidInSol)?;
        pay(vault, tipper, amount)?;
    } else if amount > 0 {
        let payment = Payment {
            program,
            pot: vault,
            rest,
        };
        payment.pay::<Vault>(tipper.address(), amount)?;
    }
    close(record, rent_to(rent_payer, tipper))?;
    log_data(bytes_of(&Refunded {
        discriminator: EVENT,
        vault: *vault.address(),
        tipper: *tipper.address(),
        amount,
    }));
    Ok(())
}

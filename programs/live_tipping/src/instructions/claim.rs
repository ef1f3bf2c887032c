//! Pays one payee of a settled vault; anyone may ask for it. Accounts: vault (written), payee
//! (written). In a token: mint, token program, a token account of the payee's (written), the
//! vault's (written). A payee whose account would be too small to be kept, or takes no tokens
//! now, waits: it can be asked again.

use hausd_common::{
    account::{bytes_of, require_writable},
    create::pay,
    load_mut, names, require,
    sys::{log_data, rent},
    tokens::{left_out, Payment, SOL},
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
    let [vault, payee, rest @ ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let index = data.u8()?;
    data.end()?;

    let (event, amount, in_sol) = {
        let mut vault = load_mut::<Vault>(vault, program)?;
        require(vault.state == SETTLED, Fault::WrongState)?;
        let amount = vault.payouts.take(index, payee.address())?;
        (vault.event, amount, vault.mint == SOL)
    };
    if in_sol {
        require(left_out(rest, program), Fault::PaidInSol)?;
        require_writable(payee)?;
        let kept = rent(payee.data_len())?;
        require(payee.lamports() + amount >= kept, Fault::PayeeBelowRent)?;
        pay(vault, payee, amount)?;
    } else if amount > 0 {
        let payment = Payment {
            program,
            pot: vault,
            rest,
        };
        payment.pay::<Vault>(payee.address(), amount)?;
    }
    log_data(bytes_of(&Claimed {
        discriminator: EVENT,
        pot: *vault.address(),
        event,
        payee: *payee.address(),
        amount,
    }));
    Ok(())
}

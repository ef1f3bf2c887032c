//! New accounts at derived addresses.

use pinocchio::{
    cpi::{Seed, Signer},
    error::ProgramError,
    AccountView, Address,
};
use pinocchio_system::instructions::{Allocate, Assign, CreateAccount, Transfer};

use crate::{
    error::Fault,
    sys::{derives, rent},
};

/// Makes an account of `bytes` at the address of `seeds`, paid by `payer`.
///
/// Somebody may have sent lamports there before: then what is missing is added, and the account
/// is made in steps, so that nobody can keep it from being made.
#[inline(always)]
pub fn create<const N: usize>(
    payer: &AccountView,
    account: &mut AccountView,
    bytes: usize,
    seeds: [&[u8]; N],
    program: &Address,
) -> Result<(), ProgramError> {
    let new = New {
        payer,
        account,
        bytes,
        grown: bytes,
        owner: program,
    };
    create_for(new, seeds)
}

/// An account for an `owner` that may be another program than this, whose seeds give its address,
/// with the rent of `grown` bytes, where the owner will make it larger.
pub struct New<'a> {
    pub payer: &'a AccountView,
    pub account: &'a mut AccountView,
    pub bytes: usize,
    pub grown: usize,
    pub owner: &'a Address,
}

/// The same as `create`.
#[inline(never)]
pub fn create_for<const N: usize>(new: New, seeds: [&[u8]; N]) -> Result<(), ProgramError> {
    let New {
        payer,
        account,
        bytes,
        grown,
        owner,
    } = new;
    // That the seeds give this address is checked by the runtime, when the account has to sign for
    // its making: nobody else can sign for it, since a signature that it brings along is refused.
    if account.is_signer() {
        return Err(ProgramError::InvalidSeeds);
    }
    if account.data_len() != 0 || !account.owned_by(&pinocchio_system::ID) {
        return Err(ProgramError::AccountAlreadyInitialized);
    }
    if !payer.is_signer() {
        return Err(ProgramError::MissingRequiredSignature);
    }
    let wanted = rent(grown)?;
    let seeds = seeds.map(Seed::from);
    let signers = [Signer::from(&seeds)];
    let space = bytes as u64;
    let has = account.lamports();
    if has == 0 {
        return CreateAccount {
            from: payer,
            to: account,
            lamports: wanted,
            space,
            owner,
        }
        .invoke_signed(&signers);
    }
    if has < wanted {
        Transfer {
            from: payer,
            to: account,
            lamports: wanted - has,
        }
        .invoke()?;
    }
    Allocate { account, space }.invoke_signed(&signers)?;
    Assign { account, owner }.invoke_signed(&signers)
}

/// Fails where a higher bump, the last of the seeds, gives an address too: of several that could
/// be, an account has the one that everybody derives. Half of all have the highest bump: no cost.
#[inline(never)]
pub fn require_canonical<const N: usize>(
    seeds: [&[u8]; N],
    program: &Address,
) -> Result<(), ProgramError> {
    let bump = match seeds[N - 1] {
        [bump] => *bump,
        _ => return Err(ProgramError::InvalidSeeds),
    };
    for lower in bump..u8::MAX {
        let higher = [lower + 1];
        let mut tried = seeds;
        tried[N - 1] = &higher;
        if derives(&tried, program) {
            return Err(ProgramError::InvalidSeeds);
        }
    }
    Ok(())
}

/// Takes lamports from who signs.
pub fn pull(from: &AccountView, to: &AccountView, lamports: u64) -> Result<(), ProgramError> {
    if !from.is_signer() {
        return Err(ProgramError::MissingRequiredSignature);
    }
    Transfer { from, to, lamports }.invoke()
}

/// Pays lamports out of an account of this program, which keeps its rent.
pub fn pay(
    from: &mut AccountView,
    to: &mut AccountView,
    lamports: u64,
) -> Result<(), ProgramError> {
    if from.address() == to.address() {
        return Err(Fault::WrongAccount.into());
    }
    let left = from.lamports().checked_sub(lamports);
    match left {
        Some(left) if left >= rent(from.data_len())? => {
            from.set_lamports(left);
            to.set_lamports(to.lamports() + lamports);
            Ok(())
        }
        _ => Err(Fault::Insolvent.into()),
    }
}

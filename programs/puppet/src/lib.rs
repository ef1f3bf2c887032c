//! For tests alone, never deployed: calls any program as it is told and signs as its own account,
//! as a hostile program would.
//!
//! Data: 0, bump, seed (8): makes an account of 8 bytes at that address; accounts payer, account,
//! system program. Or 1, bump, seed (8), count, a flag for each account (1 signs, 2 written), and
//! what the called program gets; accounts: the program, then its own.
#![no_std]

use hausd_common::{create::create, Fault, Reader};
use pinocchio::{
    cpi::{invoke_signed_with_bounds, Seed, Signer},
    error::ProgramError,
    instruction::{InstructionAccount, InstructionView},
    no_allocator, nostd_panic_handler, program_entrypoint, AccountView, Address, ProgramResult,
};

program_entrypoint!(process, 20);
no_allocator!();
nostd_panic_handler!();

const MAX_ACCOUNTS: usize = 16;

pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let mut reader = Reader::new(data);
    let (op, bump, seed) = (reader.u8()?, [reader.u8()?], reader.array::<8>()?);
    if op == 0 {
        let [payer, account, ..] = accounts else {
            return Err(ProgramError::NotEnoughAccountKeys);
        };
        return create(payer, account, 8, [&seed, &bump], program);
    }
    let count = reader.u8()? as usize;
    let (Some(flags), Some(passed), Some((called, rest))) = (
        data.get(11..11 + count),
        data.get(11 + count..),
        accounts.split_first(),
    ) else {
        return Err(Fault::BadData.into());
    };
    if count > MAX_ACCOUNTS || count > rest.len() {
        return Err(Fault::BadData.into());
    }
    let metas: [InstructionAccount; MAX_ACCOUNTS] = core::array::from_fn(|i| match i < count {
        true => InstructionAccount::new(rest[i].address(), flags[i] & 2 != 0, flags[i] & 1 != 0),
        false => InstructionAccount::readonly(called.address()),
    });
    let seeds = [Seed::from(&seed), Seed::from(&bump)];
    let view = InstructionView {
        program_id: called.address(),
        accounts: &metas[..count],
        data: passed,
    };
    invoke_signed_with_bounds::<MAX_ACCOUNTS, _>(&view, &rest[..count], &[Signer::from(&seeds)])
}

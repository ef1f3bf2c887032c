//! LiveTipping: who tips an event most gets its recording.
#![no_std]

use hausd_common::names::instruction;
use pinocchio::{
    error::ProgramError, no_allocator, nostd_panic_handler, program_entrypoint, AccountView,
    Address, ProgramResult,
};

mod error;
mod instructions;
mod state;

program_entrypoint!(process, 12);
no_allocator!();
nostd_panic_handler!();

const INIT_VAULT: [u8; 8] = instruction("init_vault");
const OPEN_VAULT: [u8; 8] = instruction("open_vault");
const SET_CLOSE: [u8; 8] = instruction("set_close");
const CLOSE_VAULT: [u8; 8] = instruction("close_vault");
const SETTLE: [u8; 8] = instruction("settle");
const CANCEL_VAULT: [u8; 8] = instruction("cancel_vault");
const OPEN_RECORD: [u8; 8] = instruction("open_record");
const TIP: [u8; 8] = instruction("tip");
const CLAIM: [u8; 8] = instruction("claim");
const REFUND: [u8; 8] = instruction("refund");
const CLOSE_RECORD: [u8; 8] = instruction("close_record");

pub fn process(program: &Address, accounts: &mut [AccountView], untrusted: &[u8]) -> ProgramResult {
    use instructions as i;
    let Some((name, data)) = untrusted.split_first_chunk::<8>() else {
        return Err(ProgramError::InvalidInstructionData);
    };
    match *name {
        TIP => i::tip::run(program, accounts, data),
        OPEN_RECORD => i::open_record::run(program, accounts, data),
        CLAIM => i::claim::run(program, accounts, data),
        REFUND => i::refund::run(program, accounts, data),
        CLOSE_RECORD => i::close_record::run(program, accounts, data),
        INIT_VAULT => i::init_vault::run(program, accounts, data),
        OPEN_VAULT => i::open_vault::run(program, accounts, data),
        SET_CLOSE => i::set_close::run(program, accounts, data),
        CLOSE_VAULT => i::close_vault::run(program, accounts, data),
        SETTLE => i::settle::run(program, accounts, data),
        CANCEL_VAULT => i::cancel_vault::run(program, accounts, data),
        _ => Err(ProgramError::InvalidInstructionData),
    }
}

//! TicketFactory: tiers, sale, gifts, transfers, refunds, and what a ticket proves.
#![no_std]

use hausd_common::names::instruction;
use pinocchio::{
    error::ProgramError, no_allocator, nostd_panic_handler, program_entrypoint, AccountView,
    Address, ProgramResult,
};

mod error;
mod instructions;
mod state;
mod tickets;

program_entrypoint!(process, 12);
no_allocator!();
nostd_panic_handler!();

const INIT_SALE: [u8; 8] = instruction("init_sale");
const ADD_TIER: [u8; 8] = instruction("add_tier");
const OPEN_SALE: [u8; 8] = instruction("open_sale");
const CLOSE_SALE: [u8; 8] = instruction("close_sale");
const SETTLE: [u8; 8] = instruction("settle");
const CANCEL_SALE: [u8; 8] = instruction("cancel_sale");
const BUY: [u8; 8] = instruction("buy");
const GIFT: [u8; 8] = instruction("gift");
const TRANSFER: [u8; 8] = instruction("transfer");
const REFUND: [u8; 8] = instruction("refund");
const VERIFY: [u8; 8] = instruction("verify");
const CLAIM: [u8; 8] = instruction("claim");
const CLOSE_TICKET: [u8; 8] = instruction("close_ticket");

pub fn process(program: &Address, accounts: &mut [AccountView], untrusted: &[u8]) -> ProgramResult {
    use instructions as i;
    let Some((name, data)) = untrusted.split_first_chunk::<8>() else {
        return Err(ProgramError::InvalidInstructionData);
    };
    match *name {
        BUY => i::buy::run(program, accounts, data),
        GIFT => i::gift::run(program, accounts, data),
        TRANSFER => i::transfer::run(program, accounts, data),
        REFUND => i::refund::run(program, accounts, data),
        VERIFY => i::verify::run(program, accounts, data),
        CLAIM => i::claim::run(program, accounts, data),
        CLOSE_TICKET => i::close_ticket::run(program, accounts, data),
        INIT_SALE => i::init_sale::run(program, accounts, data),
        ADD_TIER => i::add_tier::run(program, accounts, data),
        OPEN_SALE => i::open_sale::run(program, accounts, data),
        CLOSE_SALE => i::close_sale::run(program, accounts, data),
        SETTLE => i::settle::run(program, accounts, data),
        CANCEL_SALE => i::cancel_sale::run(program, accounts, data),
        _ => Err(ProgramError::InvalidInstructionData),
    }
}

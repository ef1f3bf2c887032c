//! Calls of the two programs that keep the money. The event itself signs them.

use hausd_common::names;
use pinocchio::{
    cpi::{invoke_signed, Seed, Signer},
    instruction::{InstructionAccount, InstructionView},
    AccountView, Address, ProgramResult,
};

use crate::state::EventSeeds;

/// The longest is `settle` with ten payouts.
const MAX_DATA: usize = 8 + 4 + 10 * 40;

/// An instruction's data, written from the front.
pub struct Data {
    bytes: [u8; MAX_DATA],
    length: usize,
}

impl Data {
    pub fn of(name: [u8; 8]) -> Self {
        let mut data = Self {
            bytes: [0; MAX_DATA],
            length: 0,
        };
        data.put(&name);
        data
    }

    pub fn put(&mut self, more: &[u8]) {
        self.bytes[self.length..self.length + more.len()].copy_from_slice(more);
        self.length += more.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[inline(always)]
fn signed<const N: usize>(
    program: &Address,
    accounts: &[InstructionAccount; N],
    views: &[&AccountView; N],
    data: &Data,
    event: &EventSeeds,
) -> ProgramResult {
    let seeds = [
        Seed::from(b"event".as_slice()),
        Seed::from(event.artist.as_array()),
        Seed::from(&event.nonce),
        Seed::from(&event.bump),
    ];
    let instruction = InstructionView {
        program_id: program,
        accounts,
        data: data.bytes(),
    };
    invoke_signed(&instruction, views, &[Signer::from(&seeds)])
}

/// Who and what the making of a pot takes; `tokens` where it is to be paid in a token.
pub struct Making<'a> {
    pub payer: &'a AccountView,
    pub pot: &'a AccountView,
    pub event: &'a AccountView,
    pub system: &'a AccountView,
    pub tokens: Option<Tokens<'a>>,
}

#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    pub mint: &'a AccountView,
    pub program: &'a AccountView,
    /// The pot's own account, to be made.
    pub account: &'a AccountView,
}

/// `[payer, pot, event, system]`, and `[mint, token_program, account]` for a token: makes a pot.
#[inline(never)]
pub fn make(program: &Address, made: &Making, data: &Data, seeds: &EventSeeds) -> ProgramResult {
    let Making {
        payer,
        pot,
        event,
        system,
        tokens,
    } = *made;
    let [a, b, c, d] = [
        InstructionAccount::writable_signer(payer.address()),
        InstructionAccount::writable(pot.address()),
        InstructionAccount::readonly_signer(event.address()),
        InstructionAccount::readonly(system.address()),
    ];
    let Some(tokens) = tokens else {
        return signed(program, &[a, b, c, d], &[payer, pot, event, system], data, seeds);
    };
    let Tokens {
        mint,
        program: token_program,
        account,
    } = tokens;
    let accounts = [
        a,
        b,
        c,
        d,
        InstructionAccount::readonly(mint.address()),
        InstructionAccount::readonly(token_program.address()),
        InstructionAccount::writable(account.address()),
    ];
    let views = [payer, pot, event, system, mint, token_program, account];
    signed(program, &accounts, &views, data, seeds)
}

/// `[pot, event]`: everything else.
#[inline(always)]
pub fn tell(
    program: &Address,
    pot: &AccountView,
    event: &AccountView,
    data: &Data,
    seeds: &EventSeeds,
) -> ProgramResult {
    told(program, &[pot, event], data, seeds)
}

#[inline(never)]
fn told(
    program: &Address,
    views: &[&AccountView; 2],
    data: &Data,
    seeds: &EventSeeds,
) -> ProgramResult {
    let [pot, event] = *views;
    let accounts = [
        InstructionAccount::writable(pot.address()),
        InstructionAccount::readonly_signer(event.address()),
    ];
    signed(program, &accounts, views, data, seeds)
}

pub const OPEN_SALE: [u8; 8] = names::instruction("open_sale");
pub const CLOSE_SALE: [u8; 8] = names::instruction("close_sale");
pub const CANCEL_SALE: [u8; 8] = names::instruction("cancel_sale");
pub const OPEN_VAULT: [u8; 8] = names::instruction("open_vault");
pub const CLOSE_VAULT: [u8; 8] = names::instruction("close_vault");
pub const CANCEL_VAULT: [u8; 8] = names::instruction("cancel_vault");
pub const SETTLE: [u8; 8] = names::instruction("settle");

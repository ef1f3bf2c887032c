//! As much of the pots' accounts as EventFactory reads.

use hausd_common::{names, Account};
use pinocchio::Address;

/// 41 bytes.
#[repr(C, packed)]
pub struct Payee {
    payee: Address,
    amount: u64,
    claimed: u8,
}

#[repr(C, packed)]
pub struct Vault {
    discriminator: [u8; 8],
    version: u8,
    bump: u8,
    pub state: u8,
    pub event: Address,
    factory: Address,
    artist: Address,
    mint: Address,
    token_program: Address,
    pub total: u64,
    pub tips: u32,
    pub leader: Address,
    pub leader_total: u64,
    leader_slot: u64,
    pub tips_close_at: i64,
    latest_close_at: i64,
    pub extension: u32,
    extended: u8,
    payee_len: u8,
    payees: [Payee; 10],
}

#[repr(C, packed)]
pub struct Tier {
    bytes: [u8; 67],
}

#[repr(C, packed)]
pub struct Sale {
    discriminator: [u8; 8],
    version: u8,
    bump: u8,
    pub state: u8,
    pub event: Address,
    factory: Address,
    artist: Address,
    mint: Address,
    token_program: Address,
    pub proceeds: u64,
    pub tickets: u32,
    tier_len: u8,
    tiers: [Tier; 8],
    payee_len: u8,
    payees: [Payee; 10],
}

// SAFETY: packed, every bit pattern valid, discriminator and version in front.
unsafe impl Account for Vault {
    const DISCRIMINATOR: [u8; 8] = names::account("Vault");
}
// SAFETY: as above.
unsafe impl Account for Sale {
    const DISCRIMINATOR: [u8; 8] = names::account("Sale");
}

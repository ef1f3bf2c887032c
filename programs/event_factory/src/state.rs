//! The accounts, byte by byte: borsh's layout, packed and little-endian.

use hausd_common::{names, Account};
use pinocchio::Address;

pub const FEE_CAP_BPS: u16 = 1_000;
pub const BPS: u64 = 10_000;
pub const MAX_SPLIT: usize = 8;
pub const MAX_TITLE_BYTES: usize = 64;
pub const MAX_URI_BYTES: usize = 128;
pub const MAX_TIP_EXTENSION_S: u32 = 3_600;
/// Late changes of the leader put the close of tips off by so many extensions in all.
pub const MAX_EXTENSIONS: i64 = 8;
/// How far a schedule may be moved past its first end, in seconds: others' money waits for it.
pub const MAX_POSTPONED_S: i64 = 30 * 24 * 3_600;
/// An event lasts so long at most.
pub const MAX_LENGTH_S: i64 = 366 * 24 * 3_600;
/// The artist alone may finalize for so long after the end; then anyone.
pub const FINALIZE_GRACE_S: i64 = 24 * 3_600;
/// An event whose artist vanished may be ended by anyone so long after it should have.
pub const ABANDON_GRACE_S: i64 = 24 * 3_600;

pub mod status {
    pub const DRAFT: u8 = 0;
    pub const OPEN: u8 = 1;
    pub const LIVE: u8 = 2;
    pub const ENDED: u8 = 3;
    pub const FINALIZED: u8 = 4;
    pub const CANCELLED: u8 = 5;
}

/// `["config"]`
#[repr(C, packed)]
pub struct Config {
    pub discriminator: [u8; 8],
    pub version: u8,
    pub bump: u8,
    pub authority: Address,
    pub pending_authority: Address,
    pub treasury: Address,
    pub fee_bps: u16,
    pub ticket_program: Address,
    pub tipping_program: Address,
}

#[derive(Clone, Copy)]
#[repr(C, packed)]
pub struct Share {
    pub payee: Address,
    pub bps: u16,
}

/// `["event", artist, nonce]`
#[repr(C, packed)]
pub struct Event {
    pub discriminator: [u8; 8],
    pub version: u8,
    pub bump: u8,
    pub status: u8,
    pub premium: u8,
    pub artist: Address,
    pub nonce: [u8; 16],
    pub mint: Address,
    pub token_program: Address,
    pub rta_mint: Address,
    pub stream_authority: Address,
    pub authority_since: u64,
    pub ticket_program: Address,
    pub tipping_program: Address,
    pub treasury: Address,
    pub fee_bps: u16,
    pub created_at: i64,
    pub starts_at: i64,
    pub scheduled_end: i64,
    pub latest_end: i64,
    pub started_at: i64,
    pub ended_at: i64,
    pub finalized_at: i64,
    pub tip_extension: u32,
    /// 0: the artist alone, 1: split.
    pub model: u8,
    pub split_len: u8,
    pub split: [Share; MAX_SPLIT],
    pub winner: Address,
    pub rta_recipient: Address,
    pub rta_delivered: u8,
    pub metadata: [u8; 36],
    pub recording: [u8; 36],
    pub title: [u8; MAX_TITLE_BYTES],
}

/// `["checkpoint", event]`: alone, so that writing it is cheap.
#[repr(C, packed)]
pub struct Checkpoint {
    pub discriminator: [u8; 8],
    pub version: u8,
    pub bump: u8,
    pub event: Address,
    pub authority: Address,
    pub manifest: [u8; 36],
    pub session_counter: u64,
    pub session_random: u64,
    pub sequence: u64,
    pub slot: u64,
    /// Of this authority's.
    pub count: u64,
}

// SAFETY: packed, every bit pattern valid, discriminator and version in front.
unsafe impl Account for Config {
    const DISCRIMINATOR: [u8; 8] = names::account("Config");
}
// SAFETY: as above.
unsafe impl Account for Event {
    const DISCRIMINATOR: [u8; 8] = names::account("Event");
}
// SAFETY: as above.
unsafe impl Account for Checkpoint {
    const DISCRIMINATOR: [u8; 8] = names::account("Checkpoint");
}

/// What derives an event's address, so that it can sign.
pub struct EventSeeds {
    pub artist: Address,
    pub nonce: [u8; 16],
    pub bump: [u8; 1],
}

impl Event {
    /// When tips close at the very latest, unix seconds.
    pub fn latest_close(&self) -> i64 {
        latest_close(self.scheduled_end, self.tip_extension)
    }

    pub fn seeds(&self) -> EventSeeds {
        EventSeeds {
            artist: self.artist,
            nonce: self.nonce,
            bump: [self.bump],
        }
    }
}

/// The same for an event that is being made.
pub fn latest_close(scheduled_end: i64, tip_extension: u32) -> i64 {
    // both are small; a checked multiplication would be a 128-bit one, which this machine has not
    scheduled_end + MAX_EXTENSIONS.wrapping_mul(i64::from(tip_extension))
}

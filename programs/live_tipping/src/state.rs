//! LiveTipping's accounts. Integers are little-endian; offsets in bytes.

use hausd_common::{
    names,
    payout::Payouts,
    tokens::{Pot, Purse},
    Account,
};
use pinocchio::Address;

/// The states of a vault.
pub const DRAFT: u8 = 0;
pub const OPEN: u8 = 1;
pub const CLOSED: u8 = 2;
pub const SETTLED: u8 = 3;
pub const REFUNDING: u8 = 4;

/// Base units.
pub const MIN_TIP: u64 = 1_000;
/// Bytes of UTF-8.
pub const MAX_MESSAGE: usize = 140;

/// What was tipped to an event: the derived address of `"vault"` and the event.
///
/// | offset | field | |
/// |---|---|---|
/// | 0 | discriminator | `account:Vault` |
/// | 8 | version | 1 |
/// | 9 | bump | |
/// | 10 | state | 0 draft, 1 open, 2 closed, 3 settled, 4 refunding |
/// | 11 | event | |
/// | 43 | factory | the program whose the event is |
/// | 75 | artist | |
/// | 107 | mint | zero: SOL |
/// | 139 | token_program | zero: SOL |
/// | 171 | total u64 | base units, tipped and not refunded |
/// | 179 | tips u32 | |
/// | 183 | leader | zero: none yet |
/// | 215 | leader_total u64 | base units |
/// | 223 | leader_slot u64 | of the tip that made `leader_total` |
/// | 231 | tips_close_at i64 | unix seconds; without an extension they close when the event ends |
/// | 239 | latest_close_at i64 | unix seconds |
/// | 247 | extension u32 | seconds; 0: tips are taken until the event ends |
/// | 251 | extended | a late tip moved the close |
/// | 252 | payee_len, payees | 1 + 10 * 41 |
#[repr(C, packed)]
pub struct Vault {
    pub discriminator: [u8; 8],
    pub version: u8,
    pub bump: u8,
    pub state: u8,
    pub event: Address,
    pub factory: Address,
    pub artist: Address,
    pub mint: Address,
    pub token_program: Address,
    pub total: u64,
    pub tips: u32,
    pub leader: Address,
    pub leader_total: u64,
    pub leader_slot: u64,
    pub tips_close_at: i64,
    pub latest_close_at: i64,
    pub extension: u32,
    pub extended: u8,
    pub payouts: Payouts,
}

// SAFETY: packed, any bits are valid, discriminator and version first.
unsafe impl Account for Vault {
    const DISCRIMINATOR: [u8; 8] = names::account("Vault");
}

impl Pot for Vault {
    const SEED: &'static [u8] = b"vault";

    fn purse(&self) -> Purse {
        Purse {
            mint: self.mint,
            token_program: self.token_program,
            event: self.event,
            bump: [self.bump],
        }
    }
}

/// What one tipper gave: the derived address of `"tip"`, the vault and the tipper.
///
/// | offset | field | |
/// |---|---|---|
/// | 0 | discriminator | `account:TipRecord` |
/// | 8 | version | 1 |
/// | 9 | bump | |
/// | 10 | vault | |
/// | 42 | tipper | |
/// | 74 | rent_payer | gets the rent back |
/// | 106 | total u64 | base units |
/// | 114 | count u32 | |
/// | 118 | last_slot u64 | |
#[repr(C, packed)]
pub struct TipRecord {
    pub discriminator: [u8; 8],
    pub version: u8,
    pub bump: u8,
    pub vault: Address,
    pub tipper: Address,
    pub rent_payer: Address,
    pub total: u64,
    pub count: u32,
    pub last_slot: u64,
}

// SAFETY: packed, any bits are valid, discriminator and version first.
unsafe impl Account for TipRecord {
    const DISCRIMINATOR: [u8; 8] = names::account("TipRecord");
}

//! LiveTipping's own errors; `hausd_common::error` has those of all. The IDL says them in sentences.

use pinocchio::error::ProgramError;

#[derive(Clone, Copy)]
#[repr(u32)]
pub enum TipError {
    /// A tip is at least 1,000 base units.
    TipTooSmall = 6000,
    /// Tips are not taken now.
    TipsClosed = 6001,
    /// The close can't be before it was, or after the latest that it may be.
    BadClose = 6002,
    /// A late tip moved the close: it is not over before.
    StillExtended = 6003,
    /// There is money in this record: refund it.
    RecordHasTips = 6004,
}

impl From<TipError> for ProgramError {
    fn from(error: TipError) -> Self {
        ProgramError::Custom(error as u32)
    }
}

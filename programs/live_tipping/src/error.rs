//! LiveTipping's own errors; `hausd_common::error` has those of all. The IDL says them in sentences.

use pinocchio::error::ProgramError;

#[derive(Clone, Copy)]
#[repr(u32)]
pub enum TipError {
    /// A tip is at least 1,000 base units.
    TipTooSmall = 6000,
    /// Tips are not taken now.
    TipsClosed = 6001,
    /// Tips can't close so soon, later than their latest close, or once more after they have closed.
    BadClose = 6002,
    /// Tips are still being taken: they close at the time that was told.
    TipsOpen = 6003,
    /// There is money in this record: refund it.
    RecordHasTips = 6004,
}

impl From<TipError> for ProgramError {
    fn from(error: TipError) -> Self {
        ProgramError::Custom(error as u32)
    }
}

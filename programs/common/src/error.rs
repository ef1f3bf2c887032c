//! Errors that any of the programs can give. Each program's own begin at 6000.

use pinocchio::error::ProgramError;

/// Numbers and sentences stand in the IDLs too.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Fault {
    /// An account is not the one that belongs there.
    WrongAccount = 6100,
    /// The event itself has to sign for this.
    NotTheEvent = 6101,
    /// The instruction's data is cut short, too long or out of range.
    BadData = 6102,
    /// This can't be done in the state that it is in.
    WrongState = 6103,
    /// The payouts do not add up to what there is.
    BadPayouts = 6104,
    /// There is no such payout, or it is another's.
    NoSuchPayout = 6105,
    /// This payout was made already.
    AlreadyClaimed = 6106,
    /// The payee's account would be too small to be kept: it needs some SOL first.
    PayeeBelowRent = 6107,
    /// A pot has less than it owes.
    Insolvent = 6108,
    /// Payments in this mint are not taken.
    MintRefused = 6109,
}

impl From<Fault> for ProgramError {
    fn from(fault: Fault) -> Self {
        ProgramError::Custom(fault as u32)
    }
}

/// Fails with `fault` unless `holds`.
#[inline(always)]
pub fn require(holds: bool, fault: impl Into<ProgramError>) -> Result<(), ProgramError> {
    if holds {
        Ok(())
    } else {
        Err(fault.into())
    }
}

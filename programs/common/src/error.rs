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
    /// The mint is neither of SPL Token nor of Token-2022.
    UnknownTokenProgram = 6109,
    /// This is no mint, or one that is not made to the end.
    NotAMint = 6110,
    /// The mint's authority could freeze what was paid, and it is none of the well-known mints.
    MintFreezes = 6111,
    /// The mint takes a fee of every transfer.
    MintTakesFees = 6112,
    /// The mint could be closed and made again as another.
    MintCanBeClosed = 6113,
    /// The mint has confidential transfers.
    MintConfidential = 6114,
    /// New token accounts of this mint may begin frozen.
    MintFreezesNew = 6115,
    /// Tokens of this mint can't be passed on.
    MintNotTransferable = 6116,
    /// The mint shows other amounts than it has: interest, or a scale.
    MintScales = 6117,
    /// The mint has a delegate who could take what was paid.
    MintHasDelegate = 6118,
    /// The mint calls another program at every transfer.
    MintHasHook = 6119,
    /// Transfers of this mint can be paused.
    MintPausable = 6120,
    /// The mint has an extension that is not known to do no harm.
    MintExtended = 6121,
    /// This event is paid in SOL: leave the token accounts out.
    PaidInSol = 6122,
    /// This event is paid in a token: its token accounts have to be there.
    PaidInTokens = 6123,
    /// This is no token account of theirs for the event's mint.
    NotTheirTokens = 6124,
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

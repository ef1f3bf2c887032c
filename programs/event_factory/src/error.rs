//! What EventFactory refuses. Numbers and sentences stand in the IDL too.

use pinocchio::error::ProgramError;

#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Refusal {
    /// This signer may not do that.
    Unauthorized = 6000,
    /// This can't be done in the state that the event is in.
    WrongStatus = 6001,
    /// The fee is above the cap.
    FeeTooHigh = 6002,
    /// The schedule has to end after it starts, within the bounds.
    BadSchedule = 6003,
    /// The title or the URI is empty, too long, or no UTF-8.
    BadText = 6004,
    /// The shares are more than the whole, or too many.
    BadSplit = 6005,
    /// A checkpoint only ever moves forward.
    CheckpointBehind = 6006,
    /// Tips are still being taken: the event can't end before they close.
    TipsOpen = 6007,
    /// Only the artist may do this before the grace time is over.
    TooEarly = 6008,
    /// The RTA was delivered already.
    AlreadyDelivered = 6009,
    /// The recording was told already.
    RecordingTold = 6010,
    /// A payee is a wallet: what belongs to a program or is one never gets the money out again.
    BadPayee = 6011,
    /// A payee is named once: add its shares up.
    PayeeTwice = 6012,
    /// The treasury is nobody: the fee would be lost.
    NoTreasury = 6013,
    /// It never went live: go live first, or call it off, which gives everybody their money back.
    NeverLive = 6014,
}

impl From<Refusal> for ProgramError {
    fn from(refusal: Refusal) -> Self {
        ProgramError::Custom(refusal as u32)
    }
}

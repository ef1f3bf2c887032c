//! TicketFactory's own errors; `hausd_common::error` has those of all. The IDL says them in
//! sentences.

use pinocchio::error::ProgramError;

#[derive(Clone, Copy)]
#[repr(u32)]
pub enum TicketError {
    /// Not so many tickets of this tier are left.
    SoldOut = 6000,
    /// This event has no such tier.
    NoSuchTier = 6001,
    /// Tickets of this tier are not sold now.
    NotOnSale = 6002,
    /// A ticket costs more than the most that you would pay.
    PriceAboveLimit = 6003,
    /// One wallet may not have so many tickets of this tier.
    WalletLimit = 6004,
    /// Tickets of this tier can't be passed on.
    NotTransferable = 6005,
    /// Tickets of this tier can't be given back any more.
    NotRefundable = 6006,
    /// The wallet has not so many tickets of this tier.
    NotEnoughTickets = 6007,
    /// A tier is wrong: its price, its times, or there are eight already.
    BadTier = 6008,
    /// There are tickets in this account.
    TicketNotEmpty = 6009,
}

impl From<TicketError> for ProgramError {
    fn from(error: TicketError) -> Self {
        ProgramError::Custom(error as u32)
    }
}

//! Who gets what of a pot, written once when its event is settled and paid one by one.

use pinocchio::{error::ProgramError, Address};

use crate::{data::Reader, error::Fault};

pub const MAX_PAYEES: usize = 10;

/// 41 bytes.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub struct Payee {
    pub payee: Address,
    pub amount: u64,
    pub claimed: u8,
}

/// 411 bytes.
#[repr(C, packed)]
pub struct Payouts {
    pub len: u8,
    pub payees: [Payee; MAX_PAYEES],
}

impl Payouts {
    /// Writes the table that `untrusted` tells; its amounts make exactly `total`.
    pub fn settle(&mut self, untrusted: &mut Reader, total: u64) -> Result<(), ProgramError> {
        let length = untrusted.u32()? as usize;
        if length > MAX_PAYEES {
            return Err(Fault::BadPayouts.into());
        }
        let mut sum = 0u64;
        for slot in &mut self.payees[..length] {
            let (payee, amount) = (untrusted.address()?, untrusted.u64()?);
            sum = sum.checked_add(amount).ok_or(Fault::BadPayouts)?;
            *slot = Payee {
                payee,
                amount,
                claimed: 0,
            };
        }
        if sum != total {
            return Err(Fault::BadPayouts.into());
        }
        self.len = length as u8;
        Ok(())
    }

    /// Marks a payout as made and gives its amount.
    pub fn take(&mut self, index: u8, payee: &Address) -> Result<u64, ProgramError> {
        if index >= self.len {
            return Err(Fault::NoSuchPayout.into());
        }
        let slot = &mut self.payees[index as usize];
        if slot.payee != *payee {
            return Err(Fault::NoSuchPayout.into());
        }
        if slot.claimed != 0 {
            return Err(Fault::AlreadyClaimed.into());
        }
        slot.claimed = 1;
        Ok(slot.amount)
    }
}

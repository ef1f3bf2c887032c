//! TicketFactory's accounts. Integers are little-endian; offsets in bytes.

use hausd_common::{
    names,
    payout::Payouts,
    require,
    tokens::{Pot, Purse},
    Account, Fault,
};
use pinocchio::{error::ProgramError, Address};

use crate::error::TicketError;

/// The states of a sale.
pub const DRAFT: u8 = 0;
pub const SELLING: u8 = 1;
pub const CLOSED: u8 = 2;
pub const SETTLED: u8 = 3;
pub const REFUNDING: u8 = 4;

pub const MAX_TIERS: usize = 8;
/// Base units: a price times the most tickets of one purchase stays far below 2^64.
pub const MAX_PRICE: u64 = 1 << 46;

/// 67 bytes: price 0, supply 8, sold 12, per_wallet 16, sale_start 18, sale_end 26,
/// transferable 34, refundable_until 35, name 43.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub struct Tier {
    /// Base units for one ticket.
    pub price: u64,
    pub supply: u32,
    /// Bought and given, not given back.
    pub sold: u32,
    /// The most that one wallet buys; 0: no limit.
    pub per_wallet: u16,
    /// Unix seconds.
    pub sale_start: i64,
    /// Unix seconds; 0: as long as the sale is open.
    pub sale_end: i64,
    pub transferable: u8,
    /// Unix seconds; 0: never.
    pub refundable_until: i64,
    pub name: [u8; 24],
}

impl Tier {
    /// What so many tickets cost. Exact: `price` is at most `MAX_PRICE`.
    pub fn cost(&self, count: u16) -> u64 {
        self.price.wrapping_mul(u64::from(count))
    }
}

/// The tickets of an event: the derived address of `"sale"` and the event.
///
/// | offset | field | |
/// |---|---|---|
/// | 0 | discriminator | `account:Sale` |
/// | 8 | version | 1 |
/// | 9 | bump | |
/// | 10 | state | 0 draft, 1 selling, 2 closed, 3 settled, 4 refunding |
/// | 11 | event | |
/// | 43 | factory | the program whose the event is |
/// | 75 | artist | |
/// | 107 | mint | zero: SOL |
/// | 139 | token_program | zero: SOL |
/// | 171 | proceeds u64 | base units, paid and not refunded |
/// | 179 | tickets u32 | bought and given, not given back |
/// | 183 | tier_len | |
/// | 184 | tiers | 8 * 67 |
/// | 720 | payee_len, payees | 1 + 10 * 41 |
#[repr(C, packed)]
pub struct Sale {
    pub discriminator: [u8; 8],
    pub version: u8,
    pub bump: u8,
    pub state: u8,
    pub event: Address,
    pub factory: Address,
    pub artist: Address,
    pub mint: Address,
    pub token_program: Address,
    pub proceeds: u64,
    pub tickets: u32,
    pub tier_len: u8,
    pub tiers: [Tier; MAX_TIERS],
    pub payouts: Payouts,
}

// SAFETY: packed, any bits are valid, discriminator and version first.
unsafe impl Account for Sale {
    const DISCRIMINATOR: [u8; 8] = names::account("Sale");
}

impl Pot for Sale {
    const SEED: &'static [u8] = b"sale";

    fn purse(&self) -> Purse {
        Purse {
            mint: self.mint,
            token_program: self.token_program,
            event: self.event,
            bump: [self.bump],
        }
    }
}

impl Sale {
    pub fn tier(&mut self, untrusted_index: u8) -> Result<&mut Tier, ProgramError> {
        require(untrusted_index < self.tier_len, TicketError::NoSuchTier)?;
        self.tiers
            .get_mut(untrusted_index as usize)
            .ok_or(TicketError::NoSuchTier.into())
    }

    /// Takes `count` tickets out of what is left of a tier.
    pub fn issue(&mut self, tier: u8, count: u16) -> Result<(), ProgramError> {
        require(count > 0, Fault::BadData)?;
        let more = u32::from(count);
        let tier = self.tier(tier)?;
        require(more <= tier.supply - tier.sold, TicketError::SoldOut)?;
        tier.sold += more;
        self.tickets = self.tickets.checked_add(more).ok_or(TicketError::SoldOut)?;
        Ok(())
    }
}

/// What a holder has: the derived address of `"ticket"`, the event and the holder.
///
/// | offset | field | |
/// |---|---|---|
/// | 0 | discriminator | `account:Ticket` |
/// | 8 | version | 1 |
/// | 9 | bump | |
/// | 10 | event | |
/// | 42 | holder | |
/// | 74 | rent_payer | gets the rent back |
/// | 106 | paid | 8 * u16, bought, by tier |
/// | 122 | comp | 8 * u16, given, by tier |
/// | 138 | paid_amount u64 | base units |
/// | 146 | acquired_slot u64 | of the latest that came |
#[repr(C, packed)]
pub struct Ticket {
    pub discriminator: [u8; 8],
    pub version: u8,
    pub bump: u8,
    pub event: Address,
    pub holder: Address,
    pub rent_payer: Address,
    pub paid: [u16; MAX_TIERS],
    pub comp: [u16; MAX_TIERS],
    pub paid_amount: u64,
    pub acquired_slot: u64,
}

// SAFETY: packed, any bits are valid, discriminator and version first.
unsafe impl Account for Ticket {
    const DISCRIMINATOR: [u8; 8] = names::account("Ticket");
}

impl Ticket {
    pub fn is_empty(&self) -> bool {
        let (paid, comp) = (self.paid, self.comp);
        paid.iter().chain(comp.iter()).all(|&count| count == 0)
    }

    /// Adds to what the holder has of a tier.
    pub fn add(&mut self, tier: u8, paid: u16, comp: u16, amount: u64) -> Result<(), ProgramError> {
        let tier = tier as usize;
        let (mut of_paid, mut of_comp) = (self.paid, self.comp);
        of_paid[tier] = of_paid[tier]
            .checked_add(paid)
            .ok_or(TicketError::WalletLimit)?;
        of_comp[tier] = of_comp[tier]
            .checked_add(comp)
            .ok_or(TicketError::WalletLimit)?;
        (self.paid, self.comp) = (of_paid, of_comp);
        self.paid_amount += amount;
        Ok(())
    }

    /// Takes `count` of a tier, those paid for first; gives how many were paid for.
    pub fn take(&mut self, tier: u8, count: u16, price: u64) -> Result<Taken, ProgramError> {
        require(count > 0, Fault::BadData)?;
        let at = tier as usize;
        let (mut of_paid, mut of_comp) = (self.paid, self.comp);
        let paid = count.min(of_paid[at]);
        let comp = count - paid;
        require(comp <= of_comp[at], TicketError::NotEnoughTickets)?;
        of_paid[at] -= paid;
        of_comp[at] -= comp;
        (self.paid, self.comp) = (of_paid, of_comp);
        let amount = price.wrapping_mul(u64::from(paid));
        self.paid_amount -= amount;
        Ok(Taken { paid, comp, amount })
    }
}

/// What left a holder's account.
pub struct Taken {
    pub paid: u16,
    pub comp: u16,
    /// Base units that were paid for it.
    pub amount: u64,
}

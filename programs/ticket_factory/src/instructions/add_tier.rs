//! EventFactory adds a tier to a draft. Accounts: sale (written), event (signs).

use hausd_common::{event::require_event, load_mut, require, Fault, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TicketError,
    state::{Sale, Tier, DRAFT, MAX_PRICE, MAX_TIERS},
};

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [sale, event, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let tier = Tier {
        price: data.u64()?,
        supply: data.u32()?,
        sold: 0,
        per_wallet: data.u16()?,
        sale_start: data.i64()?,
        sale_end: data.i64()?,
        transferable: data.boolean()?,
        refundable_until: data.i64()?,
        name: data.array()?,
    };
    data.end()?;

    let mut sale = load_mut::<Sale>(sale, program)?;
    require_event(event, &sale.event, &sale.factory)?;
    require(sale.state == DRAFT, Fault::WrongState)?;
    let at = sale.tier_len as usize;
    let times = tier.sale_end == 0 || tier.sale_start < tier.sale_end;
    require(
        at < MAX_TIERS && times && tier.price <= MAX_PRICE && tier.supply > 0,
        TicketError::BadTier,
    )?;
    let slot = sale.tiers.get_mut(at).ok_or(TicketError::BadTier)?;
    *slot = tier;
    sale.tier_len += 1;
    Ok(())
}

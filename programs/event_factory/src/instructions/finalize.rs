//! Settles both pots by the event's distribution model and records the winner. It touches no
//! account that a payee or the winner controls, so nobody can keep it from happening.

use hausd_common::{account::require_address, load, load_mut, require, require_signer, sys::now};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use super::{log_status, nothing, require_status, take, Pots};
use crate::{
    error::Refusal,
    pot_state::{Sale, Vault},
    pots::{tell, Data, SETTLE},
    state::{status, Event, Share, BPS, FINALIZE_GRACE_S, MAX_SPLIT},
};

/// Who gets what of a pot. Rounding is the artist's.
struct Model {
    artist: Address,
    treasury: Address,
    fee_bps: u16,
    len: u8,
    split: [Share; MAX_SPLIT],
}

/// `[cranker (s w), event (w), sale (w), vault (w), ticket_program, tipping_program]`
pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [cranker, event, sale, vault, tickets, tips] = take::<6>(accounts)?;
    nothing(data)?;
    require_signer(cranker)?;
    let now = now()?;
    let (pots, model) = {
        let known = load::<Event>(event, program)?;
        require_status(&known, &[status::ENDED])?;
        let artist = known.artist;
        require(
            cranker.address() == &artist || now.time > known.ended_at + FINALIZE_GRACE_S,
            Refusal::TooEarly,
        )?;
        let model = Model {
            artist,
            treasury: known.treasury,
            fee_bps: known.fee_bps,
            len: known.split_len,
            split: known.split,
        };
        (Pots::of(&known, tickets, tips)?, model)
    };
    let (tipped, leader) = {
        let vault = load::<Vault>(vault, &pots.tipping_program)?;
        let of = vault.event;
        require_address(event, &of)?;
        (vault.total, vault.leader)
    };
    let proceeds = {
        let sale = load::<Sale>(sale, &pots.ticket_program)?;
        let of = sale.event;
        require_address(event, &of)?;
        sale.proceeds
    };
    tell(&pots.ticket_program, sale, event, &settled(&model, proceeds)?, &pots.seeds)?;
    tell(&pots.tipping_program, vault, event, &settled(&model, tipped)?, &pots.seeds)?;
    {
        let mut known = load_mut::<Event>(event, program)?;
        known.status = status::FINALIZED;
        known.finalized_at = now.time;
        let nobody = leader == Address::default();
        known.winner = if nobody { model.artist } else { leader };
    }
    log_status(event.address(), status::FINALIZED);
    Ok(())
}

/// `pot * bps / 10,000` without a wide multiplication; `bps` is at most 10,000.
fn part(pot: u64, bps: u64) -> u64 {
    // a checked multiplication would be a 128-bit one, which this machine has not
    (pot / BPS).wrapping_mul(bps) + (pot % BPS).wrapping_mul(bps) / BPS
}

#[inline(never)]
fn settled(model: &Model, pot: u64) -> Result<Data, ProgramError> {
    let mut data = Data::of(SETTLE);
    let fee = part(pot, u64::from(model.fee_bps));
    let shared = pot - fee;
    let mut left = shared;
    let paid = u32::from(fee > 0);
    let mut count = paid + 1;
    let mut amounts = [0u64; MAX_SPLIT];
    for (amount, share) in amounts.iter_mut().zip(&model.split[..model.len as usize]) {
        *amount = part(shared, u64::from(share.bps));
        left = left.checked_sub(*amount).ok_or(Refusal::BadSplit)?;
        count += u32::from(*amount > 0);
    }
    data.put(&count.to_le_bytes());
    let mut put = |payee: &Address, amount: u64| {
        data.put(payee.as_array());
        data.put(&amount.to_le_bytes());
    };
    if fee > 0 {
        put(&model.treasury, fee);
    }
    for (amount, share) in amounts.iter().zip(&model.split[..model.len as usize]) {
        if *amount > 0 {
            let payee = share.payee;
            put(&payee, *amount);
        }
    }
    put(&model.artist, left);
    Ok(data)
}

//! What the platform's authority may do. A fee never changes for events that are there already.

use hausd_common::{load, load_mut, require, Reader};
use pinocchio::{AccountView, Address, ProgramResult};

use super::{nothing, take};
use crate::{
    error::Refusal,
    state::{Config, Event, FEE_CAP_BPS},
};

fn require_authority(view: &AccountView, config: &Config) -> ProgramResult {
    let authority = config.authority;
    require(
        view.is_signer() && view.address() == &authority,
        Refusal::Unauthorized,
    )
}

/// `[authority (s), config (w)]`; `fee_bps, treasury`
pub fn set_config(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [authority, config] = take::<2>(accounts)?;
    let mut data = Reader::new(data);
    let (fee_bps, treasury) = (data.u16()?, data.address()?);
    data.end()?;
    require(fee_bps <= FEE_CAP_BPS, Refusal::FeeTooHigh)?;
    require(treasury != Address::default(), Refusal::NoTreasury)?;
    let mut config = load_mut::<Config>(config, program)?;
    require_authority(authority, &config)?;
    config.fee_bps = fee_bps;
    config.treasury = treasury;
    Ok(())
}

/// `[authority (s), config (w)]`; `new`: handed over in two steps, so that it can't be lost
pub fn propose_authority(
    program: &Address,
    accounts: &mut [AccountView],
    data: &[u8],
) -> ProgramResult {
    let [authority, config] = take::<2>(accounts)?;
    let mut data = Reader::new(data);
    let new = data.address()?;
    data.end()?;
    let mut config = load_mut::<Config>(config, program)?;
    require_authority(authority, &config)?;
    config.pending_authority = new;
    Ok(())
}

/// `[pending (s), config (w)]`
pub fn accept_authority(
    program: &Address,
    accounts: &mut [AccountView],
    data: &[u8],
) -> ProgramResult {
    let [pending, config] = take::<2>(accounts)?;
    nothing(data)?;
    let mut config = load_mut::<Config>(config, program)?;
    let wanted = config.pending_authority;
    require(
        pending.is_signer() && pending.address() == &wanted,
        Refusal::Unauthorized,
    )?;
    config.authority = wanted;
    config.pending_authority = Address::default();
    Ok(())
}

/// `[authority (s), config, event (w)]`; `premium`
pub fn set_premium(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [authority, config, event] = take::<3>(accounts)?;
    let mut data = Reader::new(data);
    let premium = data.boolean()?;
    data.end()?;
    require_authority(authority, &*load::<Config>(config, program)?)?;
    load_mut::<Event>(event, program)?.premium = premium;
    Ok(())
}

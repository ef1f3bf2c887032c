//! What is arranged before an event opens: tiers, shares. Opening fixes both.

use hausd_common::{account::require_address, load, load_mut, names, require, Reader};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use super::{log_status, nothing, require_artist, require_status, take, Pots};
use crate::{
    error::Refusal,
    pots::{tell, Data, OPEN_SALE, OPEN_VAULT},
    state::{status, Event, Share, BPS, MAX_SPLIT},
};

/// price, supply, per wallet, sale start and end, transferable, refundable until, name
const TIER_BYTES: usize = 8 + 4 + 2 + 8 + 8 + 1 + 8 + 24;

/// `[artist (s), event, sale (w), ticket_program]`; the tier, which TicketFactory checks
pub fn add_tier(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [artist, event, sale, tickets] = take::<4>(accounts)?;
    let mut data = Reader::new(data);
    let tier = data.array::<TIER_BYTES>()?;
    data.end()?;
    let (ticket_program, seeds) = {
        let event = load::<Event>(event, program)?;
        require_artist(artist, &event)?;
        require_status(&event, &[status::DRAFT])?;
        (event.ticket_program, event.seeds())
    };
    require_address(tickets, &ticket_program)?;
    let mut told = Data::of(const { names::instruction("add_tier") });
    told.put(&tier);
    tell(&ticket_program, sale, event, &told, &seeds)
}

/// `[artist (s), event (w), payee …]`; `payees`: what is left goes to the artist
pub fn set_split(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [artist, event, wallets @ ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let mut event = load_mut::<Event>(event, program)?;
    require_artist(artist, &event)?;
    require_status(&event, &[status::DRAFT])?;
    let length = data.u32()? as usize;
    require(length <= MAX_SPLIT, Refusal::BadSplit)?;
    let wallets = wallets.get(..length).ok_or(ProgramError::NotEnoughAccountKeys)?;
    let mut shares = [Share {
        payee: Address::default(),
        bps: 0,
    }; MAX_SPLIT];
    let mut sum = 0u64;
    for (at, wallet) in wallets.iter().enumerate() {
        let (payee, bps) = (data.address()?, data.u16()?);
        require_address(wallet, &payee)?;
        require_wallet(wallet)?;
        require(bps > 0, Refusal::BadSplit)?;
        require(shares[..at].iter().all(|share| share.payee != payee), Refusal::PayeeTwice)?;
        sum += u64::from(bps);
        shares[at] = Share { payee, bps };
    }
    data.end()?;
    require(sum <= BPS, Refusal::BadSplit)?;
    event.split = shares;
    event.split_len = length as u8;
    event.model = u8::from(length > 0);
    Ok(())
}

/// Fails unless it is a wallet, or could be one: nobody gets out what is paid to an account of a
/// program (this event's own, a token account) or to a program.
fn require_wallet(payee: &AccountView) -> ProgramResult {
    let wallet = payee.owned_by(&pinocchio_system::ID) && payee.data_len() == 0;
    require(wallet, Refusal::BadPayee)
}

/// `[artist (s), event (w), sale (w), vault (w), ticket_program, tipping_program]`
pub fn open(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [artist, event, sale, vault, tickets, tips] = take::<6>(accounts)?;
    nothing(data)?;
    let pots = {
        let mut event = load_mut::<Event>(event, program)?;
        require_artist(artist, &event)?;
        require_status(&event, &[status::DRAFT])?;
        event.status = status::OPEN;
        Pots::of(&event, tickets, tips)?
    };
    tell(&pots.ticket_program, sale, event, &Data::of(OPEN_SALE), &pots.seeds)?;
    tell(&pots.tipping_program, vault, event, &Data::of(OPEN_VAULT), &pots.seeds)?;
    log_status(event.address(), status::OPEN);
    Ok(())
}

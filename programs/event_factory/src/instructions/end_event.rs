//! The end: no more tickets, no more tips. Where tips close at a time that was told, not before it,
//! whoever asks. What never went live does not end: it is called off, and all is given back.

use hausd_common::{account::require_address, load, load_mut, require, require_signer, sys::now};
use pinocchio::{AccountView, Address, ProgramResult};

use super::{log_status, nothing, require_status, take, Pots};
use crate::{
    error::Refusal,
    pot_state::Vault,
    pots::{tell, Data, CANCEL_SALE, CANCEL_VAULT, CLOSE_SALE, CLOSE_VAULT},
    state::{status, Event, ABANDON_GRACE_S},
};

/// `[signer (s), event (w), sale (w), vault (w), ticket_program, tipping_program]`
pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [signer, event, sale, vault, tickets, tips] = take::<6>(accounts)?;
    nothing(data)?;
    require_signer(signer)?;
    let now = now()?;
    let (pots, live) = {
        let mut known = load_mut::<Event>(event, program)?;
        require_status(&known, &[status::OPEN, status::LIVE])?;
        let (artist, stream) = (known.artist, known.stream_authority);
        let own = signer.address() == &artist || signer.address() == &stream;
        let abandoned = now.time > known.latest_close() + ABANDON_GRACE_S;
        require(own || abandoned, Refusal::Unauthorized)?;
        let live = known.status == status::LIVE;
        require(live || abandoned, Refusal::NeverLive)?;
        known.status = if live { status::ENDED } else { status::CANCELLED };
        known.ended_at = now.time;
        (Pots::of(&known, tickets, tips)?, live)
    };
    {
        let vault = load::<Vault>(vault, &pots.tipping_program)?;
        let of = vault.event;
        require_address(event, &of)?;
        let open = vault.extension != 0 && now.time < vault.tips_close_at;
        require(!open, Refusal::TipsOpen)?;
    }
    let (of_sale, of_vault, now_is) = if live {
        (CLOSE_SALE, CLOSE_VAULT, status::ENDED)
    } else {
        (CANCEL_SALE, CANCEL_VAULT, status::CANCELLED)
    };
    tell(&pots.ticket_program, sale, event, &Data::of(of_sale), &pots.seeds)?;
    tell(&pots.tipping_program, vault, event, &Data::of(of_vault), &pots.seeds)?;
    log_status(event.address(), now_is);
    Ok(())
}

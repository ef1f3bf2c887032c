//! The end: no more tickets, no more tips. Not before a tip's extension is over, whoever asks.

use hausd_common::{account::require_address, load, load_mut, require, require_signer, sys::now};
use pinocchio::{AccountView, Address, ProgramResult};

use super::{log_status, nothing, require_status, take, Pots};
use crate::{
    error::Refusal,
    pot_state::Vault,
    pots::{tell, Data, CLOSE_SALE, CLOSE_VAULT},
    state::{status, Event, ABANDON_GRACE_S},
};

/// `[signer (s), event (w), sale (w), vault (w), ticket_program, tipping_program]`
pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [signer, event, sale, vault, tickets, tips] = take::<6>(accounts)?;
    nothing(data)?;
    require_signer(signer)?;
    let now = now()?;
    let pots = {
        let mut known = load_mut::<Event>(event, program)?;
        require_status(&known, &[status::OPEN, status::LIVE])?;
        let (artist, stream) = (known.artist, known.stream_authority);
        let own = signer.address() == &artist || signer.address() == &stream;
        let abandoned =
            known.scheduled_end + i64::from(known.tip_extension) + ABANDON_GRACE_S;
        require(own || now.time > abandoned, Refusal::Unauthorized)?;
        known.status = status::ENDED;
        known.ended_at = now.time;
        Pots::of(&known, tickets, tips)?
    };
    {
        let vault = load::<Vault>(vault, &pots.tipping_program)?;
        let of = vault.event;
        require_address(event, &of)?;
        let open = vault.extended != 0 && now.time < vault.tips_close_at;
        require(!open, Refusal::TipsOpen)?;
    }
    tell(&pots.ticket_program, sale, event, &Data::of(CLOSE_SALE), &pots.seeds)?;
    tell(&pots.tipping_program, vault, event, &Data::of(CLOSE_VAULT), &pots.seeds)?;
    log_status(event.address(), status::ENDED);
    Ok(())
}

//! One file for each instruction, or for a few that belong together: accounts, data, processor.

pub mod cancel;
pub mod checkpoint;
pub mod create_event;
pub mod deliver_rta;
pub mod draft;
pub mod end_event;
pub mod finalize;
pub mod initialize;
pub mod platform;
pub mod running;

use hausd_common::{account::require_address, names, require, sys::log_data, Fault};
use pinocchio::{error::ProgramError, AccountView, Address};

use crate::{
    error::Refusal,
    state::{Event, EventSeeds},
};

/// Fails unless the artist signs.
pub fn require_artist(view: &AccountView, event: &Event) -> Result<(), ProgramError> {
    let artist = event.artist;
    require(view.is_signer() && view.address() == &artist, Refusal::Unauthorized)
}

/// Fails unless the artist signs, or the stream authority.
pub fn require_artist_or_stream(view: &AccountView, event: &Event) -> Result<(), ProgramError> {
    let (artist, stream) = (event.artist, event.stream_authority);
    let one = view.address() == &artist || view.address() == &stream;
    require(view.is_signer() && one, Refusal::Unauthorized)
}

pub fn require_status(event: &Event, wanted: &[u8]) -> Result<(), ProgramError> {
    require(wanted.contains(&event.status), Refusal::WrongStatus)
}

/// The programs that an event's pots are of, and what signs for the event.
pub struct Pots {
    pub ticket_program: Address,
    pub tipping_program: Address,
    pub seeds: EventSeeds,
}

impl Pots {
    pub fn of(
        event: &Event,
        ticket_program: &AccountView,
        tipping_program: &AccountView,
    ) -> Result<Self, ProgramError> {
        let pots = Self {
            ticket_program: event.ticket_program,
            tipping_program: event.tipping_program,
            seeds: event.seeds(),
        };
        require_address(ticket_program, &pots.ticket_program)?;
        require_address(tipping_program, &pots.tipping_program)?;
        Ok(pots)
    }
}

/// Exactly these accounts, or more at the end.
pub fn take<const N: usize>(
    accounts: &mut [AccountView],
) -> Result<&mut [AccountView; N], ProgramError> {
    accounts
        .first_chunk_mut::<N>()
        .ok_or(ProgramError::NotEnoughAccountKeys)
}

/// `EventStatus` in the log.
pub fn log_status(event: &Address, status: u8) {
    const NAME: [u8; 8] = names::event("EventStatus");
    let mut bytes = [0u8; 41];
    bytes[..8].copy_from_slice(&NAME);
    bytes[8..40].copy_from_slice(event.as_array());
    bytes[40] = status;
    log_data(&bytes);
}

/// Nothing may follow an instruction's name.
pub fn nothing(data: &[u8]) -> Result<(), ProgramError> {
    require(data.is_empty(), Fault::BadData)
}

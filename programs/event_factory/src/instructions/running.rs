//! What changes while an event is on: metadata, schedule, who streams, and that it does.

use hausd_common::{account::require_address, load_mut, names, require, sys::now, Reader};
use pinocchio::{AccountView, Address, ProgramResult};

use super::{log_status, nothing, require_artist, require_artist_or_stream, require_status, take};
use crate::{
    error::Refusal,
    pots::{tell, Data},
    state::{status, Checkpoint, Event, MAX_LENGTH_S},
};

/// `[artist (s), event (w)]`; `cid`
pub fn set_metadata(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [artist, event] = take::<2>(accounts)?;
    let mut data = Reader::new(data);
    let cid = data.array::<36>()?;
    data.end()?;
    let mut event = load_mut::<Event>(event, program)?;
    require_artist(artist, &event)?;
    require_status(&event, &[status::DRAFT, status::OPEN, status::LIVE])?;
    event.metadata = cid;
    Ok(())
}

/// `[artist (s), event (w), vault (w), tipping_program]`; `starts_at, scheduled_end`
pub fn set_schedule(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [artist, event, vault, tips] = take::<4>(accounts)?;
    let mut data = Reader::new(data);
    let (starts_at, scheduled_end) = (data.i64()?, data.i64()?);
    data.end()?;
    let now = now()?;
    let (tipping_program, seeds, latest) = {
        let mut event = load_mut::<Event>(event, program)?;
        require_artist(artist, &event)?;
        require_status(&event, &[status::DRAFT, status::OPEN, status::LIVE])?;
        let length = scheduled_end.checked_sub(starts_at);
        require(
            starts_at > 0
                && scheduled_end > now.time
                && scheduled_end <= event.latest_end
                && matches!(length, Some(1..=MAX_LENGTH_S)),
            Refusal::BadSchedule,
        )?;
        event.starts_at = starts_at;
        event.scheduled_end = scheduled_end;
        (event.tipping_program, event.seeds(), event.latest_close())
    };
    require_address(tips, &tipping_program)?;
    let mut told = Data::of(const { names::instruction("set_close") });
    told.put(&scheduled_end.to_le_bytes());
    told.put(&latest.to_le_bytes());
    tell(&tipping_program, vault, event, &told, &seeds)
}

/// `[artist (s), event (w), checkpoint (w)]`; `new`
pub fn set_stream_authority(
    program: &Address,
    accounts: &mut [AccountView],
    data: &[u8],
) -> ProgramResult {
    let [artist, event, checkpoint] = take::<3>(accounts)?;
    let mut data = Reader::new(data);
    let new = data.address()?;
    data.end()?;
    let mut known = load_mut::<Event>(event, program)?;
    require_artist(artist, &known)?;
    require_status(&known, &[status::DRAFT, status::OPEN, status::LIVE])?;
    known.stream_authority = new;
    known.authority_since = now()?.slot;
    drop(known);
    let mut checkpoint = load_mut::<Checkpoint>(checkpoint, program)?;
    let of = checkpoint.event;
    require_address(event, &of)?;
    checkpoint.authority = new;
    // Another node counts its sessions from one: what comes first from it is accepted.
    checkpoint.count = 0;
    Ok(())
}

/// `[artist or stream authority (s), event (w)]`
pub fn go_live(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [signer, event] = take::<2>(accounts)?;
    nothing(data)?;
    {
        let mut event = load_mut::<Event>(event, program)?;
        require_artist_or_stream(signer, &event)?;
        require_status(&event, &[status::OPEN])?;
        event.status = status::LIVE;
        event.started_at = now()?.time;
    }
    log_status(event.address(), status::LIVE);
    Ok(())
}

/// `[artist or stream authority (s), event (w)]`; `cid`: the stream authority may tell it once
pub fn set_recording(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [signer, event] = take::<2>(accounts)?;
    let mut data = Reader::new(data);
    let cid = data.array::<36>()?;
    data.end()?;
    let mut event = load_mut::<Event>(event, program)?;
    require_artist_or_stream(signer, &event)?;
    require_status(&event, &[status::ENDED, status::FINALIZED])?;
    let (artist, recording) = (event.artist, event.recording);
    require(
        signer.address() == &artist || recording == [0; 36],
        Refusal::RecordingTold,
    )?;
    event.recording = cid;
    Ok(())
}

//! EventFactory: events, their RTA, their schedule and stream, and how they end.
//!
//! It keeps no money: tickets are TicketFactory's, tips LiveTipping's. It tells them by CPI what
//! the event has come to, and the event itself signs.
#![no_std]

mod error;
mod instructions;
mod pot_state;
mod pots;
mod state;
mod token;

use hausd_common::{names::instruction, Fault};
use pinocchio::{
    no_allocator, nostd_panic_handler, program_entrypoint, AccountView, Address, ProgramResult,
};

program_entrypoint!(process, 20);
no_allocator!();
nostd_panic_handler!();

const CHECKPOINT: [u8; 8] = instruction("checkpoint");
const INITIALIZE: [u8; 8] = instruction("initialize");
const SET_CONFIG: [u8; 8] = instruction("set_config");
const PROPOSE_AUTHORITY: [u8; 8] = instruction("propose_authority");
const ACCEPT_AUTHORITY: [u8; 8] = instruction("accept_authority");
const SET_PREMIUM: [u8; 8] = instruction("set_premium");
const CREATE_EVENT: [u8; 8] = instruction("create_event");
const ADD_TIER: [u8; 8] = instruction("add_tier");
const SET_SPLIT: [u8; 8] = instruction("set_split");
const OPEN: [u8; 8] = instruction("open");
const SET_METADATA: [u8; 8] = instruction("set_metadata");
const SET_SCHEDULE: [u8; 8] = instruction("set_schedule");
const SET_STREAM_AUTHORITY: [u8; 8] = instruction("set_stream_authority");
const GO_LIVE: [u8; 8] = instruction("go_live");
const SET_RECORDING: [u8; 8] = instruction("set_recording");
const END_EVENT: [u8; 8] = instruction("end_event");
const FINALIZE: [u8; 8] = instruction("finalize");
const DELIVER_RTA: [u8; 8] = instruction("deliver_rta");
const SET_RTA_RECIPIENT: [u8; 8] = instruction("set_rta_recipient");
const CANCEL: [u8; 8] = instruction("cancel");

fn process(program: &Address, accounts: &mut [AccountView], untrusted: &[u8]) -> ProgramResult {
    let Some((name, data)) = untrusted.split_first_chunk::<8>() else {
        return Err(Fault::BadData.into());
    };
    use instructions as i;
    match *name {
        CHECKPOINT => i::checkpoint::process(program, accounts, data),
        INITIALIZE => i::initialize::process(program, accounts, data),
        SET_CONFIG => i::platform::set_config(program, accounts, data),
        PROPOSE_AUTHORITY => i::platform::propose_authority(program, accounts, data),
        ACCEPT_AUTHORITY => i::platform::accept_authority(program, accounts, data),
        SET_PREMIUM => i::platform::set_premium(program, accounts, data),
        CREATE_EVENT => i::create_event::process(program, accounts, data),
        ADD_TIER => i::draft::add_tier(program, accounts, data),
        SET_SPLIT => i::draft::set_split(program, accounts, data),
        OPEN => i::draft::open(program, accounts, data),
        SET_METADATA => i::running::set_metadata(program, accounts, data),
        SET_SCHEDULE => i::running::set_schedule(program, accounts, data),
        SET_STREAM_AUTHORITY => i::running::set_stream_authority(program, accounts, data),
        GO_LIVE => i::running::go_live(program, accounts, data),
        SET_RECORDING => i::running::set_recording(program, accounts, data),
        END_EVENT => i::end_event::process(program, accounts, data),
        FINALIZE => i::finalize::process(program, accounts, data),
        DELIVER_RTA => i::deliver_rta::process(program, accounts, data),
        SET_RTA_RECIPIENT => i::deliver_rta::set_recipient(program, accounts, data),
        CANCEL => i::cancel::process(program, accounts, data),
        _ => Err(Fault::BadData.into()),
    }
}

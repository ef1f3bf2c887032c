//! The newest manifest, by the stream authority, from its own budget: cheap, for it comes often.

use hausd_common::{load_mut, require, sys::now, Reader};
use pinocchio::{AccountView, Address, ProgramResult};

use super::take;
use crate::{error::Refusal, state::Checkpoint};

/// `[stream_authority (s), checkpoint (w)]`; `manifest, session_counter, session_random, sequence`
pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [authority, checkpoint] = take::<2>(accounts)?;
    let mut data = Reader::new(data);
    let manifest = data.array::<36>()?;
    let (counter, random, sequence) = (data.u64()?, data.u64()?, data.u64()?);
    data.end()?;
    let mut kept = load_mut::<Checkpoint>(checkpoint, program)?;
    let wanted = kept.authority;
    require(
        authority.is_signer() && authority.address() == &wanted,
        Refusal::Unauthorized,
    )?;
    let (known, count) = (kept.session_counter, kept.count);
    let onwards = counter > known
        || (counter == known && random == kept.session_random && sequence > kept.sequence)
        || count == 0;
    require(onwards, Refusal::CheckpointBehind)?;
    kept.manifest = manifest;
    kept.session_counter = counter;
    kept.session_random = random;
    kept.sequence = sequence;
    kept.slot = now()?.slot;
    kept.count = count.wrapping_add(1);
    Ok(())
}

//! The platform's configuration, by who may upgrade this program: nobody else gets there first.

use hausd_common::{
    account::begin, create::create, require, require_signer, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use super::take;
use crate::{
    error::Refusal,
    state::{Config, FEE_CAP_BPS},
};

/// `BPFLoaderUpgradeab1e11111111111111111111111`
const UPGRADEABLE_LOADER: Address = Address::new_from_array([
    2, 168, 246, 145, 78, 136, 161, 176, 226, 16, 21, 62, 247, 99, 174, 43, 0, 194, 185, 61, 22,
    193, 36, 210, 192, 83, 122, 16, 4, 128, 0, 0,
]);
const PROGRAM: u8 = 2;
const PROGRAM_DATA: u8 = 3;

/// `[authority (s w), config (w), program, program_data, system]`;
/// `bump, fee_bps, treasury, ticket_program, tipping_program`
pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [authority, config, this, program_data, _system] = take::<5>(accounts)?;
    let mut data = Reader::new(data);
    let (bump, fee_bps) = (data.u8()?, data.u16()?);
    let (treasury, tickets, tips) = (data.address()?, data.address()?, data.address()?);
    data.end()?;
    require_signer(authority)?;
    require(fee_bps <= FEE_CAP_BPS, Refusal::FeeTooHigh)?;
    require(treasury != Address::default(), Refusal::NoTreasury)?;
    require(this.address() == program, Refusal::Unauthorized)?;
    require_upgrader(this, program_data, authority.address())?;
    create(
        authority,
        config,
        core::mem::size_of::<Config>(),
        [b"config", &[bump]],
        program,
    )?;
    let mut made = begin::<Config>(config, program)?;
    made.bump = bump;
    made.authority = *authority.address();
    made.treasury = treasury;
    made.fee_bps = fee_bps;
    made.ticket_program = tickets;
    made.tipping_program = tips;
    Ok(())
}

/// Source: `UpgradeableLoaderState`, bincode: the kind in 4 bytes; a program has the address of
/// its data behind it, the data has the slot (8 bytes) and an optional authority.
fn require_upgrader(
    this: &AccountView,
    program_data: &AccountView,
    authority: &Address,
) -> Result<(), ProgramError> {
    let refused = Refusal::Unauthorized;
    require(this.owned_by(&UPGRADEABLE_LOADER), refused)?;
    require(program_data.owned_by(&UPGRADEABLE_LOADER), refused)?;
    let program = this.try_borrow()?;
    require(
        program.len() >= 36
            && program[0] == PROGRAM
            && program[4..36] == *program_data.address().as_array(),
        refused,
    )?;
    let data = program_data.try_borrow()?;
    require(
        data.len() >= 45
            && data[0] == PROGRAM_DATA
            && data[12] == 1
            && data[13..45] == *authority.as_array(),
        refused,
    )
}

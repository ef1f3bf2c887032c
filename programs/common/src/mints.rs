//! Which mints a pot takes payment in: those that can't take back, withhold or lock what was paid.
//!
//! Source: the accounts of spl-token and spl-token-2022 (`Mint`, `ExtensionType`).

use pinocchio::{error::ProgramError, AccountView, Address};

use crate::{
    account::require_address,
    error::{require, Fault},
};

/// `TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA`
pub const TOKEN: Address = Address::new_from_array([
    6, 221, 246, 225, 215, 101, 161, 147, 217, 203, 225, 70, 206, 235, 121, 172, 28, 180, 133, 237,
    95, 91, 55, 145, 58, 140, 245, 133, 126, 255, 0, 169,
]);
/// `TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb`
pub const TOKEN_2022: Address = Address::new_from_array([
    6, 221, 246, 225, 238, 117, 143, 222, 24, 66, 93, 188, 228, 108, 205, 218, 182, 26, 252, 77,
    131, 185, 13, 39, 254, 189, 249, 40, 216, 161, 139, 252,
]);
/// Mints whose freezing authority is taken: USDC, EURC and USDT of the main network, USDC of the
/// development network (`EPjF…`, `Hzwq…`, `Es9v…`, `4zMM…`).
const WELL_KNOWN: [Address; 4] = [
    Address::new_from_array([
        198, 250, 122, 243, 190, 219, 173, 58, 61, 101, 243, 106, 171, 201, 116, 49, 177, 187, 228,
        194, 210, 246, 224, 228, 124, 166, 2, 3, 69, 47, 93, 97,
    ]),
    Address::new_from_array([
        252, 147, 26, 43, 88, 205, 35, 219, 45, 145, 210, 150, 217, 101, 5, 160, 111, 128, 148, 32,
        131, 248, 65, 232, 168, 135, 241, 56, 172, 3, 4, 55,
    ]),
    Address::new_from_array([
        206, 1, 14, 96, 175, 237, 178, 39, 23, 189, 99, 25, 47, 84, 20, 90, 63, 150, 90, 51, 187,
        130, 210, 199, 2, 158, 178, 206, 30, 32, 130, 100,
    ]),
    Address::new_from_array([
        59, 68, 44, 179, 145, 33, 87, 241, 58, 147, 61, 1, 52, 40, 45, 3, 43, 95, 254, 205, 1, 162,
        219, 241, 183, 121, 6, 8, 223, 0, 46, 167,
    ]),
];
const MINT_BYTES: usize = 82;
/// Where it is told whether a longer account is a mint (1); its extensions follow.
const KIND_AT: usize = 165;

pub const DECIMALS_AT: usize = 44;
const READY_AT: usize = 45;
const FREEZE_AUTHORITY_AT: usize = 46;

/// Fails unless it is a mint of this token program that no one can do harm with later on.
#[inline(never)]
pub fn require_payable(mint: &AccountView, program: &AccountView) -> Result<(), ProgramError> {
    let owner = mint.owner();
    require(
        owner == TOKEN || owner == TOKEN_2022,
        Fault::UnknownTokenProgram,
    )?;
    require_address(program, &owner)?;
    let data = mint.try_borrow()?;
    let plain = data.len() == MINT_BYTES;
    let extended = owner == TOKEN_2022 && data.len() > KIND_AT && data[KIND_AT] == 1;
    require((plain || extended) && data[READY_AT] == 1, Fault::NotAMint)?;
    if extended {
        require_harmless(&data[KIND_AT + 1..])?;
    }
    let freezes = data[FREEZE_AUTHORITY_AT] != 0;
    require(
        !freezes || WELL_KNOWN.contains(mint.address()),
        Fault::MintFreezes,
    )
}

/// Extensions are a kind, a length and so many bytes each, up to the end or to kind 0. What only
/// says what a token is called or belongs to does no harm; all else is refused, and what there
/// will be some day too.
fn require_harmless(extensions: &[u8]) -> Result<(), ProgramError> {
    let mut left = extensions;
    while let Some(([a, b, c, d], rest)) = left.split_first_chunk::<4>() {
        let fault = match u16::from_le_bytes([*a, *b]) {
            0 => return Ok(()),
            18..=23 => {
                let length = u16::from_le_bytes([*c, *d]) as usize;
                left = rest.get(length..).ok_or(Fault::NotAMint)?;
                continue;
            }
            1 => Fault::MintTakesFees,
            3 => Fault::MintCanBeClosed,
            4 | 16 | 24 => Fault::MintConfidential,
            6 => Fault::MintFreezesNew,
            9 => Fault::MintNotTransferable,
            10 | 25 => Fault::MintScales,
            12 => Fault::MintHasDelegate,
            14 => Fault::MintHasHook,
            26 => Fault::MintPausable,
            _ => Fault::MintExtended,
        };
        return Err(fault.into());
    }
    Ok(())
}

//! The RTA: one token of Token-2022 whose metadata stands on its mint, kept in escrow by the event.
//!
//! Source: spl-token-2022's instructions, spl-token-metadata-interface, spl-associated-token-account.

use hausd_common::create::{create_for, New};
use pinocchio::{
    cpi::{invoke, invoke_signed, Seed, Signer},
    error::ProgramError,
    instruction::{InstructionAccount, InstructionView},
    AccountView, Address, ProgramResult,
};

use crate::{
    error::Refusal,
    state::{EventSeeds, MAX_TITLE_BYTES, MAX_URI_BYTES},
};

/// `TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb`
pub const TOKEN_2022: Address = Address::new_from_array([
    6, 221, 246, 225, 238, 117, 143, 222, 24, 66, 93, 188, 228, 108, 205, 218, 182, 26, 252, 77,
    131, 185, 13, 39, 254, 189, 249, 40, 216, 161, 139, 252,
]);
/// `ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL`
pub const ASSOCIATED_TOKEN: Address = Address::new_from_array([
    140, 151, 37, 143, 78, 36, 137, 241, 187, 61, 16, 41, 20, 142, 13, 131, 11, 90, 19, 153, 218,
    255, 16, 132, 4, 142, 123, 216, 219, 233, 248, 89,
]);
/// Of `spl_token_metadata_interface:initialize_account`.
const INITIALIZE_METADATA: [u8; 8] = [210, 225, 30, 162, 88, 184, 77, 141];
const SYMBOL: &[u8] = b"RTA";
/// A mint with its account type and the metadata pointer.
const MINT_BYTES: usize = 166 + 68;
/// The metadata's own bytes beside its three texts.
const METADATA_BYTES: usize = 4 + 64 + 12 + 4;
const ACCOUNT_BYTES: usize = 165;
const MAX_DATA: usize = 8 + 12 + MAX_TITLE_BYTES + SYMBOL.len() + MAX_URI_BYTES;

struct Call<'a, const N: usize> {
    accounts: [InstructionAccount<'a>; N],
    views: [&'a AccountView; N],
    data: &'a [u8],
}

#[inline(never)]
fn as_event<const N: usize>(call: &Call<N>, event: &EventSeeds) -> ProgramResult {
    let seeds = [
        Seed::from(b"event".as_slice()),
        Seed::from(event.artist.as_array()),
        Seed::from(&event.nonce),
        Seed::from(&event.bump),
    ];
    let instruction = InstructionView {
        program_id: &TOKEN_2022,
        accounts: &call.accounts,
        data: call.data,
    };
    invoke_signed(&instruction, &call.views, &[Signer::from(&seeds)])
}

fn unsigned(data: &[u8], account: &AccountView) -> ProgramResult {
    let instruction = InstructionView {
        program_id: &TOKEN_2022,
        accounts: &[InstructionAccount::writable(account.address())],
        data,
    };
    invoke(&instruction, &[account])
}

/// What the RTA is made of.
pub struct Rta<'a> {
    pub payer: &'a AccountView,
    pub event: &'a AccountView,
    pub mint: &'a mut AccountView,
    pub escrow: &'a mut AccountView,
    pub seeds: &'a EventSeeds,
}

/// Makes the mint, with its metadata on it: `texts` are title and URI.
#[inline(never)]
pub fn make_mint(rta: &mut Rta, bump: u8, texts: &[&[u8]; 2]) -> ProgramResult {
    let [title, uri] = *texts;
    let Rta {
        payer,
        event,
        seeds,
        ..
    } = *rta;
    let mint = &mut *rta.mint;
    let grown = MINT_BYTES + METADATA_BYTES + title.len() + SYMBOL.len() + uri.len();
    let event_address = *event.address();
    let new = New {
        payer,
        account: mint,
        bytes: MINT_BYTES,
        grown,
        owner: &TOKEN_2022,
    };
    create_for(new, [b"rta", event_address.as_array(), &[bump]])?;
    let mint_address = *mint.address();
    // MetadataPointerInstruction::Initialize: authority, address
    let mut pointer = [0u8; 66];
    pointer[0] = 39;
    pointer[2..34].copy_from_slice(event_address.as_array());
    pointer[34..].copy_from_slice(mint_address.as_array());
    unsigned(&pointer, mint)?;
    // InitializeMint2: decimals 0, mint authority, no freeze authority
    let mut begin = [0u8; 35];
    begin[0] = 20;
    begin[2..34].copy_from_slice(event_address.as_array());
    unsigned(&begin, mint)?;
    let mut data = [0u8; MAX_DATA];
    data[..8].copy_from_slice(&INITIALIZE_METADATA);
    let mut at = 8;
    for text in [title, SYMBOL, uri] {
        data[at..at + 4].copy_from_slice(&(text.len() as u32).to_le_bytes());
        data[at + 4..at + 4 + text.len()].copy_from_slice(text);
        at += 4 + text.len();
    }
    let accounts = [
        InstructionAccount::writable(&mint_address),
        InstructionAccount::readonly(&event_address),
        InstructionAccount::readonly(&mint_address),
        InstructionAccount::readonly_signer(&event_address),
    ];
    let mint = &*mint;
    as_event(
        &Call {
            accounts,
            views: [mint, event, mint, event],
            data: &data[..at],
        },
        seeds,
    )
}

/// Mints the one token into escrow, and gives up minting.
#[inline(never)]
pub fn mint_into_escrow(rta: &mut Rta, bump: u8) -> ProgramResult {
    let Rta {
        payer,
        event,
        seeds,
        ..
    } = *rta;
    let (mint, escrow) = (&*rta.mint, &mut *rta.escrow);
    let event_address = *event.address();
    let new = New {
        payer,
        account: escrow,
        bytes: ACCOUNT_BYTES,
        grown: ACCOUNT_BYTES,
        owner: &TOKEN_2022,
    };
    create_for(new, [b"escrow", event_address.as_array(), &[bump]])?;
    // InitializeAccount3: owner
    let mut begin = [0u8; 33];
    begin[0] = 18;
    begin[1..].copy_from_slice(event_address.as_array());
    let instruction = InstructionView {
        program_id: &TOKEN_2022,
        accounts: &[
            InstructionAccount::writable(escrow.address()),
            InstructionAccount::readonly(mint.address()),
        ],
        data: &begin,
    };
    invoke(&instruction, &[&*escrow, mint])?;
    // MintToChecked: 1, decimals 0
    let accounts = [
        InstructionAccount::writable(mint.address()),
        InstructionAccount::writable(escrow.address()),
        InstructionAccount::readonly_signer(event.address()),
    ];
    let one = [14, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    as_event(
        &Call {
            accounts,
            views: [mint, escrow, event],
            data: &one,
        },
        seeds,
    )?;
    // SetAuthority: MintTokens, nobody
    let accounts = [
        InstructionAccount::writable(mint.address()),
        InstructionAccount::readonly_signer(event.address()),
    ];
    as_event(
        &Call {
            accounts,
            views: [mint, event],
            data: &[6, 0, 0],
        },
        seeds,
    )
}

/// Who and what a delivery takes.
pub struct Delivery<'a> {
    pub payer: &'a AccountView,
    pub escrow: &'a AccountView,
    pub mint: &'a AccountView,
    pub event: &'a AccountView,
    pub recipient: &'a AccountView,
    pub account: &'a AccountView,
    pub token_program: &'a AccountView,
    pub system: &'a AccountView,
    pub rent_to: &'a AccountView,
}

/// Sends the token to the recipient's associated account, made if it is missing, and closes the
/// escrow: its rent goes to `rent_to`.
#[inline(never)]
pub fn deliver(delivery: &Delivery, seeds: &EventSeeds) -> ProgramResult {
    let Delivery {
        payer,
        escrow,
        mint,
        event,
        recipient,
        account,
        token_program,
        system,
        rent_to,
    } = *delivery;
    // CreateIdempotent checks that the account is the recipient's and of this mint.
    let instruction = InstructionView {
        program_id: &ASSOCIATED_TOKEN,
        accounts: &[
            InstructionAccount::writable_signer(payer.address()),
            InstructionAccount::writable(account.address()),
            InstructionAccount::readonly(recipient.address()),
            InstructionAccount::readonly(mint.address()),
            InstructionAccount::readonly(system.address()),
            InstructionAccount::readonly(token_program.address()),
        ],
        data: &[1],
    };
    invoke(
        &instruction,
        &[payer, account, recipient, mint, system, token_program],
    )?;
    // TransferChecked: 1, decimals 0
    let accounts = [
        InstructionAccount::writable(escrow.address()),
        InstructionAccount::readonly(mint.address()),
        InstructionAccount::writable(account.address()),
        InstructionAccount::readonly_signer(event.address()),
    ];
    let one = [12, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    as_event(
        &Call {
            accounts,
            views: [escrow, mint, account, event],
            data: &one,
        },
        seeds,
    )?;
    // CloseAccount
    let accounts = [
        InstructionAccount::writable(escrow.address()),
        InstructionAccount::writable(rent_to.address()),
        InstructionAccount::readonly_signer(event.address()),
    ];
    as_event(
        &Call {
            accounts,
            views: [escrow, rent_to, event],
            data: &[9],
        },
        seeds,
    )
}

/// Fails unless it is Token-2022.
pub fn require_token_2022(view: &AccountView) -> Result<(), ProgramError> {
    if view.address() == &TOKEN_2022 {
        Ok(())
    } else {
        Err(Refusal::Unauthorized.into())
    }
}

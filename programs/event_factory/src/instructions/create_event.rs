//! An event with everything that belongs to it: checkpoint, RTA in escrow, sale, vault.

use hausd_common::{
    account::{begin, require_address},
    create::create,
    load, names, require, require_signer,
    sys::{log_data, now},
    tokens::{left_out, SOL},
    Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::Refusal,
    pots::{make, Data, Making, Tokens},
    state::{
        latest_close, status, Checkpoint, Config, Event, EventSeeds, MAX_LENGTH_S, MAX_POSTPONED_S,
        MAX_TIP_EXTENSION_S, MAX_TITLE_BYTES, MAX_URI_BYTES,
    },
    token,
};

struct Given<'a> {
    nonce: [u8; 16],
    event_bump: u8,
    checkpoint_bump: u8,
    rta_bump: u8,
    escrow_bump: u8,
    sale_bump: u8,
    vault_bump: u8,
    starts_at: i64,
    scheduled_end: i64,
    tip_extension: u32,
    stream_authority: Address,
    metadata: [u8; 36],
    title: &'a [u8],
    uri: &'a [u8],
}

fn read(untrusted: &[u8]) -> Result<Given<'_>, ProgramError> {
    let mut data = Reader::new(untrusted);
    let given = Given {
        nonce: data.array()?,
        event_bump: data.u8()?,
        checkpoint_bump: data.u8()?,
        rta_bump: data.u8()?,
        escrow_bump: data.u8()?,
        sale_bump: data.u8()?,
        vault_bump: data.u8()?,
        starts_at: data.i64()?,
        scheduled_end: data.i64()?,
        tip_extension: data.u32()?,
        stream_authority: data.address()?,
        metadata: data.array()?,
        title: data.text(MAX_TITLE_BYTES)?,
        uri: data.text(MAX_URI_BYTES)?,
    };
    data.end()?;
    require(!given.title.is_empty(), Refusal::BadText)?;
    Ok(given)
}

/// What the platform says at this moment; it holds for this event for good.
struct Terms {
    treasury: Address,
    fee_bps: u16,
    ticket_program: Address,
    tipping_program: Address,
}

/// `[artist (s w), config, event (w), checkpoint (w), rta_mint (w), escrow (w), sale (w),
/// vault (w), ticket_program, tipping_program, token_2022, system]`, and where it is to be paid in a
/// token `[mint, token_program, sale_tokens (w), vault_tokens (w)]`
#[inline(always)]
pub fn process(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    run(Input {
        program,
        accounts,
        data,
    })
}

/// In one, since a function of this machine takes five registers.
struct Input<'a> {
    program: &'a Address,
    accounts: &'a mut [AccountView],
    data: &'a [u8],
}

#[inline(never)]
fn run(input: Input) -> ProgramResult {
    let Input {
        program,
        accounts,
        data,
    } = input;
    let Some((own, rest)) = accounts.split_first_chunk_mut::<12>() else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let [artist, config, event, checkpoint, rta_mint, escrow, sale, vault, tickets, tips, token_2022, system] =
        own;
    let tokens = pots_tokens(rest, program)?;
    let paid = Paid::of(&tokens);
    let given = read(data)?;
    require_signer(artist)?;
    token::require_token_2022(token_2022)?;
    let terms = terms(config, program)?;
    require_address(tickets, &terms.ticket_program)?;
    require_address(tips, &terms.tipping_program)?;
    let now = now()?;
    let length = given.scheduled_end.checked_sub(given.starts_at);
    require(
        given.starts_at > 0
            && given.scheduled_end > now.time
            && given.scheduled_end < now.time + 4 * MAX_LENGTH_S
            && matches!(length, Some(1..=MAX_LENGTH_S)),
        Refusal::BadSchedule,
    )?;
    require(
        given.tip_extension <= MAX_TIP_EXTENSION_S,
        Refusal::BadSchedule,
    )?;
    let seeds = EventSeeds {
        artist: *artist.address(),
        nonce: given.nonce,
        bump: [given.event_bump],
    };
    make_event_account(artist, event, &given, program)?;
    fill_event(artist, event, rta_mint.address(), &given, &terms, &paid)?;
    make_checkpoint(artist, checkpoint, event, &given)?;
    let mut rta = token::Rta {
        payer: artist,
        event,
        mint: rta_mint,
        escrow,
        seeds: &seeds,
    };
    token::make_mint(&mut rta, given.rta_bump, &[given.title, given.uri])?;
    token::mint_into_escrow(&mut rta, given.escrow_bump)?;
    let mut making = Making {
        payer: artist,
        pot: sale,
        event,
        system,
        tokens: tokens.as_ref().map(|(of_sale, _)| *of_sale),
    };
    make(&terms.ticket_program, &making, &sale_data(artist.address(), &given, &paid), &seeds)?;
    making.pot = vault;
    making.tokens = tokens.map(|(_, of_vault)| of_vault);
    make(&terms.tipping_program, &making, &vault_data(artist.address(), &given, &paid), &seeds)?;
    log_created(event.address(), artist.address());
    Ok(())
}

/// What the pots' token accounts are made of, where the event is to be paid in a token. The pots
/// check the mint: it is their money.
fn pots_tokens<'a>(
    rest: &'a [AccountView],
    program: &Address,
) -> Result<Option<(Tokens<'a>, Tokens<'a>)>, ProgramError> {
    if left_out(rest, program) {
        return Ok(None);
    }
    let [mint, token_program, of_sale, of_vault, ..] = rest else {
        return Err(Fault::PaidInTokens.into());
    };
    let some = |account| Tokens {
        mint,
        program: token_program,
        account,
    };
    Ok(Some((some(of_sale), some(of_vault))))
}

/// The addresses of mint and token program; both zero: SOL.
struct Paid {
    mint: Address,
    token_program: Address,
}

impl Paid {
    fn of(tokens: &Option<(Tokens, Tokens)>) -> Self {
        match tokens {
            Some((tokens, _)) => Self {
                mint: *tokens.mint.address(),
                token_program: *tokens.program.address(),
            },
            None => Self {
                mint: SOL,
                token_program: SOL,
            },
        }
    }
}

fn terms(config: &AccountView, program: &Address) -> Result<Terms, ProgramError> {
    let config = load::<Config>(config, program)?;
    Ok(Terms {
        treasury: config.treasury,
        fee_bps: config.fee_bps,
        ticket_program: config.ticket_program,
        tipping_program: config.tipping_program,
    })
}

#[inline(never)]
fn make_event_account(
    artist: &AccountView,
    event: &mut AccountView,
    given: &Given,
    program: &Address,
) -> ProgramResult {
    let (payer, bytes) = (artist, core::mem::size_of::<Event>());
    let seeds: [&[u8]; 4] = [
        b"event",
        artist.address().as_array(),
        &given.nonce,
        &[given.event_bump],
    ];
    create(payer, event, bytes, seeds, program)
}

#[inline(always)]
fn fill_event(
    artist: &AccountView,
    event: &mut AccountView,
    rta_mint: &Address,
    given: &Given,
    terms: &Terms,
    paid: &Paid,
) -> ProgramResult {
    let program = &event.owner();
    let now = now()?;
    let mut made = begin::<Event>(event, program)?;
    made.bump = given.event_bump;
    made.status = status::DRAFT;
    made.artist = *artist.address();
    made.nonce = given.nonce;
    made.mint = paid.mint;
    made.token_program = paid.token_program;
    made.rta_mint = *rta_mint;
    made.stream_authority = given.stream_authority;
    made.authority_since = now.slot;
    made.ticket_program = terms.ticket_program;
    made.tipping_program = terms.tipping_program;
    made.treasury = terms.treasury;
    made.fee_bps = terms.fee_bps;
    made.created_at = now.time;
    made.starts_at = given.starts_at;
    made.scheduled_end = given.scheduled_end;
    made.latest_end = given.scheduled_end + MAX_POSTPONED_S;
    made.tip_extension = given.tip_extension;
    made.metadata = given.metadata;
    let title = &mut made.title;
    title[..given.title.len()].copy_from_slice(given.title);
    Ok(())
}

#[inline(always)]
fn make_checkpoint(
    artist: &AccountView,
    checkpoint: &mut AccountView,
    event: &AccountView,
    given: &Given,
) -> ProgramResult {
    let (program, event) = (&event.owner(), event.address());
    create(
        artist,
        checkpoint,
        core::mem::size_of::<Checkpoint>(),
        [b"checkpoint", event.as_array(), &[given.checkpoint_bump]],
        program,
    )?;
    let mut made = begin::<Checkpoint>(checkpoint, program)?;
    made.bump = given.checkpoint_bump;
    made.event = *event;
    made.authority = given.stream_authority;
    Ok(())
}

#[inline(never)]
fn sale_data(artist: &Address, given: &Given, paid: &Paid) -> Data {
    let mut data = Data::of(const { names::instruction("init_sale") });
    data.put(&[given.sale_bump]);
    data.put(artist.as_array());
    data.put(paid.mint.as_array());
    data.put(paid.token_program.as_array());
    data
}

#[inline(never)]
fn vault_data(artist: &Address, given: &Given, paid: &Paid) -> Data {
    let mut data = Data::of(const { names::instruction("init_vault") });
    data.put(&[given.vault_bump]);
    data.put(artist.as_array());
    data.put(paid.mint.as_array());
    data.put(paid.token_program.as_array());
    data.put(&given.scheduled_end.to_le_bytes());
    let latest = latest_close(given.scheduled_end, given.tip_extension);
    data.put(&latest.to_le_bytes());
    data.put(&given.tip_extension.to_le_bytes());
    data
}

fn log_created(event: &Address, artist: &Address) {
    const NAME: [u8; 8] = names::event("EventCreated");
    let mut bytes = [0u8; 72];
    bytes[..8].copy_from_slice(&NAME);
    bytes[8..40].copy_from_slice(event.as_array());
    bytes[40..].copy_from_slice(artist.as_array());
    log_data(&bytes);
}

//! Tips. Accounts: tipper (signs, pays), vault (written), record (written), system program; in
//! a token: mint, token program, a token account of the tipper's (written), the vault's (written).

use hausd_common::{
    account::bytes_of,
    create::pull,
    load_mut, names, require,
    sys::{log_data, now, Now},
    tokens::{left_out, Payment, SOL},
    Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TipError,
    state::{TipRecord, Vault, MAX_MESSAGE, MIN_TIP, OPEN},
};

const EVENT: [u8; 8] = names::event("Tipped");

/// The head of what the log says; the message follows.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Tipped {
    discriminator: [u8; 8],
    vault: Address,
    tipper: Address,
    amount: u64,
    total: u64,
    leader: u8,
    message_len: u32,
}

const HEAD: usize = core::mem::size_of::<Tipped>();

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [tipper, vault, record, _system, rest @ ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let amount = data.u64()?;
    let message = data.text(MAX_MESSAGE)?;
    data.end()?;

    require(amount >= MIN_TIP, TipError::TipTooSmall)?;
    let in_sol = left_out(rest, program);
    if in_sol {
        pull(tipper, vault, amount)?;
    } else {
        let payment = Payment {
            program,
            pot: vault,
            rest,
        };
        payment.pull::<Vault>(tipper, amount)?;
    }
    let place = *vault.address();
    let now = now()?;
    let mut vault = load_mut::<Vault>(vault, program)?;
    require(!in_sol || vault.mint == SOL, Fault::PaidInTokens)?;
    require_taking(&vault, now)?;
    let mut record = load_mut::<TipRecord>(record, program)?;
    require(
        record.vault == place && record.tipper == *tipper.address(),
        Fault::WrongAccount,
    )?;

    record.total += amount;
    record.count = record.count.saturating_add(1);
    record.last_slot = now.slot;
    vault.total += amount;
    vault.tips = vault.tips.saturating_add(1);
    let total = record.total;
    let leads = total > vault.leader_total;
    if leads {
        lead(&mut vault, tipper.address(), total, now);
    }
    told(
        &Tipped {
            discriminator: EVENT,
            vault: place,
            tipper: *tipper.address(),
            amount,
            total,
            leader: u8::from(leads),
            message_len: message.len() as u32,
        },
        message,
    );
    Ok(())
}

/// With an extension tips end at a time that is known; without one, when the event ends.
fn require_taking(vault: &Vault, now: Now) -> ProgramResult {
    let open = vault.state == OPEN && (vault.extension == 0 || now.time < vault.tips_close_at);
    require(open, TipError::TipsClosed)
}

/// Who takes the lead late gives the others time to answer.
fn lead(vault: &mut Vault, tipper: &Address, total: u64, now: Now) {
    let changes = vault.leader != *tipper;
    vault.leader = *tipper;
    vault.leader_total = total;
    vault.leader_slot = now.slot;
    let extension = i64::from(vault.extension);
    if changes && extension > 0 && vault.tips_close_at - now.time < extension {
        let until = (now.time + extension).min(vault.latest_close_at);
        if until > vault.tips_close_at {
            vault.tips_close_at = until;
            vault.extended = 1;
        }
    }
}

fn told(head: &Tipped, message: &[u8]) {
    let mut line = [0u8; HEAD + MAX_MESSAGE];
    line[..HEAD].copy_from_slice(bytes_of(head));
    line[HEAD..HEAD + message.len()].copy_from_slice(message);
    log_data(&line[..HEAD + message.len()]);
}

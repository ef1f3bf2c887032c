//! Passes tickets on, with the right to a refund. Accounts: holder (signs, pays the rent), sale,
//! the holder's ticket (written), the other's ticket (written), the other, system program.

use hausd_common::{
    account::bytes_of,
    load, load_mut, names, require, require_signer,
    sys::{log_data, now},
    Fault, Reader,
};
use pinocchio::{error::ProgramError, AccountView, Address, ProgramResult};

use crate::{
    error::TicketError,
    state::{Sale, Ticket, DRAFT, MAX_TIERS, REFUNDING},
    tickets::{hold, Place},
};

const EVENT: [u8; 8] = names::event("TicketsTransferred");

#[derive(Clone, Copy)]
#[repr(C, packed)]
struct TicketsTransferred {
    discriminator: [u8; 8],
    event: Address,
    from: Address,
    to: Address,
    tier: u8,
    count: u16,
}

pub fn run(program: &Address, accounts: &mut [AccountView], data: &[u8]) -> ProgramResult {
    let [holder, sale, from, target, to, _system, ..] = accounts else {
        return Err(ProgramError::NotEnoughAccountKeys);
    };
    let mut data = Reader::new(data);
    let (index, count) = (data.u8()?, data.u16()?);
    let bump = data.u8()?;
    data.end()?;

    require_signer(holder)?;
    require(from.address() != target.address(), Fault::WrongAccount)?;
    let (event, tier) = {
        let sale = load::<Sale>(sale, program)?;
        require(!matches!(sale.state, DRAFT | REFUNDING), Fault::WrongState)?;
        require(
            index < sale.tier_len && (index as usize) < MAX_TIERS,
            TicketError::NoSuchTier,
        )?;
        (sale.event, sale.tiers[index as usize])
    };
    require(tier.transferable != 0, TicketError::NotTransferable)?;
    let taken = {
        let mut from = load_mut::<Ticket>(from, program)?;
        require(
            from.event == event && from.holder == *holder.address(),
            Fault::WrongAccount,
        )?;
        from.take(index, count, tier.price)?
    };
    let place = Place {
        event: &event,
        holder: to.address(),
        untrusted_bump: bump,
    };
    hold(program, holder, target, &place)?;
    let mut target = load_mut::<Ticket>(target, program)?;
    target.add(index, taken.paid, taken.comp, taken.amount)?;
    target.acquired_slot = now()?.slot;
    log_data(bytes_of(&TicketsTransferred {
        discriminator: EVENT,
        event,
        from: *holder.address(),
        to: *to.address(),
        tier: index,
        count,
    }));
    Ok(())
}

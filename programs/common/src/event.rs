//! The event that a pot belongs to: it signs for what only EventFactory may do.

use pinocchio::{error::ProgramError, AccountView, Address};

use crate::error::Fault;

/// Fails unless this is the pot's event, still its factory's, and it signs.
pub fn require_event(
    view: &AccountView,
    event: &Address,
    factory: &Address,
) -> Result<(), ProgramError> {
    if view.is_signer() && view.address() == event && view.owned_by(factory) {
        Ok(())
    } else {
        Err(Fault::NotTheEvent.into())
    }
}

/// The program whose an event is, at the making of a pot. A wallet is no event.
pub fn factory_of(event: &AccountView) -> Result<Address, ProgramError> {
    let owner = event.owner();
    if !event.is_signer() || owner == pinocchio_system::ID {
        return Err(Fault::NotTheEvent.into());
    }
    Ok(owner)
}

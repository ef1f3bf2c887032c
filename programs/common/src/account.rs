//! The one door for accounts: whose they are, what they are, how long, which version.

use core::mem::size_of;

use pinocchio::{
    account::{Ref, RefMut},
    error::ProgramError,
    AccountView, Address,
};

use crate::error::Fault;

/// The layout of an account: borsh's, which is packed and little-endian.
///
/// # Safety
/// The type is `repr(C, packed)`, has no invalid bit patterns, and begins with the
/// discriminator (8 bytes) and the version (1 byte).
pub unsafe trait Account: Sized {
    const DISCRIMINATOR: [u8; 8];
    const BYTES: usize = size_of::<Self>();
}

/// The version of every account's layout.
pub const VERSION: u8 = 1;

fn check<T: Account>(view: &AccountView, program: &Address) -> Result<(), ProgramError> {
    if !view.owned_by(program) || view.data_len() != T::BYTES {
        return Err(Fault::WrongAccount.into());
    }
    Ok(())
}

fn known<T: Account>(data: &[u8]) -> bool {
    data[..8] == T::DISCRIMINATOR && data[8] == VERSION
}

/// Reads an account of this program. The same account can't be open for writing twice.
pub fn load<'a, T: Account>(
    view: &'a AccountView,
    program: &Address,
) -> Result<Ref<'a, T>, ProgramError> {
    check::<T>(view, program)?;
    let data = view.try_borrow()?;
    if !known::<T>(&data) {
        return Err(Fault::WrongAccount.into());
    }
    // SAFETY: the length was checked; `Account` promises alignment 1 and any bits.
    Ok(Ref::map(data, |bytes| unsafe {
        &*bytes.as_ptr().cast::<T>()
    }))
}

/// Opens an account of this program for writing.
pub fn load_mut<'a, T: Account>(
    view: &'a mut AccountView,
    program: &Address,
) -> Result<RefMut<'a, T>, ProgramError> {
    check::<T>(view, program)?;
    require_writable(view)?;
    let data = view.try_borrow_mut()?;
    if !known::<T>(&data) {
        return Err(Fault::WrongAccount.into());
    }
    // SAFETY: as above, and `RefMut` says that nobody else has it.
    Ok(RefMut::map(data, |bytes| unsafe {
        &mut *bytes.as_mut_ptr().cast::<T>()
    }))
}

/// A new account, its discriminator and version written; all else is zero.
pub fn begin<'a, T: Account>(
    view: &'a mut AccountView,
    program: &Address,
) -> Result<RefMut<'a, T>, ProgramError> {
    check::<T>(view, program)?;
    let mut data = view.try_borrow_mut()?;
    data[..8].copy_from_slice(&T::DISCRIMINATOR);
    data[8] = VERSION;
    // SAFETY: as above.
    Ok(RefMut::map(data, |bytes| unsafe {
        &mut *bytes.as_mut_ptr().cast::<T>()
    }))
}

/// The bytes of a packed value, for a log.
pub fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: only packed types are given here: no padding.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

pub fn require_signer(view: &AccountView) -> Result<(), ProgramError> {
    if view.is_signer() {
        Ok(())
    } else {
        Err(ProgramError::MissingRequiredSignature)
    }
}

pub fn require_writable(view: &AccountView) -> Result<(), ProgramError> {
    if view.is_writable() {
        Ok(())
    } else {
        Err(Fault::WrongAccount.into())
    }
}

/// The address is the one of an account that we know.
pub fn require_address(view: &AccountView, wanted: &Address) -> Result<(), ProgramError> {
    if view.address() == wanted {
        Ok(())
    } else {
        Err(Fault::WrongAccount.into())
    }
}

/// Who gets the rent of an account that is given up by who signs: who paid it, unless they made a
/// program of their own address. That can't be given lamports, and must not keep back what is another's.
pub fn rent_to<'a>(
    payer: &'a mut AccountView,
    signer: &'a mut AccountView,
) -> &'a mut AccountView {
    if payer.executable() {
        signer
    } else {
        payer
    }
}

/// Closes an account of this program: its rent goes to `to`.
pub fn close(view: &mut AccountView, to: &mut AccountView) -> Result<(), ProgramError> {
    require_writable(to)?;
    if view.address() == to.address() {
        return Err(Fault::WrongAccount.into());
    }
    to.set_lamports(to.lamports() + view.lamports());
    view.set_lamports(0);
    view.close()
}

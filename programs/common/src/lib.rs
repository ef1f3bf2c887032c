//! What hausd's programs share. Each account is checked at one door (`account`), each instruction's
//! data is read at another (`data`); `unsafe` stands in `account` and `sys` alone.
#![no_std]

pub mod account;
pub mod create;
pub mod data;
pub mod error;
pub mod event;
pub mod mints;
pub mod names;
pub mod payout;
pub mod sys;
pub mod tokens;

pub use account::{load, load_mut, require_signer, require_writable, Account};
pub use data::Reader;
pub use error::{require, Fault};

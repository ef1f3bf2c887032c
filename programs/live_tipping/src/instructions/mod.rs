//! A file for each instruction: its accounts, its data, what it does.

pub mod cancel_vault;
pub mod claim;
pub mod close_record;
pub mod close_vault;
pub mod init_vault;
pub mod open_record;
pub mod open_vault;
pub mod refund;
pub mod set_close;
pub mod settle;
pub mod tip;

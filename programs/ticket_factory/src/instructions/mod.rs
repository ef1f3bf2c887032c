//! A file for each instruction: its accounts, its data, what it does.

pub mod add_tier;
pub mod buy;
pub mod cancel_sale;
pub mod claim;
pub mod close_sale;
pub mod close_ticket;
pub mod gift;
pub mod init_sale;
pub mod open_sale;
pub mod refund;
pub mod settle;
pub mod transfer;
pub mod verify;

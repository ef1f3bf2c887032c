//! Payment in a token. A pot that is paid in one has a token account of its own, made with it: the
//! address derived of the pot, `"tokens"` and the token program (`create_with_seed`), which one
//! hash gives, and which only the pot can have made.
//!
//! Source: spl-token's instructions, the same in spl-token-2022.

use pinocchio::{
    cpi::{invoke, invoke_signed, Seed, Signer},
    error::ProgramError,
    instruction::{InstructionAccount, InstructionView},
    AccountView, Address, ProgramResult,
};
use pinocchio_system::instructions::{AllocateWithSeed, Transfer};

use crate::{
    account::{load, require_address, Account},
    error::{require, Fault},
    mints::{require_payable, DECIMALS_AT},
    sys::{rent, sha256},
};

/// The mint and the token program of what is paid in SOL.
pub const SOL: Address = Address::new_from_array([0; 32]);

const SEED: &str = "tokens";
const ACCOUNT_BYTES: usize = 165;
const INITIALIZE_ACCOUNT_3: u8 = 18;
const TRANSFER_CHECKED: u8 = 12;

/// A sale or a vault: `SEED` and its event derive its address.
pub trait Pot: Account {
    const SEED: &'static [u8];

    fn purse(&self) -> Purse;
}

/// What a pot is paid in, and what signs for it.
pub struct Purse {
    pub mint: Address,
    pub token_program: Address,
    pub event: Address,
    pub bump: [u8; 1],
}

impl Purse {
    fn seeds<T: Pot>(&self) -> [Seed<'_>; 3] {
        [
            Seed::from(T::SEED),
            Seed::from(self.event.as_array()),
            Seed::from(&self.bump),
        ]
    }
}

/// No token accounts stand behind an instruction's own. The program itself in a place stands for
/// one that is left out: Anchor's way.
#[inline(always)]
pub fn left_out(rest: &[AccountView], program: &Address) -> bool {
    rest.iter().all(|view| view.address() == program)
}

/// A payment in a token: the pot, and what stands behind the instruction's own accounts, which is
/// mint, token program, a token account of who pays or is paid (written), the pot's own (written).
pub struct Payment<'a> {
    pub program: &'a Address,
    pub pot: &'a AccountView,
    pub rest: &'a [AccountView],
}

impl<'a> Payment<'a> {
    /// Into the pot, from the tokens of who signs: without that the runtime lets no call through.
    #[inline(never)]
    pub fn pull<T: Pot>(&self, from: &AccountView, amount: u64) -> ProgramResult {
        let purse = load::<T>(self.pot, self.program)?.purse();
        let [mint, program, theirs, pots] = self.accounts(&purse, from.address())?;
        let transfer = Transferred {
            program,
            views: [theirs, mint, pots, from],
            amount,
        };
        transfer.run(&[])
    }

    /// Out of the pot, to a token account of `to`'s, whichever it is.
    #[inline(never)]
    pub fn pay<T: Pot>(&self, to: &Address, amount: u64) -> ProgramResult {
        let purse = load::<T>(self.pot, self.program)?.purse();
        let [mint, program, theirs, pots] = self.accounts(&purse, to)?;
        let transfer = Transferred {
            program,
            views: [pots, mint, theirs, self.pot],
            amount,
        };
        transfer.run(&[Signer::from(&purse.seeds::<T>())])
    }

    /// Fails unless they are those of this pot and of this person. What else they have to be (the
    /// accounts of this token program and not frozen, the mint theirs) is the token program's check.
    fn accounts(&self, purse: &Purse, of: &Address) -> Result<[&'a AccountView; 4], ProgramError> {
        require(purse.mint != SOL, Fault::PaidInSol)?;
        let [mint, program, theirs, pots, ..] = self.rest else {
            return Err(Fault::PaidInTokens.into());
        };
        require_address(program, &purse.token_program)?;
        let place = sha256(&[
            self.pot.address().as_array(),
            SEED.as_bytes(),
            purse.token_program.as_array(),
        ]);
        require_address(pots, &Address::new_from_array(place))?;
        let data = theirs.try_borrow()?;
        require(
            data.len() >= ACCOUNT_BYTES
                && data[..32] == *purse.mint.as_array()
                && data[32..64] == *of.as_array(),
            Fault::NotTheirTokens,
        )?;
        Ok([mint, program, theirs, pots])
    }
}

/// `views`: from, mint, to, and who may.
struct Transferred<'a> {
    program: &'a AccountView,
    views: [&'a AccountView; 4],
    amount: u64,
}

impl Transferred<'_> {
    fn run(&self, signers: &[Signer]) -> ProgramResult {
        let [from, mint, to, who] = self.views;
        let mut data = [TRANSFER_CHECKED; 10];
        data[1..9].copy_from_slice(&self.amount.to_le_bytes());
        data[9] = *mint.try_borrow()?.get(DECIMALS_AT).ok_or(Fault::NotAMint)?;
        let instruction = InstructionView {
            program_id: self.program.address(),
            accounts: &[
                InstructionAccount::writable(from.address()),
                InstructionAccount::readonly(mint.address()),
                InstructionAccount::writable(to.address()),
                InstructionAccount::readonly_signer(who.address()),
            ],
            data: &data,
        };
        invoke_signed(&instruction, &self.views, signers)
    }
}

/// What a new pot is, and who pays the rent of its token account.
pub struct NewPot<'a> {
    pub payer: &'a AccountView,
    pub pot: &'a AccountView,
    pub rest: &'a [AccountView],
    pub purse: &'a Purse,
}

impl NewPot<'_> {
    /// Makes the pot's token account, where it is to be paid in a token: `rest` is mint, token
    /// program and the account (written). Lamports that somebody sent there keep nobody from it.
    #[inline(never)]
    pub fn make_tokens<T: Pot>(&self) -> ProgramResult {
        let purse = self.purse;
        if purse.mint == SOL {
            let sol = purse.token_program == SOL && self.rest.is_empty();
            return require(sol, Fault::PaidInSol);
        }
        let [mint, program, account, ..] = self.rest else {
            return Err(Fault::PaidInTokens.into());
        };
        require_address(mint, &purse.mint)?;
        require_address(program, &purse.token_program)?;
        require_payable(mint, program)?;
        self.make_account(account, Signer::from(&purse.seeds::<T>()))?;
        let mut data = [INITIALIZE_ACCOUNT_3; 33];
        data[1..].copy_from_slice(self.pot.address().as_array());
        let instruction = InstructionView {
            program_id: program.address(),
            accounts: &[
                InstructionAccount::writable(account.address()),
                InstructionAccount::readonly(mint.address()),
            ],
            data: &data,
        };
        invoke(&instruction, &[account, mint])
    }

    /// The system program checks that the address is the derived one; its allocation assigns too.
    fn make_account(&self, account: &AccountView, signer: Signer) -> ProgramResult {
        let (has, wanted) = (account.lamports(), rent(ACCOUNT_BYTES)?);
        if has < wanted {
            Transfer {
                from: self.payer,
                to: account,
                lamports: wanted - has,
            }
            .invoke()?;
        }
        AllocateWithSeed {
            account,
            base: self.pot,
            seed: SEED,
            space: ACCOUNT_BYTES as u64,
            owner: &self.purse.token_program,
        }
        .invoke_signed(&[signer])
    }
}

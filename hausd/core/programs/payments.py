"""What an event is paid in, and the token accounts that go with it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from hausd.core.programs.accounts import NOBODY, EventAccount, SaleAccount, VaultAccount
from hausd.core.programs.addresses import (
    ASSOCIATED_TOKEN,
    SYSTEM,
    pot_tokens_place,
    token_place,
)

Accounts = dict[str, Pubkey]
CREATE_IDEMPOTENT = bytes([1])
TRANSFER_CHECKED = 12


@dataclass(frozen=True, slots=True)
class Payment:
    """What a pot is paid in: SOL (``mint`` is NOBODY), or one SPL token.

    ``account`` is the token account that a person pays from or is paid to; where it is None, that
    is the associated one.
    """

    mint: Pubkey = NOBODY
    token_program: Pubkey = NOBODY
    account: Pubkey | None = None

    @classmethod
    def of(cls, pot: EventAccount | SaleAccount | VaultAccount) -> Payment:
        """What this is paid in."""
        return cls(pot.mint, pot.token_program)

    def accounts(self, person_name: str, person: Pubkey, pot_name: str, pot: Pubkey) -> Accounts:
        """The token accounts between a person and a pot; none where it is SOL."""
        if self.mint == NOBODY:
            return {}
        associated = token_place(person, self.mint, self.token_program)
        return {
            "mint": self.mint,
            "token_program": self.token_program,
            f"{person_name}_tokens": self.account or associated,
            f"{pot_name}_tokens": pot_tokens_place(pot, self.token_program),
        }

    def of_new_pots(self, sale: Pubkey, vault: Pubkey) -> Accounts:
        """What an event brings along whose pots are to be paid in a token."""
        if self.mint == NOBODY:
            return {}
        return {
            "mint": self.mint,
            "token_program": self.token_program,
            "sale_tokens": pot_tokens_place(sale, self.token_program),
            "vault_tokens": pot_tokens_place(vault, self.token_program),
        }


SOL = Payment()


def open_tokens(payer: Pubkey, owner: Pubkey, payment: Payment) -> Instruction:
    """Makes the associated token account of ``owner`` where it is missing; ``payer`` signs.

    Source: spl-associated-token-account, ``CreateIdempotent``.
    """
    place = token_place(owner, payment.mint, payment.token_program)
    accounts = [
        AccountMeta(payer, True, True),
        AccountMeta(place, False, True),
        AccountMeta(owner, False, False),
        AccountMeta(payment.mint, False, False),
        AccountMeta(SYSTEM, False, False),
        AccountMeta(payment.token_program, False, False),
    ]
    return Instruction(ASSOCIATED_TOKEN, CREATE_IDEMPOTENT, accounts)


def check_decimals(owner: Pubkey, payment: Payment, decimals: int) -> Instruction:
    """Moves nothing from ``owner``, who signs, to themselves: fails where the token has other
    decimals than these, and the whole transaction with it.

    Source: spl-token, ``TransferChecked``.
    """
    place = payment.account or token_place(owner, payment.mint, payment.token_program)
    metas = [
        AccountMeta(place, False, True),
        AccountMeta(payment.mint, False, False),
        AccountMeta(place, False, True),
        AccountMeta(owner, True, False),
    ]
    return Instruction(
        payment.token_program, struct.pack("<BQB", TRANSFER_CHECKED, 0, decimals), metas
    )

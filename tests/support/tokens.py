"""Mints and token accounts, made by the token programs themselves.

Source: the instructions of spl-token, spl-token-2022 and spl-associated-token-account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account

from hausd.core.programs.addresses import TOKEN, TOKEN_2022, token_place
from hausd.core.programs.payments import Payment, open_tokens

MINT_BYTES = 82
ACCOUNT_BYTES = 165
TOKEN_PROGRAMS = {"SPL Token": TOKEN, "Token-2022": TOKEN_2022}


class Chain(Protocol):
    """A chain of either kind that the tests have."""

    svm: LiteSVM

    def send(self, *instructions: Instruction, by: Keypair | Sequence[Keypair]) -> object: ...

    def person(self) -> Keypair: ...


@dataclass(frozen=True)
class Extension:
    """One of Token-2022's for mints: its number, its bytes, and what begins it."""

    number: int
    size: int
    begin: bytes


def _key(number: int) -> bytes:
    return bytes([7, number]) + bytes(30)


HARMLESS = {
    "metadata pointer": Extension(18, 64, bytes([39, 0]) + _key(1) + _key(2)),
    "group pointer": Extension(20, 64, bytes([40, 0]) + _key(1) + _key(2)),
    "member pointer": Extension(22, 64, bytes([41, 0]) + _key(1) + _key(2)),
}
HARMFUL = {
    "MintTakesFees": Extension(1, 108, bytes([26, 0, 0, 0]) + bytes(10)),
    "MintCanBeClosed": Extension(3, 32, bytes([25, 1]) + _key(1)),
    "MintConfidential": Extension(4, 65, bytes([27, 0]) + _key(1) + bytes([1]) + bytes(32)),
    "MintFreezesNew": Extension(6, 1, bytes([28, 0, 2])),
    "MintNotTransferable": Extension(9, 0, bytes([32])),
    "MintScales": Extension(10, 52, bytes([33, 0]) + _key(1) + bytes(2)),
    "MintHasDelegate": Extension(12, 32, bytes([35]) + _key(1)),
    "MintHasHook": Extension(14, 64, bytes([36, 0]) + _key(1) + _key(2)),
}
"""By the error that refuses them."""


@dataclass
class Coin:
    """A mint, and who may make more of it."""

    chain: Chain
    mint: Pubkey
    token_program: Pubkey
    authority: Keypair

    @classmethod
    def made(
        cls,
        chain: Chain,
        token_program: Pubkey,
        *extensions: Extension,
        freezer: Pubkey | None = None,
    ) -> Coin:
        authority, mint = chain.person(), Keypair()
        size = MINT_BYTES
        if extensions:
            size = ACCOUNT_BYTES + 1 + sum(4 + each.size for each in extensions)
        rent = chain.svm.minimum_balance_for_rent_exemption(size)
        freeze = bytes([0]) if freezer is None else bytes([1]) + bytes(freezer)
        metas = [AccountMeta(mint.pubkey(), False, True)]
        chain.send(
            create_account(
                CreateAccountParams(
                    from_pubkey=authority.pubkey(),
                    to_pubkey=mint.pubkey(),
                    lamports=rent,
                    space=size,
                    owner=token_program,
                )
            ),
            *(Instruction(token_program, each.begin, metas) for each in extensions),
            Instruction(token_program, bytes([20, 6]) + bytes(authority.pubkey()) + freeze, metas),
            by=[authority, mint],
        )
        return cls(chain, mint.pubkey(), token_program, authority)

    def moved(self, mint: Pubkey) -> Coin:
        """The same at another address, where no test has the key."""
        found = self.chain.svm.get_account(self.mint)
        assert found is not None
        self.chain.svm.set_account(mint, found)
        return replace(self, mint=mint)

    @property
    def payment(self) -> Payment:
        return Payment(self.mint, self.token_program)

    def place(self, owner: Pubkey) -> Pubkey:
        return token_place(owner, self.mint, self.token_program)

    def opened(self, owner: Pubkey) -> Pubkey:
        """The associated token account of somebody, made where it is missing."""
        made = open_tokens(self.authority.pubkey(), owner, self.payment)
        self.chain.send(made, by=self.authority)
        return self.place(owner)

    def another(self, owner: Pubkey) -> Pubkey:
        """A token account that is not the associated one."""
        account = Keypair()
        rent = self.chain.svm.minimum_balance_for_rent_exemption(ACCOUNT_BYTES)
        made = create_account(
            CreateAccountParams(
                from_pubkey=self.authority.pubkey(),
                to_pubkey=account.pubkey(),
                lamports=rent,
                space=ACCOUNT_BYTES,
                owner=self.token_program,
            )
        )
        metas = [AccountMeta(account.pubkey(), False, True), AccountMeta(self.mint, False, False)]
        begin = Instruction(self.token_program, bytes([18]) + bytes(owner), metas)
        self.chain.send(made, begin, by=[self.authority, account])
        return account.pubkey()

    def give(self, owner: Pubkey, amount: int) -> Pubkey:
        """New tokens for somebody."""
        place = self.opened(owner)
        metas = [
            AccountMeta(self.mint, False, True),
            AccountMeta(place, False, True),
            AccountMeta(self.authority.pubkey(), True, False),
        ]
        data = bytes([7]) + amount.to_bytes(8, "little")
        self.chain.send(Instruction(self.token_program, data, metas), by=self.authority)
        return place

    def told(self, account: Pubkey, number: int, by: Keypair) -> None:
        """An instruction of account, mint and authority: 10 freezes, 11 thaws."""
        metas = [
            AccountMeta(account, False, True),
            AccountMeta(self.mint, False, False),
            AccountMeta(by.pubkey(), True, False),
        ]
        self.chain.send(Instruction(self.token_program, bytes([number]), metas), by=by)

    def close(self, account: Pubkey, owner: Keypair) -> None:
        metas = [
            AccountMeta(account, False, True),
            AccountMeta(owner.pubkey(), False, True),
            AccountMeta(owner.pubkey(), True, False),
        ]
        self.chain.send(Instruction(self.token_program, bytes([9]), metas), by=owner)

    def balance(self, account: Pubkey) -> int:
        found = self.chain.svm.get_account(account)
        return 0 if found is None else int.from_bytes(bytes(found.data)[64:72], "little")

    def has(self, owner: Pubkey) -> int:
        return self.balance(self.place(owner))


def set_data(chain: Chain, address: Pubkey, at: int, data: bytes) -> None:
    """Changes bytes of an account, as no program would."""
    found = chain.svm.get_account(address)
    assert found is not None
    changed = bytearray(found.data)
    changed[at : at + len(data)] = data
    chain.svm.set_account(address, Account(found.lamports, bytes(changed), found.owner))

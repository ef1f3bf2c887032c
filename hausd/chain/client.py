"""The chain as the rest of the house asks it: typed, every answer checked at one door."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from solders.pubkey import Pubkey
from solders.signature import Signature

from hausd.chain.answers import (
    U64,
    Commitment,
    KeyedAccount,
    LatestBlockhash,
    OtherVersion,
    PriorityFee,
    RawAccount,
    SignatureInfo,
    SignatureStatus,
    Simulation,
    Slot,
    TransactionRecord,
    Valued,
)
from hausd.chain.calls import Ask, TryAnother
from hausd.chain.checks import (
    Outlook,
    Rehearsal,
    address_of,
    all_of,
    are_of,
    is_of,
    outlook_of,
    page_of,
    rehearsal_of,
    same_signature,
)
from hausd.chain.pool import Pool
from hausd.core.programs.accounts import (
    AccountError,
    PlatformConfig,
    Programs,
    account_mark,
    account_size,
    program_of,
    read_account,
)
from hausd.core.programs.addresses import config_place
from hausd.telemetry import count_swallowed

MAX_ACCOUNTS_AT_ONCE = 100
MAX_STATUSES_AT_ONCE = 256
MAX_SIGNATURES_AT_ONCE = 1000
MAX_TRANSACTIONS_AT_ONCE = 32
_TRANSACTION = {
    "commitment": "confirmed",
    "encoding": "base64",
    "maxSupportedTransactionVersion": 0,
}
_RECORD: type[TransactionRecord | None] = TransactionRecord | None  # type: ignore[assignment] # msgspec takes unions for types
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Account:
    """An account's bytes, which are not looked into yet."""

    address: Pubkey
    owner: Pubkey
    lamports: int
    untrusted_data: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """Something read of the chain, with the slot at which it was so."""

    slot: int
    accounts: tuple[Account | None, ...]


class ChainClient:
    """Reads the chain, and hands it signed transactions.

    Every method may raise Unavailable (no endpoint answers) and RpcError (the chain refuses).
    ``least_slot`` is a state that was seen confirmed: nothing older is taken for an answer.
    """

    def __init__(self, pool: Pool, programs: Programs) -> None:
        self.pool = pool
        self.programs = programs
        self._seen_slot = 0

    @property
    def least_slot(self) -> int:
        """Never beyond the newest slot that is known of: what told of a later one had lied."""
        return min(self._seen_slot, self.pool.slot)

    def saw(self, slot: int) -> None:
        """A state of this slot was confirmed."""
        self._seen_slot = max(self._seen_slot, slot)

    # -- accounts --

    async def accounts(
        self, addresses: Sequence[Pubkey], commitment: Commitment = "confirmed"
    ) -> Seen:
        """Accounts in the order of the addresses; None where there is none."""
        found: list[Account | None] = []
        slots: list[int] = []
        for some in _portions(addresses, MAX_ACCOUNTS_AT_ONCE):
            seen = await self._valued(
                "getMultipleAccounts",
                [[str(address) for address in some], self._options(commitment, encoding="base64")],
                Valued[list[RawAccount | None]],
                partial(_accounts, some),
                commitment,
            )
            found += seen.accounts
            slots.append(seen.slot)
        return Seen(min(slots, default=0), tuple(found))

    async def read(
        self, kind: type[T], address: Pubkey, commitment: Commitment = "confirmed"
    ) -> T | None:
        """An account of ours; None where there is none. Raises AccountError where it is not one."""
        (found,) = (await self.accounts([address], commitment)).accounts
        return None if found is None else self.checked(kind, found)

    def checked(self, kind: type[T], account: Account) -> T:
        """The door. Raises AccountError."""
        program = program_of(kind, self.programs)
        return read_account(kind, account.address, program, account.owner, account.untrusted_data)

    async def all(
        self, kind: type[T], filters: Sequence[tuple[int, Pubkey]] = ()
    ) -> tuple[int, list[T]]:
        """Every account of a kind, with the slot; those that can't be read are counted and left.

        ``filters``: offsets at which an address has to stand.
        """
        wanted: list[dict[str, object]] = [
            {"dataSize": account_size(kind)},
            {"memcmp": _memcmp(0, account_mark(kind))},
        ]
        wanted += [{"memcmp": _memcmp(at, bytes(address))} for at, address in filters]
        options = self._options("confirmed", encoding="base64", withContext=True, filters=wanted)
        slot, accounts = await self._valued(
            "getProgramAccounts",
            [str(program_of(kind, self.programs)), options],
            Valued[list[KeyedAccount]],
            _keyed,
        )
        return slot, list(self._read_all(kind, accounts))

    def _read_all(self, kind: type[T], accounts: Sequence[Account]) -> Iterator[T]:
        for account in accounts:
            try:
                yield self.checked(kind, account)
            except AccountError as fault:
                count_swallowed("chain.account", fault)

    async def platform(self) -> PlatformConfig | None:
        """EventFactory's configuration; None where the programs are not on this chain."""
        return await self.read(PlatformConfig, config_place(self.programs).address)

    async def balance(self, address: Pubkey) -> int:
        """Lamports."""
        parameters = [str(address), self._options("confirmed")]
        return await self._valued("getBalance", parameters, Valued[U64], _value)

    async def token_accounts(self, owner: Pubkey, token_program: Pubkey) -> list[Account]:
        """The token accounts of an owner, by one of the token programs."""
        options = self._options("confirmed", encoding="base64")
        parameters = [str(owner), {"programId": str(token_program)}, options]
        kind = Valued[list[KeyedAccount]]
        return (await self._valued("getTokenAccountsByOwner", parameters, kind, _keyed))[1]

    # -- the chain itself --

    async def genesis(self) -> str:
        """The chain's genesis hash."""
        if not self.pool.genesis:
            await self.slot()
        return self.pool.genesis

    async def slot(self, commitment: Commitment = "confirmed") -> int:
        return await self.pool.call("getSlot", [{"commitment": commitment}], Slot)

    async def rent(self, size: int) -> int:
        """Lamports that an account of so many bytes has to keep."""
        return await self.pool.call("getMinimumBalanceForRentExemption", [size], U64)

    # -- transactions --

    async def rehearse(self, transaction: bytes) -> Rehearsal:
        """Runs a transaction without sending it; signatures and blockhash don't matter."""
        ask = self._rehearsing(transaction)
        return await self._valued(ask.method, ask.parameters, ask.kind, rehearsal_of)

    async def outlook(self, transaction: bytes, writable: Sequence[Pubkey]) -> Outlook:
        """Rehearses a transaction and asks what it is to be signed with, in one exchange."""
        names = [str(address) for address in writable[:MAX_ACCOUNTS_AT_ONCE]]
        asks = [
            self._rehearsing(transaction),
            Ask("getRecentPrioritizationFees", [names], list[PriorityFee]),
            Ask("getLatestBlockhash", [self._options("confirmed")], Valued[LatestBlockhash]),
        ]
        return await self.pool.batch(asks, outlook_of, self.least_slot)

    def _rehearsing(self, transaction: bytes) -> Ask:
        text = base64.b64encode(transaction).decode()
        options = self._options(
            "confirmed", encoding="base64", sigVerify=False, replaceRecentBlockhash=True
        )
        return Ask("simulateTransaction", [text, options], Valued[Simulation])

    async def submit(self, transaction: bytes, signature: Signature) -> None:
        """Hands over a signed transaction, the same one as often as wanted, without rehearsal."""
        text = base64.b64encode(transaction).decode()
        options: dict[str, object] = {
            "encoding": "base64",
            "skipPreflight": True,
            "maxRetries": 0,  # sending again is this node's own doing
        }
        await self.pool.read(
            "sendTransaction", [text, options], str, partial(same_signature, signature)
        )

    async def statuses(
        self, signatures: Sequence[Signature], *, search: bool = False
    ) -> list[SignatureStatus | None]:
        """What became of transactions; ``search``: older ones too."""
        found: list[SignatureStatus | None] = []
        for some in _portions(signatures, MAX_STATUSES_AT_ONCE):
            names = [str(signature) for signature in some]
            found += await self.pool.read(
                "getSignatureStatuses",
                [names, {"searchTransactionHistory": search}],
                Valued[list[SignatureStatus | None]],
                partial(all_of, len(names)),
            )
        return found

    async def statuses_anywhere(
        self, signatures: Sequence[str], least_slot: int
    ) -> list[list[SignatureStatus]]:
        """What each endpoint that knows a transaction tells of it; empty where none does.

        Each is asked for a state not before the slot; Unavailable where one has not got there.
        """
        found: list[list[SignatureStatus]] = []
        for some in _portions(signatures, MAX_STATUSES_AT_ONCE):
            told = await self.pool.everyone(
                "getSignatureStatuses",
                [list(some), {"searchTransactionHistory": True}],
                Valued[list[SignatureStatus | None]],
                partial(all_of, len(some)),
                least_slot,
            )
            found += [[one for one in each if one is not None] for each in zip(*told, strict=True)]
        return found

    async def signatures_for(
        self, address: Pubkey, *, before: str = "", until: str = "", limit: int = 1000
    ) -> list[SignatureInfo]:
        """Transactions that name an address, the newest first."""
        return (await self.signatures_by(address, before=before, until=until, limit=limit))[1]

    async def signatures_by(
        self, address: Pubkey, *, before: str = "", until: str = "", limit: int = 1000
    ) -> tuple[int, list[SignatureInfo]]:
        """The same, with the number of the endpoint that lists them."""
        parameters = _page(address, before, until, limit)
        check = partial(page_of, limit)
        return await self.pool.read_by(
            "getSignaturesForAddress", parameters, list[SignatureInfo], check
        )

    async def signatures_everywhere(
        self, address: Pubkey, *, before: str = "", until: str = "", limit: int = 1000
    ) -> list[list[SignatureInfo]]:
        """The same, as each endpoint tells it."""
        parameters = _page(address, before, until, limit)
        check = partial(page_of, limit)
        return await self.pool.everyone(
            "getSignaturesForAddress", parameters, list[SignatureInfo], check, 0
        )

    async def transaction(self, signature: str) -> TransactionRecord | None:
        """A transaction with its log; None where the chain does not know it (any more).

        Its bytes have to be those that the signature is of.
        """
        parameters = [signature, _TRANSACTION]
        return await self.pool.read(
            "getTransaction", parameters, _RECORD, partial(is_of, signature)
        )

    async def transaction_anywhere(self, signature: str) -> TransactionRecord | None:
        """A confirmed transaction with its log, of whichever endpoint has it."""
        parameters = [signature, _TRANSACTION]
        told = await self.pool.everyone(
            "getTransaction", parameters, _RECORD, partial(is_of, signature), 0
        )
        return next((one for one in told if one is not None and one.meta is not None), None)

    async def transactions(
        self, signatures: Sequence[str]
    ) -> list[TransactionRecord | OtherVersion | None]:
        """Confirmed ones, in order; None where the endpoint does not know it (any more)."""
        found: list[TransactionRecord | OtherVersion | None] = []
        for some in _portions(signatures, MAX_TRANSACTIONS_AT_ONCE):
            asks = [Ask("getTransaction", [one, _TRANSACTION], _RECORD) for one in some]
            found += await self.pool.batch(asks, partial(are_of, some))
        return found

    # -- the details --

    def _options(self, commitment: Commitment, **more: object) -> dict[str, object]:
        options: dict[str, object] = {"commitment": commitment, **more}
        if self.least_slot and commitment != "finalized":
            options["minContextSlot"] = self.least_slot
        return options

    async def _valued(
        self,
        method: str,
        parameters: Sequence[object],
        kind: type[T],
        check: Callable[[T], R],
        commitment: Commitment = "confirmed",
    ) -> R:
        least = self.least_slot if commitment != "finalized" else 0
        return await self.pool.read(method, parameters, kind, check, least)


def _value(answer: Valued[T]) -> T:
    return answer.value


def _portions(every: Sequence[T], count: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(every), count):
        yield every[begin : begin + count]


def _page(address: Pubkey, before: str, until: str, limit: int) -> list[object]:
    options: dict[str, object] = {"limit": limit, "commitment": "confirmed"}
    options |= {"before": before} if before else {}
    options |= {"until": until} if until else {}
    return [str(address), options]


def _memcmp(offset: int, data: bytes) -> dict[str, object]:
    return {"offset": offset, "bytes": base64.b64encode(data).decode(), "encoding": "base64"}


# -- what an answer has to be, or another endpoint is asked --


def _accounts(asked: Sequence[Pubkey], answer: Valued[list[RawAccount | None]]) -> Seen:
    if len(answer.value) != len(asked):
        raise TryAnother("it answers for another number of accounts", "nonsense")
    accounts = [
        None if raw is None else _account(address, raw)
        for address, raw in zip(asked, answer.value, strict=True)
    ]
    return Seen(answer.context.slot, tuple(accounts))


def _keyed(answer: Valued[list[KeyedAccount]]) -> tuple[int, list[Account]]:
    accounts = [_account(address_of(each.pubkey), each.account) for each in answer.value]
    return answer.context.slot, accounts


def _account(address: Pubkey, untrusted: RawAccount) -> Account:
    try:
        data = base64.b64decode(untrusted.data[0], validate=True)
    except (binascii.Error, ValueError):
        raise TryAnother("it gives an account that is no base64", "nonsense") from None
    return Account(address, address_of(untrusted.owner), untrusted.lamports, data)

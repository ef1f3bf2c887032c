"""What is pushed to those who subscribed over WebSocket.

Source: https://solana.com/docs/rpc/websocket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
from solders.pubkey import Pubkey

from hausd.chain.embedded import questions as ask
from hausd.chain.embedded.disk import Entry, Held
from hausd.chain.embedded.ledger import Changed, Ledger, account_of
from hausd.chain.embedded.methods import error_of
from hausd.chain.embedded.questions import Filters, Params, RpcFault
from hausd.chain.embedded.records import BadEncoding, account_form, base58

MAX_OF_ONE = 128
MAX_WAITING = 1_024
MAX_WAITING_BYTES = 8 * 1024 * 1024
"""Messages that wait for a subscriber; one who takes them more slowly is let go."""


@dataclass(slots=True)
class _Account:
    address: bytes
    params: Params
    encoding: str


@dataclass(slots=True)
class _Program:
    program: bytes
    params: Params
    encoding: str
    filters: Filters


@dataclass(slots=True)
class _Logs:
    """``mentions`` None: all."""

    mentions: bytes | None


@dataclass(slots=True)
class _Signature:
    signature: bytes


@dataclass(slots=True)
class _Slot:
    """``root``: tells the root alone."""

    root: bool


_Kind = _Account | _Program | _Logs | _Signature | _Slot


@dataclass(eq=False, slots=True)
class Subscriber:
    """One WebSocket's subscriptions, and what waits to be sent to it."""

    kinds: dict[int, _Kind] = field(default_factory=dict)
    _waiting: deque[bytes] = field(default_factory=deque)
    _waiting_bytes: int = 0
    _wake: trio.Event = field(default_factory=trio.Event)
    _taken: trio.Event = field(default_factory=trio.Event)
    _overflowed: bool = False

    def push(self, message: dict[str, Any] | bytes) -> None:
        """Never waits."""
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES:
            self._overflowed = True
        elif not self._overflowed:
            made = message if isinstance(message, bytes) else msgspec.json.encode(message)
            self._waiting.append(made)
            self._waiting_bytes += len(made)
        if self._taken.is_set():
            self._taken = trio.Event()
        self._wake.set()

    async def taken(self) -> None:
        """Returns when all that was pushed is sent."""
        await self._taken.wait()

    async def messages(self) -> AsyncIterator[bytes]:
        """What is to be sent, until the subscriber proves too slow."""
        while not self._overflowed:
            while self._waiting and not self._overflowed:
                message = self._waiting.popleft()
                self._waiting_bytes -= len(message)
                yield message
            self._taken.set()
            await self._wake.wait()
            self._wake = trio.Event()


class Subscriptions:
    """Everybody's. Belongs to the event loop's thread."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._subscribers: set[Subscriber] = set()
        self._last = 0
        self._slot = ledger.slot
        self.followed = trio.Event()
        """Set while somebody wants to be told of slots."""
        self._making: dict[str, Callable[[object], _Kind]] = {
            "accountSubscribe": self._account,
            "programSubscribe": self._program,
            "logsSubscribe": self._logs,
            "signatureSubscribe": self._signature,
            "slotSubscribe": lambda _: _Slot(root=False),
            "rootSubscribe": lambda _: _Slot(root=True),
        }

    def join(self) -> Subscriber:
        """A new one."""
        made = Subscriber()
        self._subscribers.add(made)
        return made

    def leave(self, subscriber: Subscriber) -> None:
        """It is gone."""
        self._subscribers.discard(subscriber)
        self._look_who_follows()

    def call(self, subscriber: Subscriber, method: str, untrusted: object) -> Any:
        """``…Subscribe`` gives a number, ``…Unsubscribe`` true. Raises RpcFault."""
        if method.endswith("Unsubscribe"):
            number = Params(untrusted, 9).uint(0, "a subscription")
            if subscriber.kinds.pop(number, None) is None:
                raise RpcFault(ask.INVALID_PARAMS, "Invalid subscription id.")
            self._look_who_follows()
            return True
        make = self._making.get(method)
        if make is None:
            raise RpcFault(ask.METHOD_NOT_FOUND, "Method not found")
        if len(subscriber.kinds) >= MAX_OF_ONE:
            raise RpcFault(ask.INTERNAL, "too many subscriptions on this connection")
        kind = make(untrusted)
        self._last += 1
        subscriber.kinds[self._last] = kind
        if isinstance(kind, _Signature):
            self._tell_if_done(subscriber, self._last, kind)
        if isinstance(kind, _Slot) and not self.followed.is_set():
            self._slot = self._ledger.slot  # what was before is not told
            self.followed.set()
        return self._last

    def _look_who_follows(self) -> None:
        every = (kind for each in self._subscribers for kind in each.kinds.values())
        if self.followed.is_set() and not any(isinstance(kind, _Slot) for kind in every):
            self.followed = trio.Event()

    # -- what happened --

    def changed(self, changed: Changed) -> None:
        """A batch of transactions is on disk."""
        for subscriber in list(self._subscribers):
            for number, kind in list(subscriber.kinds.items()):
                match kind:
                    case _Account():
                        self._tell_account(subscriber, number, kind, changed)
                    case _Program():
                        self._tell_program(subscriber, number, kind, changed)
                    case _Logs():
                        self._tell_logs(subscriber, number, kind, changed)
                    case _Signature():
                        self._tell_if_done(subscriber, number, kind)

    def slot(self) -> None:
        """Time has passed."""
        slot = self._ledger.slot
        if slot == self._slot:
            return
        told = range(max(self._slot + 1, slot - 8), slot + 1)
        self._slot = slot
        for subscriber in self._subscribers:
            for number, kind in subscriber.kinds.items():
                if not isinstance(kind, _Slot):
                    continue
                for each in told:
                    root = max(0, each - 32)
                    if kind.root:
                        subscriber.push(_told("rootNotification", number, root))
                    else:
                        value = {"slot": each, "parent": max(0, each - 1), "root": root}
                        subscriber.push(_told("slotNotification", number, value))

    def _tell_account(
        self, subscriber: Subscriber, number: int, kind: _Account, changed: Changed
    ) -> None:
        for held in changed.accounts:
            if held.address == kind.address:
                value = _form(held, kind.encoding, kind.params)
                subscriber.push(self._valued("accountNotification", number, value))
        if kind.address in changed.gone:
            gone = {"lamports": 0, "data": ["", "base64"], "owner": str(Pubkey.default()),
                    "executable": False, "rentEpoch": 0, "space": 0}  # fmt: skip
            subscriber.push(self._valued("accountNotification", number, gone))

    def _tell_program(
        self, subscriber: Subscriber, number: int, kind: _Program, changed: Changed
    ) -> None:
        for held in changed.accounts:
            if held.owner == kind.program and kind.filters.passes(held.data):
                account = _form(held, kind.encoding, kind.params)
                value = {"pubkey": str(Pubkey(held.address)), "account": account}
                subscriber.push(self._valued("programNotification", number, value))

    def _tell_logs(
        self, subscriber: Subscriber, number: int, kind: _Logs, changed: Changed
    ) -> None:
        for entry in changed.entries:
            if kind.mentions is None or kind.mentions in entry.touched:
                meta = msgspec.json.decode(entry.meta)
                value = {
                    "signature": base58(entry.signature),
                    "err": meta["err"],
                    "logs": meta["logMessages"],
                }
                subscriber.push(self._valued("logsNotification", number, value, entry))

    def _tell_if_done(self, subscriber: Subscriber, number: int, kind: _Signature) -> None:
        found = self._ledger.status(kind.signature)
        if found is None or not found[1]:
            return
        value = {"err": error_of(found[0])}
        subscriber.push(self._valued("signatureNotification", number, value, found[0]))
        subscriber.kinds.pop(number, None)

    def _valued(
        self, method: str, number: int, value: object, entry: Entry | None = None
    ) -> dict[str, Any]:
        slot = entry.slot if entry is not None else self._ledger.slot
        return _told(method, number, {"context": {"slot": slot}, "value": value})

    # -- what is asked for --

    @staticmethod
    def _account(untrusted: object) -> _Kind:
        params = Params(untrusted, 1)
        return _Account(bytes(params.address(0)), params, params.encoding("base64"))

    @staticmethod
    def _program(untrusted: object) -> _Kind:
        params = Params(untrusted, 1)
        filters = Filters(params.config.get("filters"))
        return _Program(bytes(params.address(0)), params, params.encoding("base64"), filters)

    @staticmethod
    def _logs(untrusted: object) -> _Kind:
        match Params(untrusted, 1).at(0, "a filter"):
            case "all" | "allWithVotes":
                return _Logs(None)
            case {"mentions": [one]}:
                return _Logs(bytes(ask.address(one)))
        raise RpcFault(ask.INVALID_PARAMS, "Invalid Request: Only 1 address supported")

    @staticmethod
    def _signature(untrusted: object) -> _Kind:
        params = Params(untrusted, 1)
        return _Signature(bytes(ask.signature(params.at(0, "a signature"))))


def _form(held: Held, encoding: str, params: Params) -> object:
    address, account = Pubkey(held.address), account_of(held)
    try:
        return account_form(address, account, encoding, params.slice())
    except BadEncoding:
        return account_form(address, account, "base64", params.slice())


def _told(method: str, number: int, result: object) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "method": method,
        "params": {"result": result, "subscription": number},
    }

"""Changes of some accounts as they happen: subscriptions that begin anew where they broke off.

It only tells that an account changed; who is told reads it. Each subscription's begin tells as
well, so that nothing is lost in a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import msgspec
import structlog
import trio
import trio_websocket
from solders.pubkey import Pubkey

from hausd.chain.subscriptions import Broken, again_and_again, message_of, subscribing

MAX_WATCHED = 100
"""Accounts at once; those beyond are not told of. Providers allow some hundreds a connection."""
log = structlog.get_logger("hausd.chain")


class AccountWatch:
    """``run`` owns the connection; ``tell`` is called with each account that changed."""

    def __init__(self, urls: Sequence[str], tell: Callable[[Pubkey], None]) -> None:
        self._urls = urls
        self._tell = tell
        self._wanted: frozenset[Pubkey] = frozenset()
        self._changed = trio.Event()

    def watch(self, accounts: Iterable[Pubkey]) -> None:
        """From now on these, and no others; the first MAX_WATCHED of them."""
        wanted = frozenset(islice(accounts, MAX_WATCHED))
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled. Nobody is asked while nothing is watched."""
        await again_and_again(self._urls, self._connected)

    async def _connected(self, url: str) -> None:
        while not self._wanted:
            await self._next_change()
        async with subscribing(url) as (socket, opened):
            asked = _Asked(socket, self._tell)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_asking, asked)
                opened()
                await asked.hear()

    async def _keep_asking(self, asked: _Asked) -> None:
        while True:
            await asked.be(self._wanted)
            await self._next_change()

    async def _next_change(self) -> None:
        await self._changed.wait()
        self._changed = trio.Event()


class _Asked:
    """What one connection was asked for, and by which numbers it tells of it."""

    def __init__(
        self, socket: trio_websocket.WebSocketConnection, tell: Callable[[Pubkey], None]
    ) -> None:
        self._socket = socket
        self._tell = tell
        self._calls = 0
        self._waiting: dict[int, Pubkey] = {}
        """By the number of the call whose answer is to come."""
        self._accounts: dict[int, Pubkey] = {}
        """By the number of the subscription."""
        self._refused: set[Pubkey] = set()

    async def be(self, wanted: frozenset[Pubkey]) -> None:
        """Asks for what is not told of yet, and gives back what need not be told of any more."""
        for number, account in list(self._accounts.items()):
            if account not in wanted:
                del self._accounts[number]
                await self._call("accountUnsubscribe", number)
        self._refused &= wanted
        known = {*self._accounts.values(), *self._waiting.values(), *self._refused}
        for account in wanted - known:
            self._waiting[self._calls + 1] = account
            options = {"encoding": "base64", "commitment": "confirmed"}
            await self._call("accountSubscribe", str(account), options)

    async def _call(self, method: str, *parameters: object) -> None:
        self._calls += 1
        call = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": parameters}
        await self._socket.send_message(msgspec.json.encode(call).decode())

    async def hear(self) -> None:
        """Tells of changes until the connection ends. Raises Broken, and what the library does."""
        while True:
            message = await message_of(self._socket)
            if message.method == "accountNotification" and message.params is not None:
                self._happened(message.params.subscription)
            elif message.id is not None and (account := self._waiting.pop(message.id, None)):
                if type(message.result) is not int:
                    self._refused.add(account)
                    log.info("account-not-watched", account=str(account))
                    continue
                if message.result in self._accounts:
                    raise Broken("the endpoint gives two subscriptions one number")
                self._accounts[message.result] = account
                self._happened(message.result)

    def _happened(self, untrusted_subscription: int) -> None:
        account = self._accounts.get(untrusted_subscription)
        if account is not None:
            self._tell(account)

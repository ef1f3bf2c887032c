"""Who signs in at this node to watch a gated room, and who of them still may.

Implements ``http.ports.Playback``. To sign in is to delegate to this node: where it has no key of
the room it asks for one by that delegation, and then shows the room to all of its viewers who
have tickets.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import OrderedDict
from dataclasses import replace
from functools import partial

import structlog
import trio
from solders.signature import Signature

from hausd.core.clock import Clock
from hausd.core.delegation import (
    Delegation,
    DelegationError,
    Scope,
    SignedDelegation,
    parse,
    verify,
)
from hausd.core.errors import Problem
from hausd.core.ids import RoomId, parse_room_id
from hausd.core.peers import PeerId
from hausd.core.release import Held, Missing, Refusal, SignedIn, Ticket, Unknown
from hausd.keys.leases import MAX_LEASES, Leases
from hausd.keys.metrics import PLAYBACKS, SIGN_INS, TURNED_AWAY
from hausd.keys.ports import Events, GatedEvent, Tickets
from hausd.keys.ring import KeyRing
from hausd.policy.playback import (
    TOKEN_S,
    Playback,
    PlaybackKey,
    Playbacks,
    TurnedAway,
    network_of,
    renewed,
)
from hausd.policy.quota import Quota
from hausd.policy.watching import WatchKey

log = structlog.get_logger("hausd.keys")

CHALLENGE_S = 300
SIGNED_IN_S = 24 * 3600
"""A delegation that is signed at this node is for one evening."""
_PER_S, _BURST = 2.0, 60.0
"""Attempts of one network."""
_MAX_USED = 16_384
_ENOUGH = 32
"""Delegations of a room's guests by which keys are asked for, however many come: the ring is for
other rooms too, and each is shown only where another's ticket is gone."""
_LOOK_S, _PAUSE_S, _AGAIN_S = 10.0, 2.0, 1.0
_KEEP_S = 30.0
"""Who watches is written down so often: who needs that has watched for TOKEN_S."""
_ID_BYTES = 8
_MAX_NOTICED = 1_024
_NO_NONCE = bytes(16)
_USED = "the text was used already"
_ANEW = "ask for a new text at /api/v1/sign-in, and sign just that"


class Playing:
    """``run`` looks again whether who watches still may. ``grace_s``: how long who is inside may
    go on while the chain does not answer."""

    def __init__(
        self,
        ring: KeyRing,
        tickets: Tickets | None,
        events: Events,
        clock: Clock,
        leases: Leases,
        seed: bytes,
        me: tuple[PeerId, bytes],
        *,
        each: int,
        grace_s: float,
    ) -> None:
        """``seed``: of the node's key. ``me``: its peer id and its public sealing key."""
        self._ring, self._tickets, self._events, self._clock = ring, tickets, events, clock
        self._leases = leases
        self._watch = WatchKey(seed)
        self._key = PlaybackKey(hashlib.blake2b(b"hausd/1/playback-key", key=seed).digest())
        # who signed a text before a restart asks for another: the used ones are forgotten then
        self._asked_with = PlaybackKey(os.urandom(32))
        self._me, self._sealing_key = me
        self.node = hashlib.blake2b(self._me.encode(), digest_size=4).hexdigest()
        self.playbacks = Playbacks(each)
        self.grace_s = grace_s
        self._attempts = Quota(_PER_S, _BURST)
        self._used: OrderedDict[bytes, float] = OrderedDict()
        self._noticed: OrderedDict[bytes, None] = OrderedDict()
        self._kept_s = 0.0

    # -- http.ports.Playback --

    def owns(self, room: RoomId, untrusted_token: str) -> bool:
        """Whether the token is the one in the room's watch URL."""
        return self._watch.admits(room, untrusted_token)

    def look(
        self, room: RoomId, untrusted_token: str, address: str, agent: str
    ) -> TurnedAway | None:
        """Whether a playback token opens a room to a player at an address; None: it does."""
        away = self._look(room, untrusted_token, address, agent)
        if away is not None:
            TURNED_AWAY.labels(away.value).inc()
        return away

    async def checked(self, room: RoomId, untrusted_token: str) -> None:
        """Returns when the ticket behind a token has been looked up."""
        said, _ = self._key.read(room, "", untrusted_token, self._now_s())
        if said is not None:
            found = await self._ticket(room, said.wallet, self._events.event(room))
            if not isinstance(found, Unknown):
                return
        await trio.sleep(_AGAIN_S)

    async def challenge(self, untrusted_room: str, wallet: str, address: str, host: str) -> str:
        """The text that a wallet is to sign. Raises Problem."""
        self._attempt(address)
        try:
            room = parse_room_id(untrusted_room)
        except ValueError as fault:
            raise Problem("bad-room", str(fault), status=422) from None
        event = self._ticketed(room)
        now_s = int(self._now_s())
        try:
            asked = Delegation(
                chain=event.chain,
                room=room,
                wallet=wallet,
                node=self._me,
                sealing_key=self._sealing_key,
                scopes=frozenset({Scope.WATCH}),
                not_before_s=now_s,
                not_after_s=now_s + SIGNED_IN_S,
                nonce=_NO_NONCE,
                domain=host,
            )
        except DelegationError as fault:
            hint = f"wallet is an address in base58; this node was asked for as {host[:80]!r}"
            raise Problem("bad-wallet", str(fault), hint, 422) from None
        return replace(asked, nonce=self._asked_with.nonce(asked.text, address, os.urandom(8))).text

    async def sign_in(
        self, untrusted_text: str, untrusted_signature: str, address: str, host: str
    ) -> SignedIn:
        """A token for who signed a challenge. Raises Problem."""
        self._attempt(address)
        try:
            self._own_challenge(untrusted_text, address, host)
            raw = bytes(Signature.from_string(untrusted_signature))
            signed = verify(untrusted_text, raw)
        except (ValueError, DelegationError) as fault:
            SIGN_INS.labels(Refusal.BAD_DELEGATION.value).inc()
            raise Problem("bad-delegation", str(fault), _ANEW, 422) from None
        made = signed.delegation
        room = made.room
        assert room is not None  # it is a challenge of ours
        event = self._ticketed(room)
        refusal = _refusal(await self._ticket(room, made.wallet, event, new=True))
        if self._ring.banned(room, made.wallet):
            refusal = Refusal.BANNED
        SIGN_INS.labels(refusal.value if refusal is not None else "let-in").inc()
        if refusal is not None:
            status = 503 if refusal is Refusal.CHAIN_UNKNOWN else 403
            raise Problem(refusal.value, refusal.words, status=status)
        self._use(made.nonce, trio.current_time())
        await self._take(room, signed, event)
        playback = Playback(os.urandom(_ID_BYTES), made.wallet, 0, made.not_after_s)
        return self._given(room, playback, address)

    async def renew(self, room: RoomId, untrusted_token: str, address: str, agent: str) -> SignedIn:
        """A newer token in the place of one that still opens the room. Raises Problem."""
        said, away = self._read(room, untrusted_token, address, agent)
        # who is inside is not kept out by strangers of the same network
        self._attempt(address if said is None or away is not None else said.id)
        if said is None or away is not None:
            away = away or TurnedAway.BAD_TOKEN
            TURNED_AWAY.labels(away.value).inc()
            hint = "sign in again at /api/v1/sign-in"
            raise Problem(away.value, away.words.rstrip("."), hint, 401)
        refusal = _refusal(await self._ticket(room, said.wallet, self._events.event(room)))
        if self._ring.banned(room, said.wallet):
            refusal = Refusal.BANNED
        if refusal is not None:
            status = 503 if refusal is Refusal.CHAIN_UNKNOWN else 403
            raise Problem(refusal.value, refusal.words, status=status)
        return self._given(room, said, address)

    async def leave(self, room: RoomId, untrusted_token: str, address: str) -> None:
        """Signs out: the token, and all that were made from it, open nothing any more."""
        said, away = self._key.read(room, address, untrusted_token, self._now_s())
        if said is None or away is TurnedAway.ELSEWHERE:
            return
        self.playbacks.leave(room, said.wallet, said.id)
        now_s = self._now_s()
        await self._leases.leave(self._key.lease(room, said.id), now_s + TOKEN_S, now_s)

    # -- those inside --

    async def run(self) -> None:
        """Looks again at the tickets of those who watch, until cancelled."""
        while True:
            with trio.move_on_after(_LOOK_S):
                if self._tickets is None:
                    await trio.sleep_forever()
                else:
                    await self._tickets.changed()
            await self.look_again()
            if trio.current_time() - self._kept_s >= _KEEP_S:
                await self.keep()
            await trio.sleep(_PAUSE_S)

    async def keep(self) -> None:
        """Writes down who watches, so that they go on after a restart of the node."""
        self._kept_s = trio.current_time()
        playing = self.playbacks.players(self._kept_s)[-MAX_LEASES:]
        names, now_s = [self._key.lease(*one) for one in playing], self._now_s()
        await self._leases.keep(names, now_s + TOKEN_S, now_s)

    async def look_again(self) -> None:
        """Who lost the ticket, or was banned, gets nothing more."""
        now_s = trio.current_time()
        PLAYBACKS.set(len(self.playbacks.players(now_s)))
        async with trio.open_nursery() as nursery:
            for room, wallet in self.playbacks.inside(now_s):
                event = self._events.event(room)
                nursery.start_soon(partial(self._ticket, room, wallet, event, later=True))

    # -- details --

    def _look(
        self, room: RoomId, untrusted_token: str, address: str, agent: str
    ) -> TurnedAway | None:
        said, away = self._read(room, untrusted_token, address, agent)
        if said is None or away is not None:
            return away
        if self._ring.banned(room, said.wallet):
            return TurnedAway.LOST
        player = _player(said, address, agent)
        return self.playbacks.watch(room, said.wallet, player, trio.current_time())

    def _read(
        self, room: RoomId, untrusted_token: str, address: str, agent: str
    ) -> tuple[Playback | None, TurnedAway | None]:
        """What a token says, and what speaks against it; who uses one may go on when it is over."""
        said, away = self._key.read(room, address, untrusted_token, self._now_s())
        if said is not None and away is TurnedAway.ELSEWHERE:
            self._notice(room, said)
        if said is not None and away is TurnedAway.EXPIRED and self._now_s() < said.last_s:
            player, now_s = _player(said, address, agent), trio.current_time()
            inside = self.playbacks.in_use(room, said.wallet, player, now_s)
            if inside or self._leases.had(self._key.lease(room, player), self._now_s()):
                away = None
        left = said is not None and self._leases.has_left(self._key.lease(room, said.id))
        if away is None and left:
            away = TurnedAway.BAD_TOKEN
        return said, away

    def _notice(self, room: RoomId, said: Playback) -> None:
        """A token that went from hand to hand is said once in the log, each time in the metrics."""
        if said.id in self._noticed:
            return
        self._noticed[said.id] = None
        if len(self._noticed) > _MAX_NOTICED:
            self._noticed.popitem(last=False)
        log.warning("playback-leaked", room=room, wallet=said.wallet)

    async def _ticket(
        self,
        room: RoomId,
        wallet: str,
        event: GatedEvent | None,
        *,
        later: bool = False,
        new: bool = False,
    ) -> Ticket:
        """What the chain says; who watches by it is told. ``later``: others are looked up first.
        ``new``: somebody at the door, who is not remembered without a ticket: who is gets looked
        up again and again."""
        found: Ticket = Unknown()
        if event is not None and wallet == event.artist:
            found = Held(1)
        elif event is not None and self._tickets is not None:
            found = await self._tickets.ticket(room, wallet, later=later)
        now_s = trio.current_time()
        match found:
            case Held(count):
                self.playbacks.found(room, wallet, count, now_s)
            case Missing():
                if not new or self.playbacks.knows(room, wallet):
                    self.playbacks.found(room, wallet, 0, now_s)
            case Unknown():
                if now_s - self.playbacks.checked_s(room, wallet) > self.grace_s:
                    self.playbacks.forget(room, wallet)
        return found

    def _ticketed(self, room: RoomId) -> GatedEvent:
        event = self._events.event(room)
        if event is None or len(event.chain) != len(_NO_NONCE) * 2:
            raise Problem(
                "no-tickets",
                "this node knows of no tickets for such a room",
                "is it a ticketed event, and does the node follow its chain (chain.rpc_url)?",
                404,
            )
        return event

    def _own_challenge(self, untrusted_text: str, address: str, host: str) -> None:
        """Raises DelegationError where the text is not one that was just given to this address."""
        asked = parse(untrusted_text)
        blank = replace(asked, nonce=_NO_NONCE).text
        nonce = self._asked_with.nonce(blank, address, asked.nonce[:8])
        age_s = self._now_s() - asked.not_before_s
        right = hmac.compare_digest(nonce, asked.nonce)
        if not right or asked.domain != host or asked.room is None:
            raise DelegationError("this text was not made by this node for this address")
        if not -1 <= age_s <= CHALLENGE_S:
            raise DelegationError(f"the text is older than {CHALLENGE_S} s")
        if asked.nonce in self._used:
            raise DelegationError(_USED)

    def _use(self, nonce: bytes, now_s: float) -> None:
        """Of who is let in: what others sign is of no use to anybody, and would fill this."""
        if nonce in self._used:  # meanwhile
            raise Problem("bad-delegation", _USED, _ANEW, 422)
        while self._used and now_s - next(iter(self._used.values())) > CHALLENGE_S + 1:
            self._used.popitem(last=False)
        if len(self._used) >= _MAX_USED:
            raise _later()
        self._used[nonce] = now_s

    async def _take(self, room: RoomId, signed: SignedDelegation, event: GatedEvent) -> None:
        if any(named.peer == self._me for named in event.holders):
            return  # its own keys are asked of nobody
        good = [
            one
            for one in self._ring.delegations_for(room)
            if self.playbacks.tickets(room, one.delegation.wallet)
        ]
        if len(good) >= _ENOUGH:
            return  # any of them brings the keys for all
        try:
            await self._ring.add_delegation(signed)
        except (Problem, OSError) as fault:
            if not self._ring.has_of(room):
                raise Problem(
                    "not-kept", "the delegation was not kept", "try again later", 507
                ) from fault

    def _given(self, room: RoomId, playback: Playback, address: str) -> SignedIn:
        made = renewed(playback, self._now_s())
        token = self._key.mint(room, address, made)
        return SignedIn(room, made.wallet, token, made.ends_s)

    def _attempt(self, by: str | bytes) -> None:
        """``by``: an address, or the token of somebody inside."""
        who = network_of(by) if isinstance(by, str) else by
        if not self._attempts.take(who, trio.current_time()):
            SIGN_INS.labels(Refusal.TRY_LATER.value).inc()
            raise _later()

    def _now_s(self) -> float:
        return self._clock.now_ms() / 1000


def _player(said: Playback, address: str, agent: str) -> bytes:
    """Of one sign-in, whose id it begins with."""
    told = b"\0".join((said.id, address.encode(), agent.encode()))
    return said.id + hashlib.blake2b(told, digest_size=8).digest()


def _later() -> Problem:
    return Problem("try-later", "too many have tried to sign in", "try again in a minute", 429)


def _refusal(ticket: Ticket) -> Refusal | None:
    match ticket:
        case Held():
            return None
        case Missing(had):
            return Refusal.REFUNDED if had else Refusal.NO_TICKET
        case Unknown():
            return Refusal.CHAIN_UNKNOWN

"""Room cards: what a room is, signed, for the topic ``/haus/1/events`` and for lists of rooms.

A card is sealed like an announcement: the DAG-CBOR list ``["hausd/1/card", body, signature]``,
where the signature is over the text, a zero byte and the body. The room's stream authority signs;
for an open room that is the key which the room id names. The schema is ``schema.cddl``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hausd.core.dagcbor import DagCborError, decode, encode
from hausd.core.forms import (
    MAX_RENDITIONS,
    Fields,
    FormError,
    is_uint,
    read_rendition,
    rendition_form,
)
from hausd.core.ids import RoomId
from hausd.core.keys import SIGNATURE_BYTES, PublicKey, SigningKey, open_room_authority
from hausd.core.live import RoomState
from hausd.core.media import Rendition
from hausd.core.peers import MAX_GIVES, Copies
from hausd.core.preview import STAYS_GATED, FreeTerms, free_terms_form, read_free_terms

TOPIC = "/haus/1/events"
MAX_CARD_BYTES = 8 * 1024
MAX_TEXT_CHARS = 200
GENESIS_BYTES = 32
_MAX_RATE_BPS = 1 << 40

_NAME = "hausd/1/card"
# No line breaks or other controls, nor marks that turn the direction of what is shown around it.
_LINE = "[^\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff]"
_TITLE = re.compile(f"{_LINE}{{1,{MAX_TEXT_CHARS}}}")
_TEXT = re.compile(f"{_LINE}{{0,{MAX_TEXT_CHARS}}}")
_STATE = re.compile("|".join(state.value for state in RoomState))


class CardError(ValueError):
    """What came is no card that its room's authority signed; the message says why."""


class UnknownAuthority(CardError):
    """Nobody here knows (yet) who signs for this room: the card may be right or wrong."""


@dataclass(frozen=True, slots=True)
class Card:
    """A room as it presents itself.

    ``n`` counts the room's cards, ``time_ms`` is the signer's clock. ``starts_ms``, ``ends_ms``:
    the schedule, where there is one. ``chain``: the genesis hash of the chain that the room's
    event is on; None for an open room. ``gated``: watching takes a ticket. ``rate_bps``: all
    renditions together, measured; 0 for not known. ``copies``: how many nodes send on and could,
    as far as the origin hears of it; None where it does not say. ``free``: what takes no ticket.
    """

    room: RoomId
    n: int
    time_ms: int
    title: str
    artist: str
    state: RoomState
    renditions: tuple[Rendition, ...] = ()
    gated: bool = False
    chain: bytes | None = None
    starts_ms: int | None = None
    ends_ms: int | None = None
    rate_bps: int = 0
    copies: Copies | None = None
    free: FreeTerms = STAYS_GATED


@dataclass(frozen=True, slots=True)
class SignedCard:
    """A card with the bytes that its room's authority signed."""

    card: Card
    encoded: bytes


def sign_card(card: Card, key: SigningKey) -> SignedCard:
    """Seals a card; raises ValueError where it is not one that others would take."""
    said = encode(_body(card))
    encoded = encode([_NAME, said, key.sign(_signed_bytes(said))])
    if len(encoded) > MAX_CARD_BYTES:
        raise ValueError(f"a card of {len(encoded)} bytes is too large to be announced")
    if _read(said) != card:
        raise ValueError("the card does not survive its own encoding")
    return SignedCard(card, encoded)


def verify_card(
    untrusted: bytes,
    authority_of: Callable[[RoomId], PublicKey | None] = open_room_authority,
) -> SignedCard:
    """The one door for cards: checks size, form and signature, in that order.

    ``authority_of`` finds who signs for a room; where it finds nobody, UnknownAuthority is
    raised, for everything else that is wrong CardError.
    """
    try:
        match decode(untrusted, MAX_CARD_BYTES):
            case [str(name), bytes(said), bytes(signature)] if name == _NAME:
                card = _read(said)
            case _:
                raise CardError("not a signed card")
    except (DagCborError, FormError) as fault:
        raise CardError(str(fault)) from None
    authority = authority_of(card.room)
    if authority is None:
        raise UnknownAuthority(f"who signs for {card.room} is not known here")
    if len(signature) != SIGNATURE_BYTES or not authority.verifies(signature, _signed_bytes(said)):
        raise CardError("the signature is not the room's stream authority's")
    return SignedCard(card, untrusted)


def replaces(old: Card | None, new: Card) -> bool:
    """Whether a card takes the place of another of its room.

    The number decides; after a restored backup, where one comes twice, the later clock.
    """
    if old is None:
        return True
    return old.room == new.room and (new.n, new.time_ms) > (old.n, old.time_ms)


def _signed_bytes(said: bytes) -> bytes:
    return _NAME.encode() + b"\0" + said


def _body(card: Card) -> dict[str, object]:
    form: dict[str, object] = {
        "v": 1,
        "room": card.room,
        "n": card.n,
        "time": card.time_ms,
        "title": card.title,
        "artist": card.artist,
        "state": card.state.value,
        "renditions": [rendition_form(one) for one in card.renditions],
        "gated": card.gated,
        "chain": card.chain,
    }
    if card.starts_ms is not None:
        form["starts"] = card.starts_ms
    if card.ends_ms is not None:
        form["ends"] = card.ends_ms
    if card.rate_bps:
        form["rate"] = card.rate_bps
    if card.copies is not None:
        form["copies"] = [card.copies.taken, card.copies.free]
    if card.free:
        form["free"] = free_terms_form(card.free)
    return form


def _read(said: bytes) -> Card:
    fields = Fields(decode(said), "card")
    fields.version()
    room = fields.room()
    chain = fields.take("chain")
    if chain is not None and (not isinstance(chain, bytes) or len(chain) != GENESIS_BYTES):
        raise fields.fault("chain", f"null, or a byte string of {GENESIS_BYTES}")
    if (chain is None) != (open_room_authority(room) is not None):
        raise fields.fault("chain", "null for an open room, and only for one")
    renditions = tuple(
        read_rendition(one, "card.renditions") for one in fields.items("renditions", MAX_RENDITIONS)
    )
    if len({one.name for one in renditions}) != len(renditions):
        raise fields.fault("renditions", "a list of different names")
    card = Card(
        room,
        n=fields.uint("n"),
        time_ms=fields.uint("time"),
        title=fields.text("title", _TITLE),
        artist=fields.text("artist", _TEXT),
        state=RoomState(fields.text("state", _STATE)),
        renditions=renditions,
        gated=fields.flag("gated"),
        chain=chain,
        starts_ms=fields.uint("starts") if fields.has("starts") else None,
        ends_ms=fields.uint("ends") if fields.has("ends") else None,
        rate_bps=fields.uint("rate", 1, _MAX_RATE_BPS) if fields.has("rate") else 0,
        copies=_read_copies(fields) if fields.has("copies") else None,
        free=read_free_terms(fields.take("free"), "card.free")
        if fields.has("free")
        else STAYS_GATED,
    )
    fields.done()
    return card


def _read_copies(fields: Fields) -> Copies:
    match fields.take("copies"):
        case [int(taken), int(free)] if all(is_uint(n, most=MAX_GIVES) for n in (taken, free)):
            return Copies(taken, free)
    raise fields.fault("copies", f"[taken, free], each at most {MAX_GIVES}")

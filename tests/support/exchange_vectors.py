"""Test vectors of what nodes say to each other: frames of the protocols, and room cards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.content import AUDIO, KEY, NOW_MS, ROOM, SESSION, VIDEO, content
from support.delegations import DELEGATION, EVENT, NODE_SEED, WALLET_SEED, signed
from support.peers import address

from hausd.core.cid import CID
from hausd.core.live import RoomState
from hausd.core.media import LEAF_BYTES
from hausd.core.peers import Copies, Gives
from hausd.core.preview import FreeTerms
from hausd.core.release import Refusal
from hausd.wire.blocks_protocol import BlocksAnswerer, BlocksAsker, Priority, Want
from hausd.wire.cards import Card, sign_card
from hausd.wire.frames import PREFIX
from hausd.wire.keys import KeyAnswer, KeyAnswerer, KeyAsker, KeyQuestion, Shown
from hausd.wire.room_protocol import Edge, Question, RoomAnswerer, RoomAsker

Vectors = dict[str, Any]

CARD = Card(
    ROOM,
    n=7,
    time_ms=NOW_MS,
    title="Late set – 2 a.m.",
    artist="DJ Ö",
    state=RoomState.LIVE,
    renditions=(VIDEO, AUDIO),
    starts_ms=NOW_MS - 60_000,
    ends_ms=NOW_MS + 7_200_000,
    rate_bps=4_321_000,
    copies=Copies(17, 5),
)
PREVIEW = replace(CARD, gated=True, free=FreeTerms(300, finalized=True))


def cards() -> Vectors:
    """Signed cards."""
    return {
        "about": "signed by the key of announce.json",
        "room": ROOM,
        "card": sign_card(CARD, KEY).encoded.hex(),
        "with a preview": sign_card(PREVIEW, KEY).encoded.hex(),
    }


def blocks() -> Vectors:
    """A conversation about three leaves, frame by frame."""
    asker, answerer = BlocksAsker(), BlocksAnswerer()
    leaves = [content(n, size) for n, size in ((1, LEAF_BYTES), (2, 77), (3, 5))]
    cids = tuple(map(CID.of, leaves))
    number, want = asker.want(Want(ROOM, cids, 4000, 2, Priority.LIVE, Gives(3, 7, 2)))
    cancel = asker.cancel(number, cids[:1])
    list(answerer.feed(want))
    block = b"".join(answerer.block(number, 2, leaves[2], 1))
    (cancelled,) = answerer.feed(cancel)
    gone = cancelled.reply  # type: ignore[union-attr]
    none_of = BlocksAnswerer()
    list(none_of.feed(want))
    return {
        "about": (
            "Frames of /haus/blocks/1. The want is for the leaves content(1, 131072), "
            "content(2, 77) and content(3, 5) as in unixfs.json; the answers are to it"
        ),
        "asker": {"blocks-want": want.hex(), "blocks-cancel": cancel.hex()},
        "answerer": {
            "blocks-block": block.hex(),
            "blocks-gone": gone.hex(),
            "blocks-none": none_of.none(number, 1, 1).hex(),
            "blocks-busy": none_of.busy(number, [0, 2], [address(1), address(2)]).hex(),
        },
    }


def room() -> Vectors:
    """A question and its answer, frame by frame."""
    asker, answerer = RoomAsker(), RoomAnswerer()
    ask = asker.ask(Question(ROOM, SESSION, (range(3, 5), range(9, 10)), 40))
    list(answerer.feed(ask))
    edge = Edge(RoomState.LIVE, SESSION, 3, 44, 2, (address(1),))
    answer = answerer.answer(edge, [b"a statement"], sign_card(CARD, KEY).encoded)
    names = ("room-edge", "room-card", "room-signed", "room-done")
    return {
        "about": "Frames of /haus/room/1. What is signed is not real here: see announce.json",
        "asker": {"room-ask": ask.hex()},
        "answerer": dict(zip(names, map(bytes.hex, frames(answer)), strict=True)),
    }


KEY_QUESTION = KeyQuestion(
    EVENT,
    (bytes(range(16)), bytes(range(16, 32))),
    nonce=bytes(range(32, 48)),
    by=Shown(*signed(DELEGATION)),
)
KEY_GIVEN = bytes(range(32))
KEY_SEALED = bytes.fromhex(
    "6c29313a8d982449bb64212ca0996920f9c9a807e34cf99e11f4613b5f177433d31cdf25291ff1da0dea279b"
    "41317efe51d72b83797ec333928e2ea9328303c8f688905eb5833276a27f577ea9791198"
)
"""Every sealing is another one; this one is KEY_GIVEN's, for KEY_QUESTION."""


def keys() -> Vectors:
    """A question for two keys and its answer."""
    asker, answerer = KeyAsker(), KeyAnswerer()
    ask = asker.ask(KEY_QUESTION)
    list(answerer.feed(ask))
    told = KeyAnswer((Refusal.NOT_A_HOLDER, None), KEY_SEALED, (address(1),))
    return {
        "about": (
            "Frames of /haus/keys/1, and the key that is given. Seeds are of Ed25519 keys; the "
            "node's sealing key is HKDF-SHA256 of its seed, info hausd/1/sealing-key, no salt"
        ),
        "seeds": {"wallet": WALLET_SEED.hex(), "node": NODE_SEED.hex()},
        "delegation": DELEGATION.text,
        "key": KEY_GIVEN.hex(),
        "asker": {"keys-ask": ask.hex()},
        "answerer": {"keys-answer": answerer.answer(told).hex()},
    }


def frames(data: bytes) -> list[bytes]:
    """Cuts bytes into whole frames."""
    found: list[bytes] = []
    while data:
        head, body = PREFIX.unpack_from(data)
        size = PREFIX.size + head + body
        found.append(data[:size])
        data = data[size:]
    return found


def head_of(frame: bytes) -> bytes:
    """The CBOR of a frame's head."""
    size, _ = PREFIX.unpack_from(frame)
    return frame[PREFIX.size : PREFIX.size + size]

"""Options of gated rooms' keys."""

from __future__ import annotations

from typing import Literal

from hausd.config.options import Peers, Seconds, Section, Text, option
from hausd.policy.playback import PLAYBACKS
from hausd.policy.release import DELEGATES, MAX_DELEGATES


class KeysConfig(Section):
    """Keys of gated rooms: what is streamed into them is encrypted."""

    epoch_s: Seconds = option(
        600.0,
        "From one key to the next: who loses the ticket sees nothing of what comes after. A "
        "refund, a transfer or a ban begins another one too, at most once a minute.",
        unit="seconds",
        ge=10,
        le=86_400,
        reload=True,
    )
    wrap: Literal["file", "keyring", "command"] = option(
        "file",
        "What keys at rest are wrapped by. file: a key in keys/wrap.key, readable to this user "
        "alone; keyring: one in the system's keyring, with the Python package keyring; command: "
        "what wrap_command keeps, as a hardware token.",
    )
    wrap_command: Text = option(
        "",
        "A program that is run, without a shell, with wrap or unwrap as its last argument: it "
        "reads bytes on standard input and writes them wrapped or unwrapped. See docs/keys.md.",
    )
    holders: Peers = option(
        (),
        "Nodes that get the keys of rooms which are streamed into this node, and give them to who "
        "has a ticket, each a multiaddr with /p2p/ID: so the show goes on without this node.",
    )
    delegates: int = option(
        DELEGATES,
        "Nodes at which one ticket may be used at a time: so many get an epoch's key by it.",
        unit="nodes",
        ge=1,
        le=MAX_DELEGATES,
        reload=True,
    )
    playbacks: int = option(
        PLAYBACKS,
        "Players that may watch a gated room at this node by one ticket at a time, of viewers who "
        "signed in here from elsewhere.",
        unit="players",
        ge=1,
        le=64,
        reload=True,
    )

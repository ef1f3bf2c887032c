"""What an encoder may take of us, and how its connection ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What an encoder may take of us.

    ``handshake_timeout_s`` runs until it publishes; ``stall_s`` is how long it may send no whole
    tag while it publishes, ``max_bytes_per_s`` how fast it may send in the long run (ten seconds'
    worth at once). ``max_attempts`` wrong keys per ``attempts_window_s`` and address. A refused
    encoder is listened to for ``linger_s``, so that it reads why and does not try again at once.
    """

    handshake_timeout_s: float = 10.0
    stall_s: float = 30.0
    linger_s: float = 1.0
    max_publishers: int = 16
    max_connections: int = 64
    max_connections_per_address: int = 32
    max_bytes_per_s: int = 12_000_000
    max_message_bytes: int = 8 << 20
    max_attempts: int = 10
    attempts_window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ended: a short stable code, and plain words for artist and operator."""

    code: str
    reason: str


FINISHED = Ending("finished", "the encoder finished")
LOST = Ending("lost", "the connection to the encoder broke")
CLOSED_UNSAID = Ending("lost", "the encoder closed the connection without saying so")

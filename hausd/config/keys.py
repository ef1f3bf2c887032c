"""Options of gated rooms' keys."""

from __future__ import annotations

from hausd.config.options import Seconds, Section, option


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

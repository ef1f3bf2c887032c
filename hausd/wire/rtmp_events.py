"""What an encoder did, as ``wire.rtmp`` tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from hausd.wire.flv import Tag


@dataclass(frozen=True, slots=True)
class Connect:
    """An encoder introduced itself. All of it is untrusted, and the URL may hold a stream key."""

    app: str = field(repr=False)
    tc_url: str = field(repr=False)
    flash_version: str
    enhanced: bool
    """Whether it asked for codecs by their fourCC."""


@dataclass(frozen=True, slots=True)
class PublishRequested:
    """It wants to publish; answer with ``accept_publish`` or ``reject_publish``."""

    stream_id: int
    untrusted_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unpublished:
    """It has finished publishing in good order; it may ask again."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class PlayRefused:
    """It wanted to watch, and was told that it cannot by RTMP."""


@dataclass(frozen=True, slots=True)
class Violated:
    """It does not keep to the protocol: the last event there is. ``code`` is short and stable."""

    code: str
    reason: str


Event = Connect | PublishRequested | Tag | Unpublished | PlayRefused | Violated

"""From the configuration to each part's own terms: a part never reads the whole configuration."""

from __future__ import annotations

import os
import sys

from hausd.blocks.quota import StoreLimits
from hausd.config import Config
from hausd.core.ids import RoomId
from hausd.http.limits import Limits as HttpLimits
from hausd.ingest.server import Door
from hausd.ingest.terms import Limits as RtmpLimits
from hausd.policy.roles import RelayTerms
from hausd.policy.watching import WatchKey
from hausd.rooms.room import RoomSettings
from hausd.rooms.shape import Urls
from hausd.wire.worker import WorkerConfig


def room_settings(config: Config) -> RoomSettings:
    """What rooms need to know."""
    media = config.media
    worker = WorkerConfig(
        part_ms=round(media.part_seconds * 1000),
        gop_target_ms=round(media.gop_seconds * 1000),
        segment_ms=round(media.segment_seconds * 1000),
        ladder=tuple((rung.height, rung.bandwidth_bps) for rung in media.ladder),
        preset=media.preset,
        audio_bps=media.audio_bps,
        reencode_long_gops=media.reencode_long_gops,
        images=media.images,
        threads=media.threads,
        memory_bytes=media.worker_memory,
        cpu_nice=media.worker_nice,
    )
    return RoomSettings(
        worker=worker,
        reconnect_s=config.ingest.reconnect_s,
        live_target_s=max(1, round(media.gop_seconds)),
        live_window_s=config.live.window_s,
        archive_target_s=max(1, round(media.segment_seconds)),
        epoch_s=config.keys.epoch_s,
        relay=relay_terms(config),
    )


def relay_terms(config: Config) -> RelayTerms:
    """What is done for other nodes' rooms unasked."""
    relay = config.relay
    return RelayTerms(
        auto=relay.auto,
        disk_bytes=min(relay.disk, config.store.quota),
        upload_bytes_per_s=min(relay.upload, config.p2p.upload) / 8,
        allow=frozenset(map(RoomId, relay.allow)),
        premium=frozenset(map(RoomId, relay.premium)),
    )


def cores() -> int:
    """CPU cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def http_limits(config: Config) -> HttpLimits:
    """What HTTP clients may take."""
    return HttpLimits(
        head_bytes=config.http.max_header_bytes,
        head_timeout_s=config.http.header_timeout_s,
        idle_timeout_s=config.http.idle_timeout_s,
        send_timeout_s=config.http.stall_s,
        connections=config.http.max_connections,
        connections_per_address=config.http.max_connections_per_address,
    )


def rtmp_limits(config: Config) -> RtmpLimits:
    """What encoders may take."""
    return RtmpLimits(
        handshake_timeout_s=config.rtmp.handshake_timeout_s,
        stall_s=config.rtmp.stall_s,
        max_publishers=config.rtmp.max_publishers,
        max_connections=config.rtmp.max_connections,
        max_connections_per_address=config.rtmp.max_connections_per_address,
        max_bytes_per_s=config.rtmp.max_bytes_per_s,
        max_message_bytes=config.rtmp.max_message_bytes,
        max_attempts=config.ingest.max_attempts,
        attempts_window_s=config.ingest.attempts_window_s,
    )


def store_limits(config: Config) -> StoreLimits:
    """What the store may hold."""
    return StoreLimits(
        quota_bytes=config.store.quota,
        quota_files=config.store.quota_files,
        reserve_bytes=config.store.reserve_free,
        sync_s=config.store.sync_seconds,
    )


def reached_at(
    config: Config,
    doors: list[Door],
    http: tuple[str, int],
    key: WatchKey | None,
    *,
    secure: bool,
) -> Urls:
    """The URLs that people are given."""
    ingest = config.rtmp.public_url
    if not ingest and doors:
        host, port = doors[0].address
        ingest = f"{doors[0].protocol}://{reachable(host)}:{port}/live"
    watch = config.http.public_url.rstrip("/")
    if not watch:
        watch = f"{'https' if secure else 'http'}://{reachable(http[0])}:{http[1]}"
    return Urls(ingest, watch, key)


def reachable(bound: str) -> str:
    """How a listening address is reached from this machine."""
    if bound in ("0.0.0.0", "::"):  # noqa: S104 compared, not bound
        return "127.0.0.1" if bound == "0.0.0.0" else "[::1]"  # noqa: S104 compared, not bound
    return f"[{bound}]" if ":" in bound else bound

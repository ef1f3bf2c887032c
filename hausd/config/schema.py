"""Every option of a node: its type, default, bounds, unit, and what it is for.

``config/hausd.toml`` is written from here (``hausd.config.template``), so a description is what a
user reads beside the option. ``reload`` marks what a running node takes over on SIGHUP or
``hausctl config reload``; everything else waits for a restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hausd.config import units
from hausd.config.chain import ChainConfig
from hausd.config.ipfs import IpfsConfig
from hausd.config.keys import KeysConfig
from hausd.config.options import (
    BitsPerSecond,
    Bytes,
    FilePath,
    FilePathOrNone,
    HostNames,
    Ladder,
    Listen,
    ListenOrOff,
    Networks,
    Seconds,
    Section,
    SingleAddresses,
    Text,
    option,
)
from hausd.config.p2p import P2PConfig
from hausd.config.relaying import RelayConfig


class NodeConfig(Section):
    """The process as a whole."""

    drain_s: Seconds = option(
        10.0,
        "How long a stop waits for segments to be closed and viewers to be served.",
        unit="seconds",
        ge=0,
        le=600,
    )


class HttpConfig(Section):
    """HLS, the API, the gateway and the pages: everything viewers and browsers speak to."""

    listen: Listen = option(
        units.Address("127.0.0.1", 8080),
        "Where to listen, HOST:PORT. Port 0 lets the system choose. Off loopback a TLS certificate "
        "is needed (or insecure).",
    )
    hostnames: HostNames = option(
        (),
        "Names by which browsers may reach this node, beside its addresses and localhost. "
        "Requests for any other name are refused (DNS rebinding).",
    )
    public_url: Text = option(
        "",
        'What watch URLs begin with, as in "https://live.example.org", when viewers come through '
        "a proxy. Empty: made of listen.",
    )
    tls_cert: FilePathOrNone = option(
        None,
        "PEM file with the certificate and its chain; with it the node speaks HTTPS and HTTP/2. "
        "A relative path starts at the home. Empty: no TLS.",
    )
    tls_key: FilePathOrNone = option(None, "PEM file with the certificate's private key.")
    insecure: bool = option(
        False, "Allows listening off loopback without TLS. hausd --insecure sets it as well."
    )
    metrics_from: Networks = option(
        (),
        'Networks that may read /metrics (Prometheus), beside this machine, as in ["10.1.0.0/16"].',
    )
    trusted_proxies: SingleAddresses = option(
        (),
        "Addresses of reverse proxies (nginx) in front, whose X-Forwarded-For and -Proto are "
        'believed, as in ["127.0.0.1"]. Viewers behind one that is not named all have its address.',
    )
    max_connections: int = option(
        4096, "Connections at once; further ones are closed at once.", ge=16, le=1_000_000
    )
    max_connections_per_address: int = option(
        256,
        "Of them from one address, or one IPv6 /64. Viewers behind one router or carrier share "
        "theirs, six each at most; those of trusted_proxies are not counted.",
        ge=8,
        le=1_000_000,
    )
    header_timeout_s: Seconds = option(
        10.0,
        "A request's head has to be complete after this long.",
        unit="seconds",
        ge=0.1,
        le=600,
    )
    idle_timeout_s: Seconds = option(
        75.0,
        "A connection without a request is closed after this long.",
        unit="seconds",
        ge=1,
        le=3600,
    )
    stall_s: Seconds = option(
        30.0,
        "A client that takes no byte of an answer for this long is let go.",
        unit="seconds",
        ge=1,
        le=3600,
    )
    max_header_bytes: Bytes = option(
        16 * 1024, "Largest head of a request.", unit="bytes", ge=1024, le=1024 * 1024
    )


class RtmpConfig(Section):
    """Where encoders (OBS, ffmpeg) publish."""

    listen: ListenOrOff = option(
        units.Address("127.0.0.1", 1935),
        "Where to listen for RTMP, HOST:PORT. Port 0 lets the system choose. Empty: not at all. "
        "RTMP carries the stream key in clear text: off loopback it needs insecure.",
    )
    tls_listen: ListenOrOff = option(
        None, "Where to listen for RTMPS, HOST:PORT. Empty: not at all."
    )
    tls_cert: FilePathOrNone = option(
        None, "PEM file with the certificate for RTMPS and its chain. Empty: that of [http]."
    )
    tls_key: FilePathOrNone = option(
        None, "PEM file with that certificate's private key. Empty: that of [http]."
    )
    public_url: Text = option(
        "",
        'What ingest URLs are, as in "rtmps://live.example.org/live", when encoders come through '
        "a proxy. Empty: made of listen.",
    )
    insecure: bool = option(
        False, "Allows RTMP off loopback without TLS. hausd --insecure sets it as well."
    )
    max_publishers: int = option(16, "Publishers at once.", ge=1, le=10_000, reload=True)
    max_connections: int = option(
        64, "Connections at once, publishing or not yet.", ge=1, le=100_000, reload=True
    )
    max_connections_per_address: int = option(
        32,
        "Of them from one address. Encoders behind one proxy or router share theirs.",
        ge=1,
        le=100_000,
        reload=True,
    )
    max_bytes_per_s: Bytes = option(
        12 * 10**6,
        "What one publisher may send in a second on the average of ten; one that sends more is "
        "closed. 12 MB are 96 Mbit/s.",
        unit="bytes",
        ge=10_000,
        le=10**10,
        reload=True,
    )
    max_message_bytes: Bytes = option(
        8 * 1024**2,
        "Largest message, which is one frame: what a connection may make the node hold is a few "
        "times this.",
        unit="bytes",
        ge=64 * 1024,
        le=15 * 1024**2,
        reload=True,
    )
    handshake_timeout_s: Seconds = option(
        10.0,
        "A connection has to be publishing after this long.",
        unit="seconds",
        ge=0.1,
        le=600,
        reload=True,
    )
    stall_s: Seconds = option(
        20.0,
        "A publisher that sends nothing for this long is closed.",
        unit="seconds",
        ge=0.5,
        le=3600,
        reload=True,
    )


class IngestConfig(Section):
    """What holds for publishers however they come."""

    reconnect_s: Seconds = option(
        60.0,
        "An encoder that was lost may return within this time and go on in the same room, with a "
        "discontinuity; after it the stream has ended.",
        unit="seconds",
        ge=0,
        le=86_400,
        reload=True,
    )
    max_attempts: int = option(
        10,
        "Wrong stream keys that one address may try within attempts_window_s before it is refused.",
        ge=1,
        le=100_000,
        reload=True,
    )
    attempts_window_s: Seconds = option(
        60.0,
        "The time over which attempts are counted.",
        unit="seconds",
        ge=1,
        le=86_400,
        reload=True,
    )


class MediaConfig(Section):
    """How streams are cut and encoded. What can be reloaded holds from a room's next worker on."""

    part_seconds: Seconds = option(
        0.4,
        "Length of a part, the smallest piece a player gets. Shorter is less delay, more requests.",
        unit="seconds",
        ge=0.1,
        le=5,
    )
    gop_seconds: Seconds = option(
        2.0,
        "From keyframe to keyframe in what is encoded here, and the live playlist's target "
        "duration. Set your encoder's keyframe interval to the same.",
        unit="seconds",
        ge=0.5,
        le=10,
    )
    segment_seconds: Seconds = option(
        10.0,
        "Length of a segment of the recording; whole GOPs.",
        unit="seconds",
        ge=1,
        le=60,
    )
    ladder: Ladder = option(
        (units.Rung(720, 2_800_000), units.Rung(480, 1_400_000), units.Rung(360, 800_000)),
        "Further qualities beside the source: [height in pixels, bit rate of the video], from best "
        "to least. Only what is smaller than the source is made. []: the source only.",
        unit="pixels, bits a second",
        reload=True,
    )
    preset: Literal[
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"
    ] = option(
        "veryfast",
        "Preset of the H.264 encoder: slower ones look better at the same rate, and take more CPU.",
        reload=True,
    )
    audio_bps: BitsPerSecond = option(
        128_000,
        "Bit rate of sound that has to be encoded here.",
        unit="bits a second",
        ge=16_000,
        le=512_000,
        reload=True,
    )
    reencode_long_gops: bool = option(
        True,
        "Encodes the source anew when its keyframes come too seldom for low delay and a CPU core "
        "is free. Else the next stream's live playlist has segments as long as its GOPs, up to "
        "10 s.",
        reload=True,
    )
    images: bool = option(True, "Makes a poster and a storyboard.", reload=True)
    threads: int = option(
        0,
        "CPU cores that the encoders of one stream share among them; each has at least one thread "
        "of its own. 0: just that.",
        ge=0,
        le=256,
        reload=True,
    )
    worker_memory: Bytes = option(
        2 * 1024**3,
        "Memory that a stream's worker may use. 0: no limit.",
        unit="bytes",
        le=2**50,
        reload=True,
    )
    worker_nice: int = option(
        5,
        "Niceness of workers, 0 to 19; above 0 the node itself goes first.",
        ge=0,
        le=19,
        reload=True,
    )
    warm_workers: int = option(
        1,
        "Workers kept ready, so that a publisher need not wait for one to start. 0 saves memory.",
        ge=0,
        le=1,
    )


class LiveConfig(Section):
    """The live playlist."""

    window_s: Seconds = option(
        30.0,
        "How far back the live playlist reaches. The whole stream is in the archive playlist.",
        unit="seconds",
        ge=6,
        le=600,
    )


class StoreConfig(Section):
    """Recordings and everything else that is kept on disk."""

    path: FilePath = option(
        Path("store"), "Directory of the store. A relative path starts at the home."
    )
    quota: Bytes = option(
        20 * 10**9,
        "What the store may hold. Counted before writing; unpinned content makes room.",
        unit="bytes",
        ge=10**6,
        reload=True,
    )
    quota_files: int = option(
        200_000, "Files that the store may hold.", unit="files", ge=16, reload=True
    )
    reserve_free: Bytes = option(
        10**9,
        "Recording stops before the disk has less free space than this. Live goes on.",
        unit="bytes",
        reload=True,
    )
    sync_seconds: Seconds = option(
        5.0,
        "After a power cut at most this much of the recording is lost. 0: sync at every write.",
        unit="seconds",
        ge=0,
        le=300,
    )
    pin_own: bool = option(
        True, "Pins rooms that were streamed into this node: they are never evicted.", reload=True
    )


class LogConfig(Section):
    """What the node tells on standard error."""

    level: Literal["debug", "info", "warning", "error"] = option(
        "info", "Least level that is written.", reload=True
    )
    format: Literal["auto", "human", "json"] = option(
        "auto", "human: for reading; json: one object a line; auto: human on a terminal, else json."
    )
    ring_entries: int = option(
        2000, "Entries kept in memory for hausctl logs.", unit="entries", ge=10, le=100_000
    )


class Config(Section):
    """A node's whole configuration: frozen, checked, passed down."""

    node: NodeConfig = NodeConfig()
    http: HttpConfig = HttpConfig()
    rtmp: RtmpConfig = RtmpConfig()
    ingest: IngestConfig = IngestConfig()
    media: MediaConfig = MediaConfig()
    live: LiveConfig = LiveConfig()
    store: StoreConfig = StoreConfig()
    log: LogConfig = LogConfig()
    chain: ChainConfig = ChainConfig()
    p2p: P2PConfig = P2PConfig()
    relay: RelayConfig = RelayConfig()
    ipfs: IpfsConfig = IpfsConfig()
    keys: KeysConfig = KeysConfig()

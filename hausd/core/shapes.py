"""The JSON shapes of the API, the admin socket and ``hausctl --json``.

A list is a bare array, an error is ``{"error": {"code", "message", "hint"}}``, times are
RFC 3339 UTC. Bit rates are bits a second, sizes bytes, durations seconds unless named otherwise.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from hausd.core.event_shapes import ChainStatusShape, RoomEventShape
from hausd.core.live import RoomState
from hausd.core.media import Kind
from hausd.core.shape import Shape as Shape


class ErrorBody(Shape):
    """What was wrong, and what would be right."""

    code: str
    message: str
    hint: str = ""


class ErrorShape(Shape):
    """How every error looks."""

    error: ErrorBody


class NoticeShape(Shape):
    """Something the artist or operator should read."""

    time: datetime
    code: str
    text: str


class PublisherShape(Shape):
    """Who publishes into a room now, or did last."""

    address: str
    protocol: str
    encoder: str
    since: datetime
    until: datetime | None = None
    closed_because: str = ""
    bitrate_in: int = 0
    bytes_in: int = 0


class RenditionShape(Shape):
    """One quality of a room."""

    name: str
    kind: Kind
    codecs: str
    width: int = 0
    height: int = 0
    frame_rate: float | None = None
    bitrate: int = 0
    active: bool = True


class WorkerShape(Shape):
    """The media worker of a room."""

    pid: int
    fps: float
    speed: float
    behind_ms: int
    encoding: list[str]
    shed: list[str]
    frames_dropped: int
    memory_bytes: int
    cpu_s: float
    restarts: int
    sandbox: list[str]
    sandbox_missing: list[str]


class RecordingShape(Shape):
    """What of a room is on disk. ``stopped_because`` is empty while it records; ``missing`` are
    segments of a followed room that are yet to be fetched, ``sought`` is the manifest of a
    recording of which nothing could be read yet: nobody was found who has it."""

    segments: int
    duration_s: float
    bytes: int
    manifest: str | None = None
    stopped_because: str = ""
    missing: int = 0
    sought: str | None = None


class RoomNetworkShape(Shape):
    """Where this node stands among those that have a room.

    ``hops`` counts from the origin, None while that is not known. ``parent`` is whom the live edge
    comes from, ``copies`` how many other nodes get it from here. Given only on the admin socket:
    viewers need not know who relays for whom.
    """

    hops: int | None = None
    parent: str = ""
    copies: int = 0
    neighbours: int = 0


class PublishedShape(Shape):
    """What the DHT was told of a room.

    ``peers`` keep that this node has it, since ``told``. ``directory`` is the root of the finished
    room. ``name_path`` is where its IPNS name points, kept by ``name_peers``.
    """

    peers: int = 0
    told: datetime | None = None
    directory: str | None = None
    name_path: str = ""
    name_sequence: int = 0
    name_until: datetime | None = None
    name_peers: int = 0


class FreeShape(Shape):
    """What of a gated room takes no ticket, as its artist chose: the first seconds, or a rendition;
    and the recording once the event is ``finalized``. ``all``: so it is now."""

    first_s: int = 0
    rendition: str = ""
    finalized: bool = False
    all: bool = False
    now: list[str] = []
    """Renditions that are for everybody at this moment."""


class RoomShape(Shape):
    """A room as one node runs it: as its ``origin`` or as a ``follower``. ``stream_key`` is given
    only on the admin socket, and so is ``why`` a follower takes part. ``gated``: what is streamed
    is encrypted; ``withheld`` says why what is live can't be watched at this node."""

    id: str
    title: str
    state: RoomState
    role: Literal["origin", "follower"] = "origin"
    why: Literal["followed", "watched", "auto"] | None = None
    created: datetime
    gated: bool = False
    free: FreeShape | None = None
    withheld: str = ""
    ingest_url: str = ""
    stream_key: str | None = None
    watch_url: str = ""
    archive_url: str = ""
    started: datetime | None = None
    viewers: int = 0
    bitrate_out: int = 0
    latency_ms: float | None = None
    publisher: PublisherShape | None = None
    renditions: list[RenditionShape] = []
    worker: WorkerShape | None = None
    recording: RecordingShape | None = None
    network: RoomNetworkShape | None = None
    event: RoomEventShape | None = None
    published: PublishedShape | None = None
    """Of one room that is asked for on the admin socket, where the node takes part in the DHT."""
    notices: list[NoticeShape] = []


class DiskShape(Shape):
    """The store's budget and what it holds."""

    path: str
    quota_bytes: int
    used_bytes: int
    quota_files: int
    used_files: int
    pinned_bytes: int
    free_bytes: int
    blocks: int


class StatusShape(Shape):
    """A node at one moment."""

    version: str
    home: str
    pid: int
    started: datetime
    uptime_s: float
    rtmp: str | None
    http: str | None
    peer: str | None = None
    """Where other nodes reach this one; None where it takes part in no network."""
    peers: int = 0
    dht_peers: int = 0
    """Peers in the DHT's routing tables."""
    chain: ChainStatusShape | None = None
    cpu_percent: float
    memory_bytes: int
    open_files: int
    tasks: int
    rooms: int
    rooms_live: int
    viewers: int
    bitrate_in: int
    bitrate_out: int
    store: DiskShape
    sandbox: list[str]
    sandbox_missing: list[str]
    repaired: list[str] = []
    """What the last start found broken and mended, in plain words."""
    keys_given_unchecked: int = 0
    """Gated rooms' keys given to viewers inside while the chain did not answer."""


class CardShape(Shape):
    """A room of another node, as its signed card presents it."""

    id: str
    title: str
    artist: str
    state: RoomState
    gated: bool
    free: FreeShape | None = None
    followed: bool
    heard: datetime
    renditions: list[RenditionShape] = []
    watch_url: str = ""
    """With the token that lets this node join the room when the URL is opened."""
    bitrate: int = 0
    copies_taken: int | None = None
    copies_free: int | None = None
    """How many copies nodes send of it and still could, as its origin hears; None: not said."""


class WatchShape(Shape):
    """Where a room is watched at this node: its page, and the playlists for players.

    The URLs have the token that lets the node join a room that it is not in: they are for its
    own people.
    """

    watch_url: str
    live_url: str
    archive_url: str


class PeerShape(Shape):
    """Another node that is connected. Bytes are of payload."""

    id: str
    addresses: list[str]
    direction: Literal["in", "out"]
    since: datetime
    rtt_ms: float | None
    received_bytes: int
    sent_bytes: int
    score: float


class RemotePinShape(Shape):
    """A finished recording at a pinning service or Kubo node called ``to``.

    ``state`` is queued, pinning, pinned, failed (tried again at ``next_try``) or removing;
    ``percent`` how much was handed over, where this node sends it; ``detail`` what the service
    says of it, ``because`` why the last try failed.
    """

    to: str
    cid: str
    state: str
    percent: int | None = None
    bytes: int
    detail: str = ""
    because: str = ""
    tries: int = 0
    since: datetime
    next_try: datetime | None = None


class PinShape(Shape):
    """Something that is never evicted: a room, its newest ``last_s``, or a CID.

    At ``until`` the pin ends by itself. ``here`` is False for what is only pinned elsewhere.
    """

    target: str
    kind: str
    created: datetime
    bytes: int
    complete: bool
    here: bool = True
    remote: list[RemotePinShape] = []
    last_s: float | None = None
    until: datetime | None = None


class VerifyShape(Shape):
    """What reading every block again found (counts of blocks)."""

    checked: int
    corrupt: int
    missing: int
    repaired: int


class GcShape(Shape):
    """What collecting unpinned content freed."""

    removed_files: int
    removed_bytes: int
    kept_bytes: int


class ExportShape(Shape):
    """A finished room in one piece. ``cid`` is the UnixFS directory's; empty for an MP4.

    ``whole``: nothing of the recording is missing here, so every node that has it gives that CID.
    ``sealed``: the room is gated, and what is in it plays for nobody without the room's keys.
    ``free``: these are for everybody.
    """

    room: str
    format: str
    cid: str
    path: str
    bytes: int
    whole: bool = True
    sealed: bool = False
    free: bool = False


class ReloadShape(Shape):
    """What a reload of the configuration changed, and what waits for a restart."""

    applied: list[str]
    needs_restart: list[str]


class LogShape(Shape):
    """One entry of the node's log, without secrets.

    ``entries-lost`` with a ``count`` stands for entries that a slow reader missed.
    """

    number: int
    time: datetime
    level: str
    logger: str
    event: str
    fields: dict[str, object] = {}


class CheckShape(Shape):
    """One thing that ``doctor`` looked at: ``ok``, ``warn`` or ``fail``, and how to mend it."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


class OptionShape(Shape):
    """One option of the running node's configuration, and what set it (empty: its default)."""

    key: str
    value: object
    set_by: str = ""


class ProgressShape(Shape):
    """How far a piece of work is; ``total`` is None while nobody knows."""

    done: int
    total: int | None = None
    what: str = ""

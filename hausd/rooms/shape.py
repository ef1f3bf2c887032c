"""A room as API, admin socket and ``hausctl`` show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from solders.pubkey import Pubkey

from hausd.core.event_shapes import (
    OfferShape,
    RoomCheckpointShape,
    RoomEventShape,
    RoomHeadShape,
)
from hausd.core.events import RoomEvent
from hausd.core.ids import RoomId
from hausd.core.live import RoomState
from hausd.core.preview import FreeTerms
from hausd.core.shapes import (
    FreeShape,
    PublisherShape,
    RecordingShape,
    RenditionShape,
    RoomNetworkShape,
    RoomShape,
    WatchShape,
    WorkerShape,
)
from hausd.policy.onchain import Place, behind
from hausd.policy.roles import Why
from hausd.policy.watching import WatchKey
from hausd.rooms.followed_room import FollowedRoom
from hausd.rooms.origin_room import OriginRoom
from hausd.rooms.records import free_terms
from hausd.rooms.room import Room
from hausd.rooms.standing import standing_of

_DOUBTS = {
    "differs": "the manifest on chain is not the one that was signed",
    "unseen": "what was signed in the place of the manifest on chain was not heard here",
}


@dataclass(frozen=True, slots=True)
class Urls:
    """Where this node is reached, without a trailing slash; empty where that part is off.

    ``key`` is None where no room can be joined by its URL.
    """

    ingest: str
    http: str
    key: WatchKey | None = None

    def page(self, room: RoomId, *, token: bool = False) -> str:
        """Where a room is watched. ``token``: for the operator, whose node may join it."""
        if not self.http:
            return ""
        more = f"&token={self.key.token(room)}" if token and self.key is not None else ""
        return f"{self.http}/?room={room}{more}"

    def watch(self, room: RoomId) -> WatchShape:
        """All of a room's addresses, for the operator."""
        more = f"?token={self.key.token(room)}" if self.key is not None else ""
        live, archive = (f"{self.http}/{view}/{room}/index.m3u8" for view in ("live", "archive"))
        return WatchShape(
            watch_url=self.page(room, token=True),
            live_url=f"{live}{more}" if self.http else "",
            archive_url=f"{archive}{more}" if self.http else "",
        )


def room_shape(room: Room, urls: Urls, *, private: bool) -> RoomShape:
    """``private``: with stream key, publisher and worker, for the admin socket only."""
    record, withheld = room.record, room.withheld()
    origin = room if isinstance(room, OriginRoom) else None
    archive = f"{urls.http}/archive/{room.id}/index.m3u8" if urls.http else ""
    return RoomShape(
        id=room.id,
        title=record.title,
        state=record.state,
        role="origin" if origin is not None else "follower",
        why=_why(room) if private else None,
        created=_time(record.created_ms),
        gated=room.gated,
        free=_free(room),
        withheld=withheld.message if withheld is not None else "",
        ingest_url=urls.ingest if origin is not None else "",
        stream_key=record.stream_key if private and origin is not None else None,
        watch_url=urls.page(room.id, token=private and origin is None),
        archive_url=archive,
        started=_time(record.started_ms) if record.started_ms else None,
        viewers=room.audience.viewers(),
        bitrate_out=room.audience.bitrate(),
        latency_ms=_latency(origin) if origin is not None else None,
        publisher=_publisher(origin) if private and origin is not None else None,
        renditions=_renditions(room),
        worker=_worker(origin) if private and origin is not None else None,
        recording=RecordingShape(
            segments=room.archive_of.segments,
            duration_s=room.archive_of.duration_s,
            bytes=room.archive_of.size,
            manifest=record.manifest or None,
            stopped_because=room.recorder.stopped_because,
            missing=room.missing_segments,
            sought=str(room.sought) if room.sought is not None else None,
        ),
        network=_network(room) if private else None,
        event=_event(room, room.event) if room.event is not None else None,
        notices=list(room.notices) if private else [],
    )


def free_shape(terms: FreeTerms) -> FreeShape | None:
    """The terms alone; None where nothing is free."""
    if not terms:
        return None
    return FreeShape(first_s=terms.first_s, rendition=terms.rendition, finalized=terms.finalized)


def _free(room: Room) -> FreeShape | None:
    made = free_shape(free_terms(room.record)) or (FreeShape() if room.free else None)
    if made is None or not room.gated:
        return None
    return made.model_copy(update={"all": room.free.all, "now": sorted(room.free_now())})


def _why(room: Room) -> Literal["followed", "watched", "auto"] | None:
    if not isinstance(room, FollowedRoom):
        return None
    match room.why:
        case Why.FOLLOWED:
            return "followed"
        case Why.AUTO:
            return "auto"
        case Why.WATCHED | None:  # its grace is over: it is left in a moment
            return "watched"


def _event(room: Room, event: RoomEvent) -> RoomEventShape:
    written = event.checkpoint
    origin = room if isinstance(room, OriginRoom) else None
    followed = room if isinstance(room, FollowedRoom) else None
    signs = standing_of(origin, event).signs if origin is not None else None
    signed = (
        followed.newest if followed is not None else origin.head if origin is not None else None
    )
    newest = Place(signed.session, signed.n) if signed is not None else None
    proof = followed.proving.outcome if followed is not None and written is not None else None
    doubt = room.doubt or _DOUBTS.get(proof or "", "")
    return RoomEventShape(
        status=event.state.value,
        artist=event.artist,
        authority=str(Pubkey.from_bytes(event.authority.raw)),
        slot=event.slot,
        starts=_time(event.starts_ms),
        ends=_time(event.ends_ms),
        gated=event.gated,
        premium=event.premium,
        signs=signs,
        head=RoomHeadShape(manifest=str(signed.manifest), session=str(signed.session), n=signed.n)
        if signed is not None
        else None,
        checkpoint=RoomCheckpointShape(
            manifest=str(written.manifest),
            session=str(written.session),
            n=written.n,
            slot=written.slot,
        )
        if written is not None
        else None,
        behind=behind(newest, Place(written.session, written.n) if written is not None else None),
        proof=proof,
        matched=followed.proving.matched if followed is not None else None,
        proven=proof in ("matches", "alone") and not doubt if followed is not None else None,
        doubt=doubt,
        recording=str(event.recording) if event.recording is not None else None,
        offers=[
            OfferShape(name=each.name, price=str(each.price), sold_out=each.sold_out)
            for each in event.offers
        ],
        mint=event.mint,
        decimals=event.decimals,
    )


def _network(room: Room) -> RoomNetworkShape | None:
    place = room.place
    if place is None:
        return None
    return RoomNetworkShape(
        hops=0 if isinstance(room, OriginRoom) else place.hops,
        parent=place.parent or "",
        copies=place.copies,
        neighbours=place.neighbours,
    )


def _latency(room: OriginRoom) -> float | None:
    if room.state is not RoomState.LIVE or room.latency_ms is None:
        return None
    return round(room.latency_ms, 1)


def _publisher(room: OriginRoom) -> PublisherShape | None:
    stint = room.stint
    if stint is None:
        return None
    return PublisherShape(
        address=stint.publisher.address,
        protocol=stint.publisher.protocol,
        encoder=stint.publisher.encoder,
        since=_time(stint.since_ms),
        until=_time(stint.until_ms) if stint.until_ms is not None else None,
        closed_because=stint.closed_because,
        bitrate_in=room.bitrate_in,
        bytes_in=stint.bytes_in,
    )


def _renditions(room: Room) -> list[RenditionShape]:
    shown = []
    for live in room.tracks.values():
        rendition = live.rendition
        rate = rendition.frame_rate
        shown.append(
            RenditionShape(
                name=rendition.name,
                kind=rendition.kind,
                codecs=rendition.codecs,
                width=rendition.width,
                height=rendition.height,
                frame_rate=round(float(rate), 3) if rate is not None else None,
                bitrate=live.average_bps(),
                active=live.active,
            )
        )
    return shown


def _worker(room: OriginRoom) -> WorkerShape | None:
    stint, stats = room.stint, room.stats
    if stint is None or stats is None or stint.done.is_set():
        return None
    return WorkerShape(
        pid=stint.pid,
        fps=stats.fps,
        speed=stats.speed,
        behind_ms=stats.behind_ms,
        encoding=list(stats.encoding),
        shed=list(stats.shed),
        frames_dropped=stats.frames_dropped,
        memory_bytes=stats.memory_bytes,
        cpu_s=stats.cpu_s,
        restarts=stint.restarts,
        sandbox=list(room.sandbox.holds) if room.sandbox else [],
        sandbox_missing=list(room.sandbox.missing) if room.sandbox else [],
    )


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)

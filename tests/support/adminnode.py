"""A node in memory behind a real admin socket, for tests of the socket and of hausctl."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from hausd.admin import admin_app, serve_admin
from hausd.admin.chain_ports import ChainPort
from hausd.config import Config
from hausd.config.show import shown_config
from hausd.core.errors import Problem
from hausd.core.ids import RoomId, open_room_id
from hausd.core.live import RoomState
from hausd.core.media import Kind
from hausd.core.preview import FreeTerms
from hausd.core.shapes import (
    CardShape,
    CheckShape,
    DiskShape,
    ExportShape,
    FreeShape,
    GcShape,
    NoticeShape,
    OptionShape,
    PeerShape,
    PinShape,
    PublisherShape,
    RecordingShape,
    ReloadShape,
    RemotePinShape,
    RenditionShape,
    RoomShape,
    StatusShape,
    VerifyShape,
    WatchShape,
    WorkerShape,
)
from hausd.telemetry import LogRing, Progress

THEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STREAM_KEY = "sk_test_0123456789"


def live_room(room: RoomId, title: str) -> RoomShape:
    """A room in the midst of a stream, with everything that a sheet can show."""
    return RoomShape(
        id=room,
        title=title,
        state=RoomState.LIVE,
        created=THEN,
        started=THEN,
        ingest_url="rtmp://127.0.0.1:1935/live",
        stream_key=STREAM_KEY,
        watch_url=f"http://127.0.0.1:8080/live/{room}/index.m3u8",
        archive_url=f"http://127.0.0.1:8080/archive/{room}/index.m3u8",
        viewers=3,
        bitrate_out=8_400_000,
        latency_ms=812.0,
        publisher=PublisherShape(
            address="203.0.113.7",
            protocol="rtmp",
            encoder="FMLE/3.0 [OBS]",
            since=THEN,
            until=THEN,
            closed_because="it sent nothing for 20 s",
            bitrate_in=2_800_000,
            bytes_in=123_456_789,
        ),
        renditions=[
            RenditionShape(
                name="source",
                kind=Kind.VIDEO,
                codecs="avc1.640028",
                width=1920,
                height=1080,
                frame_rate=30.0,
                bitrate=2_700_000,
            ),
            RenditionShape(
                name="720p",
                kind=Kind.VIDEO,
                codecs="avc1.64001f",
                width=1280,
                height=720,
                frame_rate=30.0,
                active=False,
            ),
            RenditionShape(name="audio", kind=Kind.AUDIO, codecs="mp4a.40.2", bitrate=128_000),
        ],
        worker=WorkerShape(
            pid=4242,
            fps=29.97,
            speed=1.0,
            behind_ms=40,
            encoding=["480p", "360p"],
            shed=["720p"],
            frames_dropped=2,
            memory_bytes=180_000_000,
            cpu_s=63.0,
            restarts=1,
            sandbox=["landlock", "rlimits"],
            sandbox_missing=["seccomp"],
        ),
        recording=RecordingShape(
            segments=60,
            duration_s=600.0,
            bytes=210_000_000,
            manifest="bafyreiabc",
            stopped_because="the disk is full",
        ),
        notices=[NoticeShape(time=THEN, code="long-gop", text="Set the keyframe interval to 2 s")],
    )


@dataclass
class MemoryNode:
    """Keeps every promise of NodeControl, in memory. Knobs make it slow or faulty."""

    home: Path
    chain: ChainPort | None = None
    known: dict[str, RoomShape] = field(default_factory=dict)
    pinned: dict[str, PinShape] = field(default_factory=dict)
    elsewhere: dict[str, list[RemotePinShape]] = field(default_factory=dict)
    steps: int = 0
    step_s: float = 0.0
    breaks: bool = False
    cancelled: trio.Event = field(default_factory=trio.Event)
    exported_to: list[Path | None] = field(default_factory=list)

    async def status(self) -> StatusShape:
        if self.breaks:
            raise RuntimeError("a fault of the node with sk_secretsecret in it")
        return StatusShape(
            version="0.1.0",
            home=str(self.home),
            pid=12345,
            started=THEN,
            uptime_s=3723.0,
            rtmp="rtmp://127.0.0.1:1935",
            http="http://127.0.0.1:8080",
            cpu_percent=12.5,
            memory_bytes=91_000_000,
            open_files=42,
            tasks=17,
            rooms=len(self.known),
            rooms_live=sum(r.state is RoomState.LIVE for r in self.known.values()),
            viewers=3,
            bitrate_in=2_800_000,
            bitrate_out=8_400_000,
            store=await self.store_usage(),
            sandbox=["landlock", "rlimits"],
            sandbox_missing=["seccomp"],
            repaired=["the last segment of a room was cut short"],
        )

    async def rooms(self) -> Sequence[RoomShape]:
        return [room.model_copy(update={"stream_key": None}) for room in self.known.values()]

    async def room(self, room: RoomId) -> RoomShape:
        found = self.known.get(room)
        if found is None:
            raise Problem("not-found", "there is no such room", "hausctl rooms list", 404)
        return found

    async def create_room(self, title: str, *, gated: bool = False) -> RoomShape:
        room = open_room_id(len(self.known).to_bytes(32, "big"))
        self.known[room] = RoomShape(
            id=room,
            title=title,
            gated=gated,
            state=RoomState.CREATED,
            created=datetime.now(UTC),
            ingest_url="rtmp://127.0.0.1:1935/live",
            stream_key=STREAM_KEY,
            watch_url=f"http://127.0.0.1:8080/live/{room}/index.m3u8",
        )
        return self.known[room]

    async def free_room(
        self, room: RoomId, first_s: int | None, rendition: str | None, finalized: bool | None
    ) -> RoomShape:
        found = await self.room(room)
        terms = FreeTerms().changed(first_s, rendition, finalized)
        free = FreeShape(
            first_s=terms.first_s, rendition=terms.rendition, finalized=terms.finalized
        )
        self.known[room] = found.model_copy(update={"free": free})
        return self.known[room]

    async def close_room(self, room: RoomId) -> RoomShape:
        closed = (await self.room(room)).model_copy(update={"state": RoomState.CLOSED})
        self.known[room] = closed
        return closed

    async def follow_room(self, room: RoomId, peer: str, last_s: float | None) -> RoomShape:
        raise Problem("no-network", "this node takes part in no network", "set p2p.listen", 409)

    async def watch_room(self, room: RoomId) -> WatchShape:
        live = f"http://127.0.0.1:8080/live/{room}/index.m3u8?token=00"
        return WatchShape(
            watch_url=f"http://127.0.0.1:8080/?room={room}&token=00",
            live_url=live,
            archive_url=live.replace("/live/", "/archive/"),
        )

    async def unfollow_room(self, room: RoomId) -> RoomShape:
        raise Problem("not-followed", "this room's origin is this node", "", 409)

    async def peers(self) -> Sequence[PeerShape]:
        return []

    async def connect_peer(self, address: str) -> PeerShape:
        raise Problem("unreachable", f"{address} can't be reached", "is it running?", 502)

    async def ban_peer(self, peer: str, for_s: float) -> None:
        raise Problem("bad-peer", f"{peer} is no peer id", "", 422)

    async def cards(self, search: str) -> Sequence[CardShape]:
        return []

    async def export_room(
        self, room: RoomId, form: str, path: Path | None, progress: Progress
    ) -> ExportShape:
        await self.room(room)
        await self._work(progress)
        self.exported_to.append(path)
        cid = "" if form == "mp4" else "bafybeiexample"
        return ExportShape(
            room=room, format=form, cid=cid, path=str(path) if path else "", bytes=1_000_000
        )

    async def pins(self) -> Sequence[PinShape]:
        only_elsewhere = [
            PinShape(target=room, kind="room", created=THEN, bytes=0, complete=False, here=False)
            for room in self.elsewhere
            if room not in self.pinned
        ]
        return [
            pin.model_copy(update={"remote": self.elsewhere.get(pin.target, [])})
            for pin in (*self.pinned.values(), *only_elsewhere)
        ]

    async def add_pin(self, target: str, last_s: float | None, until: datetime | None) -> PinShape:
        if not target.startswith(("baf", "k51")):
            raise Problem("bad-target", f"{target!r} is neither a room nor a CID")
        kind = "room" if target.startswith("k51") else "cid"
        pin = PinShape(
            target=target,
            kind=kind,
            created=THEN,
            bytes=10_000,
            complete=True,
            last_s=last_s,
            until=until,
        )
        self.pinned[target] = pin
        return pin

    async def remove_pin(self, target: str) -> None:
        if self.pinned.pop(target, None) is None:
            raise Problem("not-found", "that isn't pinned", status=404)

    async def push_pin(self, room: RoomId, to: str) -> Sequence[RemotePinShape]:
        shown = await self.room(room)
        names = [to] if to else ["pinata", "kubo"]
        made = [
            RemotePinShape(to=name, cid="bafybeiexample", state="queued", bytes=1, since=THEN)
            for name in names
        ]
        self.elsewhere[shown.id] = made
        return made

    async def remove_remote_pin(self, target: str, from_: str) -> None:
        left = [one for one in self.elsewhere.get(target, []) if one.to != from_]
        if left == self.elsewhere.get(target, []):
            raise Problem("not-found", f"{target} is not pinned at {from_}", status=404)
        self.elsewhere[target] = left

    async def verify_pins(self, progress: Progress) -> VerifyShape:
        await self._work(progress)
        return VerifyShape(checked=7, corrupt=0, missing=0, repaired=0)

    async def store_usage(self) -> DiskShape:
        return DiskShape(
            path=str(self.home / "store"),
            quota_bytes=20_000_000_000,
            used_bytes=5_000_000_000,
            quota_files=200_000,
            used_files=1200,
            pinned_bytes=4_000_000_000,
            free_bytes=80_000_000_000,
            blocks=40_000,
        )

    async def store_verify(self, progress: Progress) -> VerifyShape:
        await self._work(progress)
        if self.breaks:
            raise RuntimeError("a fault of the store")
        return VerifyShape(checked=40_000, corrupt=2, missing=1, repaired=1)

    async def store_gc(self, progress: Progress) -> GcShape:
        await self._work(progress)
        return GcShape(removed_files=3, removed_bytes=30_000_000, kept_bytes=5_000_000_000)

    async def config(self) -> Sequence[OptionShape]:
        config = Config.model_validate(
            {
                "chain": {"rpc_url": "https://u:pw@rpc.example.org/?api-key=topsecret"},
                "http": {"listen": "127.0.0.1:0"},
                "rtmp": {"listen": "127.0.0.1:0"},
                "store": {"path": str(self.home / "store")},
            }
        )
        return shown_config(config, {"chain.rpc_url": "environment HAUSD_CHAIN__RPC_URL"})

    async def reload_config(self) -> ReloadShape:
        return ReloadShape(applied=["log.level"], needs_restart=["http.listen"])

    async def doctor(self) -> Sequence[CheckShape]:
        return [CheckShape(name="encoders", state="ok", found="libx264 is there")]

    async def _work(self, progress: Progress) -> None:
        try:
            for done in range(self.steps):
                progress(done, self.steps, f"file {done}")
                await trio.sleep(self.step_s)
        except trio.Cancelled:
            self.cancelled.set()
            raise


@asynccontextmanager
async def running(home: Path, **knobs: Any) -> AsyncIterator[tuple[MemoryNode, LogRing]]:
    """A MemoryNode with its admin socket in this home."""
    home.mkdir(parents=True, exist_ok=True)
    node, ring = MemoryNode(home, **knobs), LogRing(100)
    async with serve_admin(admin_app(node, ring), home / "admin.sock"):
        yield node, ring

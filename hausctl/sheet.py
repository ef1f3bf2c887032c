"""A room and a node in full, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hausctl.context import marked
from hausctl.money import money
from hausctl.previewing import free_words
from hausctl.rooms import coloured, coming_in
from hausctl.words import ago, clock, count, rate, short_id, size, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from hausd.core.event_shapes import ChainStatusShape, RoomEventShape
    from hausd.core.shapes import (
        PublishedShape,
        PublisherShape,
        RenditionShape,
        RoomNetworkShape,
        RoomShape,
        StatusShape,
        WorkerShape,
    )


def facts(pairs: Iterable[tuple[str, str]], indent: int = 0) -> Text:
    """Names and values (markup) in two columns; a long value is never cut, so that it can be
    copied."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    margin = " " * indent
    lines = (f"{margin}[dim]{name:<{width}}[/]  {value}" for name, value in listed)
    return Text.from_markup("\n".join(lines), overflow="fold", emoji=False)


def plain_facts(pairs: Iterable[tuple[str, str]]) -> Text:
    """The same of values that are said as they are."""
    return facts((name, escape(value)) for name, value in pairs)


def room_sheet(room: RoomShape) -> Iterator[RenderableType]:
    """Everything about a room."""
    yield marked(f"[bold]{escape(room.title)}[/]  {coloured(room.state)}  {escape(room.id)}")
    latency = f", {room.latency_ms:.0f} ms behind" if room.latency_ms is not None else ""
    pairs = [
        ("created", clock(room.created)),
        ("started", clock(room.started) if room.started else "not yet"),
        ("publish to", escape(room.ingest_url)),
        ("stream key", escape(room.stream_key or "")),
        ("watch at", escape(room.watch_url)),
        ("archive", escape(room.archive_url)),
        ("viewers", f"{room.viewers}, {rate(room.bitrate_out)} out{latency}"),
        ("gated", "encrypted: plays where its keys are" if room.gated else ""),
        ("preview", escape(free_words(room.free))),
        ("not shown", f"[yellow]{escape(room.withheld)}[/]" if room.withheld else ""),
    ]
    yield facts(pair for pair in pairs if pair[1])
    if room.publisher:
        yield from _section("Publisher", facts(_publisher(room.publisher), 2))
    if room.renditions:
        yield from _section("Qualities", _renditions(room.renditions))
    if room.worker:
        yield from _section("Worker", facts(_worker(room.worker), 2))
    if room.recording:
        recording = room.recording
        held = f"{count(recording.segments, 'segment', 'segments')}, {size(recording.bytes)}"
        pairs = [("holds", f"{held}, {span(recording.duration_s)}")]
        if recording.manifest:
            pairs.append(("manifest", escape(recording.manifest)))
        if recording.sought:
            pairs.append(
                ("looked for", f"[yellow]{escape(recording.sought)}: found nowhere yet[/]")
            )
        if recording.missing:
            pairs.append(("missing", count(recording.missing, "segment", "segments")))
        if recording.stopped_because:
            pairs.append(("stopped", f"[red]{escape(recording.stopped_because)}[/]"))
        yield from _section("Recording", facts(pairs, 2))
    if room.event:
        yield from _section("Event", facts(_event(room.event), 2))
    if room.network:
        yield from _section("Network", facts(_network(room.network, room.role, room.why), 2))
    if room.published:
        yield from _section("In the DHT", facts(_published(room.published), 2))
    if room.notices:
        notices = ((clock(notice.time), escape(notice.text)) for notice in room.notices)
        yield from _section("Notices", facts(notices, 2))


def status_sheet(status: StatusShape) -> Iterator[RenderableType]:
    """A node at one moment."""
    running = f"running for {span(status.uptime_s)}, process {status.pid}"
    yield marked(f"[bold]hausd {escape(status.version)}[/]  [green]{running}[/]")
    store = status.store
    live = f"{status.rooms_live} live of {status.rooms}"
    pairs = [
        ("home", escape(status.home)),
        ("publish to", escape(status.rtmp or "")),
        ("watch at", escape(status.http or "")),
        ("other nodes", _others(status) if status.peer else "no network"),
        ("reach it at", escape(status.peer or "")),
        ("rooms", f"{live}, {count(status.viewers, 'viewer', 'viewers')}"),
        ("traffic", f"{rate(status.bitrate_in)} in, {rate(status.bitrate_out)} out"),
        *(_chain(status.chain) if status.chain else []),
        ("store", f"{size(store.used_bytes)} of {size(store.quota_bytes)}"),
        ("disk", f"{size(store.free_bytes)} free"),
        ("process", f"{status.cpu_percent:.0f} % of a core, {size(status.memory_bytes)}"),
        ("", f"{status.open_files} open files, {status.tasks} tasks"),
        ("sandbox", sandbox(status.sandbox, status.sandbox_missing)),
    ]
    yield facts(pair for pair in pairs if pair[1])
    if status.repaired:
        mended = facts(("", escape(each)) for each in status.repaired)
        yield from _section("The last start mended", mended)


def _others(status: StatusShape) -> str:
    return f"{status.peers} connected, {status.dht_peers} known in the DHT"


def sandbox(holds: list[str], missing: list[str]) -> str:
    """Which limits of the media workers hold."""
    parts = [f"[green]{name}[/]" for name in holds] + [f"[red]no {name}[/]" for name in missing]
    return " ".join(parts) or "no worker has run yet"


def _chain(chain: ChainStatusShape) -> Iterator[tuple[str, str]]:
    own = "its own, " if chain.embedded else ""
    lag = f", {chain.lag:,} behind" if chain.lag else ""
    yield "chain", f"{own}{escape(chain.url)}, slot {chain.slot:,}{lag}"
    if chain.doubt:
        yield "", f"[yellow]{escape(chain.doubt)}[/]"
    told = chain.last_checkpoint
    if told:
        late = f", {chain.checkpoints_behind:,} behind" if chain.checkpoints_behind else ""
        yield "checkpoint", f"{short_id(told.room)} number {told.n} at slot {told.slot:,}{late}"
    if chain.waiting:
        yield "", f"[yellow]waits: {escape(chain.waiting)}[/]"
    for budget in chain.budgets:
        left = count(budget.checkpoints, "checkpoint", "checkpoints")
        yield "budget", f"{money(budget.lamports, None)} for {short_id(budget.room)}: {left}"


def _event(event: RoomEventShape) -> Iterator[tuple[str, str]]:
    yield "status", f"{event.status}, as of slot {event.slot:,}"
    yield "artist", escape(event.artist)
    yield "signed by", escape(event.authority)
    if event.head:
        yield "signed", f"{escape(event.head.manifest)}, number {event.head.n}"
    if event.checkpoint:
        late = f", {count(event.behind, 'head', 'heads')} behind" if event.behind else ""
        yield "on chain", f"{escape(event.checkpoint.manifest)}, number {event.checkpoint.n}{late}"
    if event.proven:
        alone = event.proof == "alone"
        yield "proven", "the recording is what the chain names" if alone else "they are the same"
    if event.doubt:
        yield "not proven", f"[yellow]{escape(event.doubt)}[/]"
    if event.recording:
        yield "recording", escape(event.recording)


def _section(name: str, inner: RenderableType) -> Iterator[RenderableType]:
    yield marked(f"\n[bold]{name}[/]")
    yield inner


def _network(network: RoomNetworkShape, role: str, why: str | None) -> Iterator[tuple[str, str]]:
    yield "role", f"{role}, {why}" if why else role
    if role == "follower":
        away = count(network.hops, "hop", "hops") if network.hops is not None else "not known"
        yield "origin", f"{away} away"
        if network.parent:
            yield "comes from", escape(network.parent)
    yield "goes to", count(network.copies, "node", "nodes")
    yield "neighbours", str(network.neighbours)


def _published(published: PublishedShape) -> Iterator[tuple[str, str]]:
    since = f", {ago(published.told)}" if published.told else ""
    kept = f"told to {count(published.peers, 'node', 'nodes')}{since}"
    yield "provided", kept if published.peers else "nobody was told of it yet"
    if published.directory:
        yield "directory", escape(published.directory)
    if published.name_path:
        yield "name", f"points to {escape(published.name_path)}, number {published.name_sequence}"
        until = f", until {clock(published.name_until)}" if published.name_until else ""
        yield "", f"kept by {count(published.name_peers, 'node', 'nodes')}{until}"


def _publisher(publisher: PublisherShape) -> Iterator[tuple[str, str]]:
    yield "from", escape(f"{publisher.address} by {publisher.protocol.upper()}")
    if publisher.encoder:
        yield "encoder", escape(publisher.encoder)
    if publisher.until is None:
        yield "publishing", f"since {clock(publisher.since)} ({ago(publisher.since)})"
        yield "sends", f"{rate(publisher.bitrate_in)}, {size(publisher.bytes_in)} so far"
    else:
        yield "published", f"{clock(publisher.since)} to {clock(publisher.until)}"
        yield "sent", size(publisher.bytes_in)
        yield "closed", escape(publisher.closed_because or "no reason was noted")


def _renditions(renditions: list[RenditionShape]) -> Table:
    table = Table("Name", "Picture", "Rate", "Codecs", "", box=None, padding=(0, 0, 0, 2))
    for each in renditions:
        frames = f" {each.frame_rate:g} fps" if each.frame_rate else ""
        picture = f"{each.width}x{each.height}{frames}" if each.width else "-"
        active = "" if each.active else "[yellow]shed[/]"
        table.add_row(escape(each.name), picture, rate(each.bitrate), escape(each.codecs), active)
    return table


def _worker(worker: WorkerShape) -> Iterator[tuple[str, str]]:
    colour = "green" if worker.speed >= 0.98 else "red"
    speed = f"[{colour}]{worker.speed:.2f} x real time[/], {worker.behind_ms} ms behind"
    restarts = f", {worker.restarts} restarts" if worker.restarts else ""
    yield (
        "process",
        f"{worker.pid}{restarts}, {worker.cpu_s:.0f} s CPU, {size(worker.memory_bytes)}",
    )
    yield "speed", f"{worker.fps:.1f} fps, {speed}"
    yield "encodes", escape(", ".join(worker.encoding)) or "nothing: the source passes through"
    if worker.shed:
        yield "shed", f"[yellow]{escape(', '.join(worker.shed))}[/] (this machine can't keep up)"
    if worker.frames_dropped:
        yield "dropped", count(worker.frames_dropped, "frame", "frames")
    yield "sandbox", sandbox(worker.sandbox, worker.sandbox_missing)


def room_row(room: RoomShape) -> tuple[str, ...]:
    """A room in one line of ``top``."""
    worker = room.worker
    speed = "-"
    if worker:
        colour = "green" if worker.speed >= 0.98 else "red"
        speed = f"[{colour}]{worker.speed:.2f} x[/]"
    video = [r.name for r in room.renditions if r.active and r.width]
    shed = f" [yellow]-{len(worker.shed)}[/]" if worker and worker.shed else ""
    return (
        short_id(room.id),
        escape(room.title),
        coloured(room.state),
        room.why or "own",
        rate(coming_in(room)),
        rate(room.bitrate_out),
        f"{worker.fps:.0f}" if worker else "-",
        speed,
        f"{room.latency_ms:.0f} ms" if room.latency_ms is not None else "-",
        str(room.viewers),
        escape(" ".join(video)) + shed,
    )

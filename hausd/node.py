"""A whole node: opens every part, in order, on one exit stack. No logic of its own."""

from __future__ import annotations

import errno
import gc
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial

import sdnotify
import structlog
import trio

from hausd import __version__
from hausd.admin import admin_app, serve_admin
from hausd.blocks.errors import StoreError
from hausd.blocks.store import Store, open_store
from hausd.config import Address, Changes, Config, Loaded
from hausd.config.home import Home
from hausd.control import Control
from hausd.core.clock import SystemClock
from hausd.core.errors import Problem
from hausd.core.live import RoomState
from hausd.core.storage import SegmentKey
from hausd.events import open_events
from hausd.greeting import greet_operator, say_ready
from hausd.http.api import ApiPorts, create_api
from hausd.http.responder import RoomResponder
from hausd.http.server import listen
from hausd.http.server import serve as serve_http
from hausd.http.tls import TlsFault, TlsFiles, load_context
from hausd.ingest.server import Door, RtmpIngest, open_doors, serve_rtmp
from hausd.keyholding import KeysFailed, NodeKeys, open_keys
from hausd.media.supervisor import Workers
from hausd.network import NodeNetwork, open_elsewhere, open_network
from hausd.ownchain import OwnChainFailed, open_own_chain
from hausd.p2p import ListenFailed
from hausd.remote import RemotePins, open_remote_pins
from hausd.retrieval import RetrievingNetwork, open_retrieval
from hausd.rooms.gops import Workload
from hausd.rooms.manager import Rooms
from hausd.rooms.ondemand import OnDemand
from hausd.rooms.records import RecordIsNewer, RoomRecords
from hausd.rooms.room import RoomParts
from hausd.rooms.shape import Urls
from hausd.rooms.shared import SharedRooms
from hausd.telemetry.logs import set_level, set_up_logs
from hausd.telemetry.ring import LogRing
from hausd.terms import (
    cores,
    http_limits,
    reached_at,
    room_settings,
    rtmp_limits,
    store_limits,
)

log = structlog.get_logger("hausd.node")

_FIRST_ROOM = "My room"
_QUIET_S = 2.0
_STOPS = (signal.SIGTERM, signal.SIGINT)


class NodeFailed(Exception):
    """The node can't run; ``args[0]`` says why, ``hint`` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def run_node(
    home: Home,
    loaded: Loaded,
    read_config: Callable[[], Loaded],
    *,
    demo: bool = False,
    greet: bool = False,
) -> None:
    """Runs a node until it is told to stop. Raises NodeFailed.

    ``demo``: publishes the demo stream. ``greet``: says on standard error where to stream and
    with which key, as it always does on a terminal; elsewhere the key would end up in a log.
    """
    ring = LogRing(loaded.config.log.ring_entries)
    set_up_logs(loaded.config.log.level, loaded.config.log.format, ring)
    # who stops it twice, or while it stops, gets the same orderly end: what trio's receiver has
    # not read when it closes is raised again, and by default would kill
    handlers = {number: signal.signal(number, _stops_already) for number in _STOPS}
    try:
        trio.run(partial(_run, home, loaded, read_config, ring, demo=demo, greet=greet))
    except Exception as fault:
        match _alone(fault):
            case NodeFailed() as failed:
                raise failed from fault
            case StoreError() as failed:
                raise NodeFailed(str(failed)) from fault
            case RecordIsNewer() as failed:
                raise NodeFailed(str(failed), "run that one, or take another --home") from fault
            case _:
                raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _alone(fault: BaseException) -> BaseException:
    """What failed, without the nurseries that it came through alone."""
    while isinstance(fault, BaseExceptionGroup) and len(fault.exceptions) == 1:
        fault = fault.exceptions[0]
    return fault


def _stops_already(number: int, frame: object) -> None:
    """Nothing more is to be done."""


async def _run(
    home: Home,
    loaded: Loaded,
    read_config: Callable[[], Loaded],
    ring: LogRing,
    *,
    demo: bool,
    greet: bool,
) -> None:
    config = loaded.config
    with trio.open_signal_receiver(*_STOPS, signal.SIGHUP) as signals:
        async with AsyncExitStack() as stack:
            # what can fail for the operator's reasons comes first, before anything runs
            listener = _listen_http(config.http.listen)
            stack.callback(listener.close)
            doors = await _open_doors(config)
            for door in doors:
                stack.push_async_callback(door.listener.aclose)
            tls = _tls_files(config)

            opened: list[Rooms] = []  # rooms are opened after the store that evicts theirs

            def evicted(keys: Sequence[SegmentKey]) -> None:
                for each in opened:
                    each.evicted(keys)

            store = await stack.enter_async_context(
                open_store(
                    config.store.path,
                    store_limits(config),
                    progress=_StoreProgress(),
                    evicted=evicted,
                )
            )
            shared = SharedRooms()
            network: NodeNetwork | None = None
            if config.p2p.listen:
                try:
                    opening = open_network(home, config, shared, store)
                    network = await stack.enter_async_context(opening)
                except ListenFailed as fault:
                    raise NodeFailed(str(fault), fault.hint) from fault
            peers = [network.bitswap.source] if network is not None else []
            retrieval, fetched = await stack.enter_async_context(
                open_retrieval(config, store, SystemClock(), peers)
            )
            try:
                opening_chain = open_own_chain(config, home.path, SystemClock())
                own_chain = await stack.enter_async_context(opening_chain)
            except OwnChainFailed as fault:
                raise NodeFailed(str(fault), fault.hint) from fault
            opening_events = open_events(config, home.path, own_chain, SystemClock())
            events = await stack.enter_async_context(opening_events)
            try:
                opening_keys = open_keys(home, config, network, events, SystemClock())
                keys = await stack.enter_async_context(opening_keys)
            except KeysFailed as fault:
                raise NodeFailed(str(fault), fault.hint) from fault
            workers = await stack.enter_async_context(Workers(spare=config.media.warm_workers > 0))
            parts = RoomParts(
                settings=room_settings(config),
                workers=workers,
                store=store,
                records=RoomRecords(home.rooms_dir),
                clock=SystemClock(),
                random_bytes=os.urandom,
                network=RetrievingNetwork(network.exchange, retrieval) if network else None,
                workload=Workload(cores=cores()),
                chain=events.known,
                keyring=keys.ring,
                key_holders=keys.holders,
            )
            rooms = await stack.enter_async_context(Rooms(parts).open())
            opened.append(rooms)
            shared.rooms = keys.rooms = rooms
            await stack.enter_async_context(events.serving(rooms, store))

            key = network.watch_key if network is not None else None
            urls = reached_at(config, doors, listener.getsockname(), key, secure=tls is not None)
            rooms.reached_at(urls)
            control = Control(
                home=home,
                loaded=loaded,
                rooms_of=rooms,
                store=store,
                read_config=read_config,
                rtmp=urls.ingest or None,
                http=urls.http or None,
                network=network,
                chain=events.chain,
                keys=keys.operator,
                retrieval=retrieval,
                repaired=[*store.repaired, *rooms.repaired],
            )
            if not rooms.list():
                await control.create_room(_FIRST_ROOM)

            on_demand: OnDemand | None = None
            if network is not None:
                hearing = open_elsewhere(network, rooms, store, parts)
                elsewhere = await stack.enter_async_context(hearing)
                control.directory, on_demand = elsewhere.directory, elsewhere.on_demand
                control.presence = elsewhere.presence
                shared.card_of = elsewhere.directory.card_of

            control.remote = await stack.enter_async_context(
                open_remote_pins(home, config, rooms, store, network, parts.clock)
            )
            ready = trio.Event()
            api_ports = ApiPorts(
                catalog=rooms,
                status=control.snapshot,
                ready=lambda: "" if ready.is_set() else "the node is starting",
                metrics_from=config.http.metrics_from,
                playback=keys.playing,
            )
            responder = RoomResponder(
                rooms, store, fetched=fetched, on_demand=on_demand, playback=keys.playing
            )
            await stack.enter_async_context(
                serve_http(
                    [listener],
                    responder=responder,
                    app=create_api(api_ports, __version__),
                    audience=rooms,
                    limits=http_limits(config),
                    tls=tls,
                    hostnames=frozenset(config.http.hostnames),
                    trusted_proxies=frozenset(
                        str(proxy.network_address) for proxy in config.http.trusted_proxies
                    ),
                    drain_s=config.node.drain_s,
                )
            )
            rtmp = await stack.enter_async_context(serve_rtmp(doors, rooms, rtmp_limits(config)))
            control.apply = partial(_apply, parts, rtmp, store, control.remote, keys)
            await stack.enter_async_context(
                serve_admin(admin_app(control, ring), home.admin_socket)
            )
            # what is there now stays: the collector need not look at it again and again
            gc.collect()
            gc.freeze()
            ready.set()
            say_ready(home, doors, listener.getsockname(), urls, network, own_chain)
            if greet or sys.stderr.isatty():
                greet_operator(rooms)
            sdnotify.SystemdNotifier().notify("READY=1")
            async with _demo(rooms, urls) if demo else nullcontext():
                await _serve_until_stopped(signals, control)


def _apply(
    parts: RoomParts,
    rtmp: RtmpIngest,
    store: Store,
    remote: RemotePins,
    keys: NodeKeys,
    changes: Changes,
) -> None:
    """Takes over what a running node can."""
    config = changes.effective
    set_level(config.log.level)
    parts.settings = room_settings(config)
    rtmp.set_limits(rtmp_limits(config))
    store.set_limits(store_limits(config))
    remote.automatic = config.ipfs.pin_finished
    keys.apply(config)


@asynccontextmanager
async def _demo(rooms: Rooms, urls: Urls) -> AsyncIterator[None]:
    """A process that publishes the demo stream; it gets the key on its standard input."""
    room = next((room for room in rooms.list() if room.state is not RoomState.CLOSED), None)
    room = room or await rooms.create(_FIRST_ROOM)
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                [sys.executable, "-m", "hausd.media.demo", "-"],
                stdin=f"{urls.ingest}/{room.stream_key}\n{os.getpid()}\n".encode(),
                stdout=subprocess.DEVNULL,
                check=False,
                start_new_session=True,
            )
        )
        log.info("demo-publishes", watch=room.watch_url)
        try:
            yield
        finally:
            process.terminate()


async def _serve_until_stopped(signals: AsyncIterator[int], control: Control) -> None:
    async for number in signals:
        if number != signal.SIGHUP:
            log.info("stopping", signal=signal.Signals(number).name)
            sdnotify.SystemdNotifier().notify("STOPPING=1")
            return
        try:
            changed = await control.reload_config()
        except Problem as problem:
            log.error("config-not-reloaded", because=problem.message)
        else:
            log.info(
                "config-reloaded", applied=changed.applied, needs_restart=changed.needs_restart
            )


# -- opening, with errors that name the key --


class _StoreProgress:
    """A start that has to mend much says how far it is, from two seconds on."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _QUIET_S

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _QUIET_S
            log.info("opening-store", doing=what, done=done, total=total)


def _listen_http(at: Address) -> socket.socket:
    try:
        return listen(at.host, at.port)
    except OSError as fault:
        raise _taken("http.listen", at, fault) from fault


async def _open_doors(config: Config) -> list[Door]:
    doors: list[Door] = []
    plain, secure = config.rtmp.listen, config.rtmp.tls_listen
    if plain is not None:
        try:
            doors += await open_doors(plain.host, plain.port)
        except OSError as fault:
            raise _taken("rtmp.listen", plain, fault) from fault
    if secure is not None:
        cert = config.rtmp.tls_cert or config.http.tls_cert
        key = config.rtmp.tls_key or config.http.tls_key
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(str(cert), str(key))
        except (OSError, ssl.SSLError) as fault:
            raise NodeFailed(f"rtmp.tls_cert: {cert} can't be used ({fault})") from fault
        try:
            doors += await open_doors(secure.host, secure.port, context)
        except OSError as fault:
            raise _taken("rtmp.tls_listen", secure, fault) from fault
    return doors


def _tls_files(config: Config) -> TlsFiles | None:
    cert, key = config.http.tls_cert, config.http.tls_key
    if cert is None or key is None:
        return None
    files = TlsFiles(cert, key)
    try:
        load_context(files)
    except TlsFault as fault:
        raise NodeFailed(f"http.tls_cert: {fault}") from fault
    return files


def _taken(key: str, at: Address, fault: OSError) -> NodeFailed:
    if fault.errno == errno.EADDRINUSE:
        hint = f"stop what listens there, or choose another: --set {key}={at.host}:PORT"
        return NodeFailed(f"{key}: {at} is taken by another program", hint)
    hint = f"choose an address of this machine: --set {key}=HOST:PORT"
    if fault.errno == errno.EACCES:
        hint = f"ports below 1024 need a privilege; choose a higher one: --set {key}={at.host}:PORT"
    return NodeFailed(f"{key}: {at} can't be listened on ({fault.strerror or fault})", hint)

"""Recordings at pinning services: added, replaced, removed, tried again, never forgotten."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
import trio
from fastapi import Request, Response
from fastapi.responses import JSONResponse
from support.pinsvc import TOKEN, Service, fault, pinning_service

from hausd.core.cid import CID, Codec
from hausd.core.clock import SystemClock
from hausd.core.peers import PeerAddress, PeerId
from hausd.ipfs import pinner as pinner_module
from hausd.ipfs import pinning
from hausd.ipfs.calls import Caller, open_client
from hausd.ipfs.pinner import Pinner
from hausd.ipfs.pinning import PinningService
from hausd.ipfs.ports import Origin, TryFailed
from hausd.ipfs.table import FILE_NAME, PinState, PinTable, RemotePin
from hausd.policy.reach import Reach

ADDRESS = "/ip4/93.184.216.34/tcp/4001/p2p/12D3KooWGRUVh9xGXVmbKLMNDmx1oBrvBJhJPWYaQHJxhbFbhGZ6"
ROOM = "k51" + "a" * 59


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are short, their order is kept."""
    monkeypatch.setattr(pinning, "POLL_S", 0.02)
    monkeypatch.setattr(pinner_module, "_LEAST_PAUSE_S", 0.02)
    monkeypatch.setattr(pinner_module, "_drawn", lambda retry: 0.0)


def wish(content: bytes = b"room", *, to: str = "svc", room: str = ROOM) -> RemotePin:
    cid = str(CID.of(content, Codec.DAG_PB))
    return RemotePin(
        to=to, room=room, title="Saturday", cid=cid, size=1000, manifest="m", since_ms=1
    )


@dataclass
class Kept:
    """A pinner over one service, and what it dialled."""

    pinner: Pinner
    place: PinningService
    dialled: list[tuple[PeerAddress, Reach]] = field(default_factory=list)

    async def until(self, pin: RemotePin, state: PinState) -> None:
        with trio.fail_after(10):
            while pin.state is not state:
                await trio.sleep(0.01)


@asynccontextmanager
async def keeping(
    home: Path, service: Service, token: Callable[[], str] = lambda: f"Bearer {TOKEN}"
) -> AsyncIterator[Kept]:
    async def get(cid: CID) -> bytes | None:
        raise AssertionError("a service fetches by itself")

    home.mkdir(exist_ok=True)
    dialled: list[tuple[PeerAddress, Reach]] = []
    origin = Origin(get, lambda: [ADDRESS], lambda told, at: dialled.append((told, at)))
    clock = SystemClock()
    async with open_client(5) as client:
        place = PinningService(
            "svc", service.endpoint, Caller(client, service.endpoint, clock, token), origin
        )
        async with Pinner([place], PinTable(home), clock).open() as pinner:
            yield Kept(pinner, place, dialled)


async def test_a_recording_is_pinned_with_name_and_origins(tmp_path: Path) -> None:
    async with pinning_service() as service, keeping(tmp_path, service) as kept:
        service.delegates = [ADDRESS, "/ip4/192.0.2.9/udp/4001/quic-v1", "nonsense"]
        pin = kept.pinner.want(wish())
        await kept.until(pin, PinState.PINNED)
        (held,) = service.pins.values()
        assert held["pin"]["cid"] == pin.cid
        assert held["pin"]["name"] == "Saturday"
        assert held["pin"]["origins"] == [ADDRESS]
        told = PeerAddress(PeerId(ADDRESS.rpartition("/")[2]), (ADDRESS,))
        assert kept.dialled == [(told, Reach.MACHINE)], "what can be dialled of what was named"
        assert pin.request_id == held["requestid"]
        assert await kept.place.holds(pin)


async def test_a_service_that_can_not_reach_this_node_is_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pinning_service() as service, keeping(tmp_path, service) as kept:
        monkeypatch.setattr(kept.place, "_told_at", Reach.WORLD)  # as if it were elsewhere
        service.after = ["pinning"] * 1000
        pin = kept.pinner.want(wish())
        await kept.until(pin, PinState.PINNING)
        assert pin.detail == ""
    monkeypatch.setattr(f"{__name__}.ADDRESS", ADDRESS.replace("93.184.216.34", "127.0.0.1"))
    async with pinning_service() as service, keeping(tmp_path / "other", service) as kept:
        monkeypatch.setattr(kept.place, "_told_at", Reach.WORLD)
        service.after = ["pinning"] * 1000
        pin = kept.pinner.want(wish())
        await kept.until(pin, PinState.PINNING)
        assert "set p2p.listen or p2p.announce" in pin.detail


async def test_a_later_recording_of_the_room_replaces_the_earlier(tmp_path: Path) -> None:
    async with pinning_service() as service, keeping(tmp_path, service) as kept:
        pin = kept.pinner.want(wish(b"first"))
        await kept.until(pin, PinState.PINNED)
        pin = kept.pinner.want(wish(b"second"))
        await kept.until(pin, PinState.PINNED)
        assert service.held() == {pin.cid} == {wish(b"second").cid}
        assert len(service.pins) == 1


async def test_removed_is_removed_and_remembered(tmp_path: Path) -> None:
    async with pinning_service() as service:
        async with keeping(tmp_path, service) as kept:
            pin = kept.pinner.want(wish())
            await kept.until(pin, PinState.PINNED)
            assert kept.pinner.unwant("svc", ROOM)
            await kept.until(pin, PinState.REMOVED)
            assert service.pins == {}
            assert kept.pinner.pins() == []
            assert not kept.pinner.unwant("svc", ROOM)
        async with keeping(tmp_path, service) as kept:
            known = kept.pinner.get("svc", ROOM)
            assert known is not None
            assert known.state is PinState.REMOVED


async def test_a_restart_goes_on_and_asks_for_nothing_twice(tmp_path: Path) -> None:
    async with pinning_service() as service:
        service.after = ["queued"] * 1000
        async with keeping(tmp_path, service) as kept:
            pin = kept.pinner.want(wish())
            with trio.fail_after(5):
                while not pin.request_id:
                    await trio.sleep(0.01)
        for one in service._steps.values():
            one[:] = ["pinned"]
        async with keeping(tmp_path, service) as kept:
            (pin,) = kept.pinner.pins()
            await kept.until(pin, PinState.PINNED)
        assert len(service.pins) == 1
        assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


async def test_a_crash_between_asking_and_writing_down_leaves_one_pin(tmp_path: Path) -> None:
    async with pinning_service() as service:
        service.add(
            {"cid": wish().cid, "name": "Saturday", "origins": [], "meta": {}}
        )  # as before a crash
        async with keeping(tmp_path, service) as kept:
            await kept.until(kept.pinner.want(wish()), PinState.PINNED)
        assert len(service.pins) == 1


async def test_what_fails_is_tried_again_until_it_works(tmp_path: Path) -> None:
    answers: list[Response | None] = [
        fault(500, "INTERNAL_SERVER_ERROR", "disk"),
        fault(401, "UNAUTHORIZED", f"bad token {TOKEN}"),
        fault(409, "INSUFFICIENT_FUNDS", "out of credit"),
        JSONResponse({"error": {"reason": "RATE"}}, 429, headers={"retry-after": "0"}),
        Response("<html>", 200),
        Response("[" * 100_000, 200),
        Response("[" * 100_000, 500),
        JSONResponse({"requestid": 3}, 202),
        Response("x" * (2 << 20), 200),
        Response(status_code=302, headers={"location": "https://elsewhere.example/"}),
        JSONResponse({"requestid": "1", "status": "odd", "pin": {"cid": wish().cid}}, 202),
    ]
    said: list[str] = []

    def instead(request: Request) -> Response | None:
        # the question what there is already is answered rightly
        if request.method == "GET" and request.url.path.endswith("/pins"):
            return None
        return answers.pop(0) if answers else None

    async with pinning_service() as service, keeping(tmp_path, service) as kept:
        service.instead = instead
        count = len(answers)
        with structlog.testing.capture_logs() as logs:
            pin = kept.pinner.want(wish())
            await kept.until(pin, PinState.PINNED)
        said = [entry["because"] for entry in logs if entry["event"] == "remote-pin-not-yet"]
        assert len(said) == count
        for words, expected in zip(
            said,
            [
                "it failed (HTTP 500, INTERNAL_SERVER_ERROR: disk)",
                "it does not accept the token (HTTP 401, UNAUTHORIZED: bad token [redacted])",
                "it asks for money, or its quota is used up (HTTP 409, INSUFFICIENT_FUNDS: out",
                "it is busy (HTTP 429, RATE)",
                "its answer is not JSON",
                "its answer is not JSON",
                "it failed (HTTP 500)",
                "its answer is none of the Pinning Service API",
                "its answer is larger than",
                "it sends to another address, where the token must not go (HTTP 302)",
                "it gives a state that is none: 'odd'",
            ],
            strict=True,
        ):
            assert words.startswith(expected)
        assert TOKEN not in str(logs)
        assert (pin.because, pin.tries) == ("", 0)
    assert TOKEN not in (tmp_path / FILE_NAME).read_text()


async def test_a_pin_that_failed_there_is_asked_for_anew(tmp_path: Path) -> None:
    async with pinning_service() as service, keeping(tmp_path, service) as kept:
        service.after = ["queued", "failed"]
        service.info = {"status_details": "could not find it"}
        pin = kept.pinner.want(wish())
        await kept.until(pin, PinState.FAILED)
        assert pin.because == "the service failed to pin it: could not find it"
        assert pin.next_try_ms > 0
        service.after = ["pinned"]
        await kept.until(pin, PinState.PINNED)
        assert len(service.pins) == 1


async def test_a_pin_that_is_gone_is_found_out_and_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pinner_module, "RECHECK_S", 0.1)
    async with pinning_service() as service, keeping(tmp_path, service) as kept:
        pin = kept.pinner.want(wish())
        await kept.until(pin, PinState.PINNED)
        service.pins.clear()
        with trio.fail_after(10):
            while not service.held():
                await trio.sleep(0.02)
        await kept.until(pin, PinState.PINNED)


async def test_nobody_there_is_said_in_words_and_the_pause_is_known(tmp_path: Path) -> None:
    async with keeping(tmp_path, Service(port=9)) as kept:
        pin = kept.pinner.want(wish())
        await kept.until(pin, PinState.FAILED)
        assert pin.because == "it can't be reached"


async def test_a_token_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    def token() -> str:
        raise TryFailed("its token's file can't be read (No such file or directory)")

    async with pinning_service() as service, keeping(tmp_path, service, token) as kept:
        pin = kept.pinner.want(wish())
        await kept.until(pin, PinState.FAILED)
        assert "token's file" in pin.because
        assert service.requests == []


async def test_many_recordings_go_to_one_service(tmp_path: Path) -> None:
    async with pinning_service() as service, keeping(tmp_path, service) as kept:
        pins = [
            kept.pinner.want(wish(os.urandom(8), room=f"k51{number:059}")) for number in range(40)
        ]
        for pin in pins:
            await kept.until(pin, PinState.PINNED)
        assert service.held() == {pin.cid for pin in pins}


@pytest.mark.parametrize("damage", [b"{", b'{"version":2,"pins":[]}', b'{"version":1,"pins":[1]}'])
async def test_a_damaged_table_is_told_and_ends_nothing(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(damage)
    with structlog.testing.capture_logs() as logs:
        async with keeping(tmp_path, Service(port=9)) as kept:
            assert kept.pinner.pins() == []
    assert any(entry["event"] == "remote-pins-unread" for entry in logs)
    assert (tmp_path / FILE_NAME).with_suffix(".unread").read_bytes() == damage

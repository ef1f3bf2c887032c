"""The admin socket's routes of the chain: events, tickets, tips, and sending what was signed."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from hausd.admin.chain_ports import ChainPort
from hausd.admin.streams import Work
from hausd.core.chain_shapes import (
    AirdropShape,
    ChainShape,
    EventShape,
    MetadataShape,
    MintShape,
    NewEventShape,
    NewStreamShape,
    PlanShape,
    PlatformShape,
    TicketShape,
    TipperShape,
    TipShape,
    WalletShape,
)
from hausd.core.errors import Problem
from hausd.core.ids import RoomId, parse_room_id
from hausd.core.programs.accounts import MAX_TITLE_BYTES
from hausd.core.shapes import Shape
from hausd.telemetry import Progress

_MAX_AIRDROP = 1_000 * 10**9
_MAX_BASE64 = 4096
_MAX_TIME_S = 2**40
_MAX_DESCRIPTION = 4_000
_Size = Annotated[int, Field(ge=0, le=10_240)]
chain_routes = APIRouter(prefix="/v1")


def _chain(request: Request) -> ChainPort:
    chain: ChainPort | None = request.app.state.node.chain
    if chain is None:
        hint = "set chain.rpc_url, or chain.listen for the embedded chain, and start the node again"
        raise Problem("no-chain", "this node has no chain", hint, 409)
    return chain


def _event_id(event: str) -> RoomId:
    try:
        return parse_room_id(event)
    except ValueError as error:
        raise Problem("bad-event-id", f"{event[:80]!r} is not an event's id", str(error)) from None


Chain = Annotated[ChainPort, Depends(_chain)]
Event = Annotated[RoomId, Depends(_event_id)]
_Text = Annotated[str, Query(max_length=64)]


class Message(Shape):
    """An unsigned message, base64, and sizes of accounts whose rent is asked for."""

    message: Annotated[str, Field(max_length=_MAX_BASE64)]
    sizes: Annotated[list[_Size], Field(max_length=16)] = []  # noqa: RUF012 pydantic copies it


class Transaction(Shape):
    """A signed transaction, base64. ``resumed``: it may have been sent before."""

    transaction: Annotated[str, Field(max_length=_MAX_BASE64)]
    last_valid_block_height: Annotated[int, Field(ge=0)]
    resumed: bool = False


class Airdrop(Shape):
    """Lamports to give to an address."""

    to: str
    lamports: Annotated[int, Field(ge=1, le=_MAX_AIRDROP)]


class Metadata(Shape):
    """What metadata is made of. Times are seconds since 1970. ``keep``: it is stored."""

    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE_BYTES)]
    description: Annotated[str, Field(max_length=_MAX_DESCRIPTION)] = ""
    starts: Annotated[int, Field(ge=0, le=_MAX_TIME_S)]
    ends: Annotated[int, Field(ge=0, le=_MAX_TIME_S)]
    keep: bool = True


class NewEvent(Metadata):
    """What a room and its metadata are made of."""

    event: str


@chain_routes.get("/chain")
async def _show(chain: Chain) -> ChainShape:
    return await chain.chain()


@chain_routes.get("/chain/platform")
async def _platform(chain: Chain) -> PlatformShape:
    return await chain.platform()


@chain_routes.post("/chain/plan")
async def _plan(chain: Chain, wanted: Message) -> PlanShape:
    return await chain.plan(wanted.message, wanted.sizes)


@chain_routes.post("/chain/send")
async def _send(chain: Chain, signed: Transaction) -> Response:
    async def work(progress: Progress) -> Shape:
        return await chain.send(
            signed.transaction, signed.last_valid_block_height, resumed=signed.resumed
        )

    return Work("chain-send", work)


@chain_routes.post("/chain/airdrop", status_code=HTTPStatus.CREATED)
async def _airdrop(chain: Chain, wanted: Airdrop) -> AirdropShape:
    return await chain.airdrop(wanted.to, wanted.lamports)


@chain_routes.get("/mints/{mint}")
async def _mint(chain: Chain, mint: str) -> MintShape:
    return await chain.mint(mint[:64])


@chain_routes.get("/wallets/{wallet}")
async def _wallet(chain: Chain, wallet: str) -> WalletShape:
    return await chain.wallet(wallet[:64])


@chain_routes.get("/events")
async def _events(chain: Chain, artist: _Text = "") -> Sequence[EventShape]:
    return await chain.events(artist)


@chain_routes.post("/events", status_code=HTTPStatus.CREATED)
async def _new_event(chain: Chain, new: NewEvent) -> NewEventShape:
    room = _event_id(new.event)
    return await chain.new_event(room, new.title, new.description, new.starts, new.ends)


@chain_routes.get("/events/{event}")
async def _event(chain: Chain, event: Event) -> EventShape:
    return await chain.event(event)


@chain_routes.post("/events/{event}/stream", status_code=HTTPStatus.CREATED)
async def _stream(chain: Chain, event: Event) -> NewStreamShape:
    found = await chain.event(event)
    return await chain.new_stream(event, found.title)


@chain_routes.post("/events/{event}/metadata")
async def _metadata(chain: Chain, event: Event, new: Metadata) -> MetadataShape:
    told = (new.title, new.description, new.starts, new.ends)
    return await chain.metadata(event, *told, keep=new.keep)


@chain_routes.get("/tickets")
async def _tickets(chain: Chain, event: _Text = "", holder: _Text = "") -> Sequence[TicketShape]:
    return await chain.tickets(event, holder)


@chain_routes.get("/events/{event}/tippers/{tipper}")
async def _tipper(chain: Chain, event: Event, tipper: str) -> TipperShape | None:
    return await chain.tipper(event, tipper[:64])


@chain_routes.get("/events/{event}/tips")
async def _tips(
    chain: Chain, event: Event, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Sequence[TipShape]:
    return await chain.tips(event, limit)

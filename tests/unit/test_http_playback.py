"""Who gets a gated room at a node: its owner here, and who signed in; asked of the responder."""

from __future__ import annotations

import json

import pytest
from support.hls_room import MemoryBlocks, Rooms, Script, StudioRoom

from hausd.core.errors import Problem
from hausd.core.ids import RoomId
from hausd.core.release import SignedIn
from hausd.http.messages import Answer, Request, Response, Wait
from hausd.http.playback import cookie_of
from hausd.http.responder import RoomResponder
from hausd.policy.playback import TurnedAway

OWNERS, TOKEN, NODE = "a" * 32, "tok-en_1", "0a1b2c3d"
OURS = {"sec-fetch-site": "same-origin"}
AWAY = "203.0.113.7"


class OneToken:
    """Implements ``http.ports.Playback``: one token of the owner's, one of a viewer's."""

    node = NODE

    def __init__(self) -> None:
        self.away: TurnedAway | None = None

    def owns(self, room: RoomId, untrusted_token: str) -> bool:
        return untrusted_token == OWNERS

    def look(
        self, room: RoomId, untrusted_token: str, address: str, agent: str
    ) -> TurnedAway | None:
        return self.away if untrusted_token == TOKEN else TurnedAway.BAD_TOKEN

    async def checked(self, room: RoomId, untrusted_token: str) -> None:
        self.away = None

    async def challenge(self, untrusted_room: str, wallet: str, address: str, host: str) -> str:
        raise Problem("unused", "")

    async def sign_in(
        self, untrusted_text: str, untrusted_signature: str, address: str, host: str
    ) -> SignedIn:
        raise Problem("unused", "")

    async def renew(self, room: RoomId, untrusted_token: str, address: str, agent: str) -> SignedIn:
        raise Problem("unused", "")

    async def leave(self, room: RoomId, untrusted_token: str, address: str) -> None:
        raise Problem("unused", "")


class Door:
    def __init__(self) -> None:
        self.room = StudioRoom(Script(frame_bytes=8))
        self.room.begin_run()
        self.room.run_gops(8)
        self.room.gated = True
        self.tokens = OneToken()
        self.responder = RoomResponder(
            Rooms(self.room), MemoryBlocks(self.room.blocks), playback=self.tokens
        )

    def ask(self, path: str, peer: str = AWAY, query: str = "", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = path.replace("ROOM", self.room.id)
        host = "127.0.0.1:8080"
        return self.responder.respond(Request("GET", path, query, named, "1.1", False, peer, host))

    def at(self, path: str, peer: str = AWAY, query: str = "", **headers: str) -> str:
        """``ok``, or the code of the refusal."""
        answer = self.ask(path, peer, query, **headers)
        assert isinstance(answer, Response), answer
        fields = dict(answer.headers)
        assert fields[b"cache-control"] in (b"no-store", b"private, no-store")
        assert b"access-control-allow-origin" not in fields
        assert isinstance(answer.body, tuple)
        return "ok" if answer.status == 200 else json.loads(b"".join(answer.body))["error"]["code"]


@pytest.fixture
def door() -> Door:
    return Door()


NAMES = ("live/ROOM{}/index.m3u8", "live/ROOM{}/source/index.m3u8", "live/ROOM{}/source/1.7.m4s")


@pytest.mark.parametrize("name", NAMES)
def test_from_elsewhere_it_takes_a_token(name: str, door: Door) -> None:
    plain, with_token = f"/{name.format('')}", f"/{name.format('/t/' + TOKEN)}"
    assert door.at(plain) == "sign-in-needed"
    # what any program can say proves nothing there
    assert door.at(plain, sec_fetch_site="same-origin") == "sign-in-needed"
    assert door.at(plain, origin="http://127.0.0.1:8080") == "sign-in-needed"
    assert door.at(f"/{name.format('/t/' + OWNERS)}") == "bad-token"
    assert door.at(with_token) == "ok"
    cookie = f"other=1; {cookie_of(door.room.id, NODE)}={TOKEN}"
    assert door.at(plain, cookie=cookie) == "ok"
    assert door.at(plain, cookie=f"haus-other={TOKEN}") == "sign-in-needed"
    theirs = f"{cookie_of(door.room.id, 'another')}=tok-en_2"  # of a node at another port
    assert door.at(plain, cookie=theirs) == "sign-in-needed"
    assert door.at(plain, cookie=f"{theirs}; {cookie}") == "ok"
    # whatever else serves pages under this name has cookies in forms of its own
    others = ('a={"x": [1]}', "a=b c", "flag", "a@b=1", 'a="b', "path=/", "a=\xe9", f"x{cookie}")
    for other in others:
        mine = f"{other}; {cookie_of(door.room.id, NODE)}={TOKEN}"
        assert door.at(plain, cookie=mine) == "ok", other
    for away in TurnedAway:
        if away is not TurnedAway.UNCHECKED:
            door.tokens.away = away
            assert door.at(with_token) == away.value


@pytest.mark.parametrize("name", NAMES)
def test_the_owner_watches_here_without_ceremony(name: str, door: Door) -> None:
    here, plain = "127.0.0.1", f"/{name.format('')}"
    assert door.at(plain, here, sec_fetch_site="same-origin") == "ok"
    assert door.at(f"/{name.format('/t/' + OWNERS)}", here) == "ok"
    assert door.at(plain, here) == "sign-in-needed"
    # somebody behind a proxy on this machine is not here
    for field in ("via", "x_forwarded_for", "x_real_ip", "forwarded", "x_forwarded_proto"):
        proxied = {"sec_fetch_site": "same-origin", field: AWAY}
        assert door.at(plain, here, **proxied) == "sign-in-needed"
        assert door.at(f"/{name.format('/t/' + OWNERS)}", here, **{field: AWAY}) == "bad-token"


def test_a_players_url_with_the_watch_token_leads_to_one_that_holds_it(door: Door) -> None:
    answer = door.ask("/live/ROOM/index.m3u8", "127.0.0.1", f"token={OWNERS}")
    assert isinstance(answer, Response)
    assert answer.status == 307
    place = f"/live/{door.room.id}/t/{OWNERS}/index.m3u8"
    assert dict(answer.headers)[b"location"] == place.encode()
    assert door.at("/live/ROOM/index.m3u8", AWAY, f"token={OWNERS}") == "sign-in-needed"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("peer", ["127.0.0.1", AWAY])
@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec_fetch_site": "cross-site"},
     {"sec_fetch_site": "same-site"}],
)  # fmt: skip
def test_other_sites_pages_get_nothing_whatever_token_they_have(
    name: str, peer: str, headers: dict[str, str], door: Door
) -> None:
    cookie = f"{cookie_of(door.room.id, NODE)}={TOKEN}"
    for token in ("", f"/t/{TOKEN}", f"/t/{OWNERS}"):
        asked = door.at(f"/{name.format(token)}", peer, cookie=cookie, **headers)
        assert asked == "not-for-other-sites"


@pytest.mark.parametrize(
    "path",
    ["/live/ROOM/t/index.m3u8", "/live/ROOM/t//index.m3u8", "/live/ROOM/T/tok-en_1/index.m3u8",
     "/live/ROOM/../ROOM/index.m3u8", "/live/ROOM//index.m3u8", "/live/ROOM/t/x/../../index.m3u8",
     "/live/ROOM/t/tok-en_1/t/tok-en_1/index.m3u8", "/live/ROOM/source/t/tok-en_1/index.m3u8",
     "/live/ROOM", "/live/ROOM/t/tok-en_1", "/archive/ROOM/t/no/source/index.m3u8"],
)  # fmt: skip
def test_tricks_with_the_path_open_nothing(path: str, door: Door) -> None:
    assert door.at(path) != "ok"


async def test_a_ticket_that_is_looked_up_is_waited_for(door: Door) -> None:
    door.tokens.away = TurnedAway.UNCHECKED
    path = f"/live/ROOM/t/{TOKEN}/index.m3u8"
    answer = door.ask(path)
    assert isinstance(answer, Wait)
    assert answer.expired.status == 503
    await answer.until()
    assert door.at(path) == "ok"


def test_open_rooms_know_no_tokens(door: Door) -> None:
    door.room.gated = False
    answer = door.ask(f"/live/ROOM/t/{TOKEN}/index.m3u8")
    assert isinstance(answer, Response)
    assert answer.status == 404

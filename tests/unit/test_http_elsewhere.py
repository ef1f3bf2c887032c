"""Rooms of other nodes are joined for the node's own page and for who has the token; else not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from support.content import OTHER_ROOM, ROOM

from hausd.core.cid import CID
from hausd.core.ids import RoomId
from hausd.http.messages import Request, Response, Wait
from hausd.http.ports import RoomView
from hausd.http.responder import RoomResponder
from hausd.policy.watching import WatchKey

KEY = WatchKey(b"k" * 32)


@dataclass
class Joining:
    """A node that joins nothing, and remembers what it was asked."""

    gone: set[RoomId] = field(default_factory=set)
    taken: bool = False
    asked: list[RoomId] = field(default_factory=list)

    def admits(self, room: RoomId, untrusted_token: str) -> bool:
        return KEY.admits(room, untrusted_token)

    def missed(self, room: RoomId) -> bool:
        return room in self.gone

    def full(self, room: RoomId) -> bool:
        return self.taken

    async def join(self, room: RoomId) -> None:
        self.asked.append(room)


class Nothing:
    """No rooms, no blocks."""

    def room(self, room: RoomId) -> RoomView | None:
        return None

    def rooms(self) -> list[RoomView]:
        return []

    def has(self, cid: CID) -> bool:
        return False

    def locate(self, cid: CID) -> None:
        return None

    async def block(self, cid: CID) -> None:
        return None


def ask(
    joining: Joining | None, path: str, query: str = "", peer: str = "127.0.0.1", **headers: str
) -> Response | Wait:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    host = "127.0.0.1:8080"
    request = Request("GET", path, query, named, "1.1", False, peer, host)
    answer = RoomResponder(Nothing(), Nothing(), on_demand=joining).respond(request)
    assert isinstance(answer, Response | Wait)
    return answer


OURS = {"sec_fetch_site": "same-origin"}
PLAYLISTS = [f"/live/{ROOM}/index.m3u8", f"/live/{ROOM}/720p/index.m3u8"]


@pytest.mark.parametrize("path", PLAYLISTS)
async def test_a_playlist_asked_for_by_our_own_page_or_with_the_token_is_waited_for(
    path: str,
) -> None:
    joining = Joining()
    for answer in (
        ask(joining, path, **OURS),
        ask(joining, path, origin="http://127.0.0.1:8080", **OURS),
        ask(joining, path, f"token={KEY.token(ROOM)}"),
        ask(joining, path, f"_HLS_msn=3&token={KEY.token(ROOM)}", sec_fetch_site="cross-site"),
    ):
        assert isinstance(answer, Wait)
        assert answer.deadline_s < 10, "before hls.js gives up"
        assert answer.expired.status == 503
        await answer.until()
    assert joining.asked == [ROOM] * 4


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("", {"sec_fetch_site": "none"}),
        ("", {"sec_fetch_site": "cross-site"}),
        ("", {"sec_fetch_site": "same-site"}),
        ("", {"origin": "http://evil.example"}),
        ("", {"origin": "http://evil.example", **OURS}),
        ("", {"origin": "null", "sec_fetch_site": "cross-site"}),
        ("token=", {}),
        ("token=" + "0" * 32, {}),
        (f"token={KEY.token(OTHER_ROOM)}", {}),
        (f"token=x&token={KEY.token(ROOM)}", {}),
        ("&=&" * 2000 + "token=%ff%00", {}),
    ],
)
def test_nobody_else_begins_anything_and_all_are_told_the_same(
    query: str, headers: dict[str, str]
) -> None:
    joining = Joining()
    answer = ask(joining, PLAYLISTS[0], query, **headers)
    assert isinstance(answer, Response)
    assert answer.status == 404
    assert answer.body == ask(None, PLAYLISTS[0], **OURS).body  # type: ignore[union-attr]
    assert not joining.asked


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.0.2.7", OURS),
        ("2001:db8::1", OURS),
        ("127.0.0.1", {**OURS, "x_forwarded_for": "192.0.2.7"}),
    ],
)
def test_from_another_machine_it_takes_the_token(peer: str, headers: dict[str, str]) -> None:
    joining = Joining()
    assert isinstance(ask(joining, PLAYLISTS[0], peer=peer, **headers), Response)
    token = f"token={KEY.token(ROOM)}"
    assert isinstance(ask(joining, PLAYLISTS[0], token, peer=peer, **headers), Wait)


@pytest.mark.parametrize(
    "path",
    [
        f"/live/{ROOM}/720p/p1.0.0.m4s",
        f"/archive/{ROOM}/poster.jpg",
        f"/live/{ROOM}",
        "/live/nonsense/index.m3u8",
        "/live/",
        "/archive",
    ],
)
def test_only_playlists_begin_to_join(path: str) -> None:
    answer = ask(Joining(), path, **OURS)
    assert isinstance(answer, Response)
    assert answer.status == 404


def test_a_room_that_nobody_has_and_a_node_that_is_full_are_said_in_words() -> None:
    missing = ask(Joining(gone={ROOM}), PLAYLISTS[0], **OURS)
    assert isinstance(missing, Response)
    assert (missing.status, b"nobody-has-it" in b"".join(missing.body)) == (404, True)  # type: ignore[arg-type]
    full = ask(Joining(taken=True), PLAYLISTS[0], **OURS)
    assert isinstance(full, Response)
    assert (full.status, b"too-many-rooms" in b"".join(full.body)) == (503, True)  # type: ignore[arg-type]

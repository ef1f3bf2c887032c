"""Who has a ticket watches from a node of their own; who has none, or none any more, hears why."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import m3u8
import pytest
import trio
from solders.pubkey import Pubkey
from support.delegations import delegation_of
from support.keyholding import key_node
from support.node import Node, node, until
from support.publish import publishing
from support.wallets import Wallet, wallet
from support.wallets import rpc as ask

from hausd.core.ids import RoomId
from hausd.core.peers import PeerAddress, parse_multiaddr
from hausd.core.release import Refusal
from hausd.wire.keys import PROTOCOL, KeyAsker, KeyQuestion, Shown

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built"),
]
OWN_PAGE = {"sec-fetch-site": "same-origin"}
PASSTHROUGH = (
    *("media.ladder=[]", "media.images=false", "ingest.reconnect_s=1"),
    "media.segment_seconds=4",
)


def event_at(origin: Node, artist: Wallet) -> dict[str, str]:
    options = ("--ticket-price", "0.25", "--ends", "+2h", "--keypair", artist.file)
    made: dict[str, str] = origin.ctl("events", "create", "Sundown", *options)
    return made


def live(at: Node, room: str) -> httpx.Response:
    return at.get(f"/live/{room}/source/index.m3u8", headers=OWN_PAGE)


def plays(at: Node, room: str) -> bool:
    """Whether clear media come from here."""
    answer = live(at, room)
    if answer.status_code != 200:
        return False
    whole = [one.uri for one in m3u8.loads(answer.text).segments if one.uri]
    if not whole:
        return False
    found = at.get(f"/live/{room}/source/{whole[-1]}", headers=OWN_PAGE)
    return found.status_code == 200 and found.content[4:8] == b"moof"


def refusal(at: Node, room: str) -> str:
    """Why nothing live is shown here; empty where it is."""
    answer = live(at, room)
    return str(answer.json()["error"]["code"]) if answer.status_code == 403 else ""


def test_a_ticket_opens_the_room_at_its_holders_node_until_a_ban(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "origin", *PASSTHROUGH, "keys.epoch_s=10") as origin:
        artist = wallet(tmp_path / "artist.json", origin.words["chain"])
        holder, other = (
            wallet(tmp_path / f"{name}.json", origin.words["chain"]) for name in ("holder", "other")
        )
        event = event_at(origin, artist)
        room, chain = event["id"], f"chain.rpc_url={origin.words['chain']}"
        with node(tmp_path / "viewer", chain) as viewer, node(tmp_path / "none", chain) as none:
            for each in (viewer, none):
                each.ctl("peers", "connect", origin.words["peer"])
            with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
                until(lambda: plays(origin, room))
                for each in (viewer, none):
                    each.ctl("rooms", "follow", room)
                until(lambda: refusal(viewer, room) == "no-delegation")
                refused = viewer.ctl("tickets", "use", room, "--keypair", holder.file, code=1)
                assert refused["error"]["code"] == "no-ticket"

                viewer.ctl("tickets", "buy", room, "--yes", "--keypair", holder.file)
                shown = viewer.ctl("tickets", "use", room, "--keypair", holder.file, "--dry-run")
                assert f"in the room {room} in my name" in shown["text"]
                used = viewer.ctl("tickets", "use", room, "--keypair", holder.file)
                assert (used["wallet"], used["room"]) == (holder.address, room)
                until(lambda: plays(viewer, room))
                assert refusal(none, room) == "no-delegation"
                assert not plays(none, room)

                # banned in mid-show: there is no next epoch
                origin.ctl("keys", "ban", room, holder.address)
                until(lambda: refusal(viewer, room) == "banned", 60)
                assert not plays(viewer, room)
                # and with another's ticket it goes on
                viewer.ctl("tickets", "buy", room, "--yes", "--keypair", other.file)
                viewer.ctl("tickets", "use", room, "--keypair", other.file)
                until(lambda: plays(viewer, room), 30)
        assert origin.figure("hausd_keys_outcomes_total", 'outcome="given"') >= 2
        assert origin.figure("hausd_keys_outcomes_total", 'outcome="banned"') >= 1


def test_keys_outlive_their_origin_and_go_to_whom_the_artist_chooses(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "chain") as rpc:
        chain = f"chain.rpc_url={rpc.words['chain']}"
        artist, holder = (
            wallet(tmp_path / f"{name}.json", rpc.words["chain"]) for name in ("artist", "holder")
        )
        with (
            node(tmp_path / "keeper", chain) as keeper,
            node(tmp_path / "viewer", chain) as viewer,
        ):
            file = str(tmp_path / "keys.json")
            with node(tmp_path / "origin", chain, *PASSTHROUGH, "keys.epoch_s=10") as origin:
                event = event_at(origin, artist)
                room = event["id"]
                for each in (keeper, viewer):
                    each.ctl("peers", "connect", origin.words["peer"])
                with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
                    until(lambda: plays(origin, room))
                    keeper.ctl("rooms", "follow", room)
                    until(lambda: len(_archive(keeper, room)) >= 4, 60)  # two epochs of 10 s
                origin.wait_state(room, "ended")
                listed = _archive(origin, room)
                until(lambda: len(_archive(keeper, room)) == len(listed))
                to = keeper.ctl("keys", "list")["sealing_key"]
                told = origin.ctl("keys", "export", room, "--to", to, "--output", file)
                assert told["keys"] >= 2
            refused = viewer.ctl("keys", "import", file, code=1)
            assert refused["error"]["code"] == "not-ours"
            assert keeper.get(listed[0], headers=OWN_PAGE).status_code == 403
            assert keeper.ctl("keys", "import", file)["new"] == told["keys"]
            clear = keeper.get(listed[0], headers=OWN_PAGE)
            assert (clear.status_code, clear.content[4:8]) == (200, b"moof")

            # the origin is gone for good, and the keeper gives the keys
            viewer.ctl("peers", "connect", keeper.words["peer"])
            viewer.ctl("rooms", "follow", room)
            viewer.ctl("tickets", "buy", room, "--yes", "--keypair", holder.file)
            viewer.ctl("tickets", "use", room, "--keypair", holder.file)
            # who was refused asks again after 3 s, then less and less often, at last every 30 s
            until(lambda: len(_archive(viewer, room)) == len(listed), 90)
            for uri in listed:
                until(lambda uri=uri: viewer.get(uri, headers=OWN_PAGE).status_code == 200)
            assert viewer.get(listed[0], headers=OWN_PAGE).content == clear.content


def test_a_key_holder_that_the_artist_names_lets_viewers_in_when_the_origin_is_gone(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "chain") as rpc:
        chain = f"chain.rpc_url={rpc.words['chain']}"
        artist, holder, other = (
            wallet(tmp_path / f"{name}.json", rpc.words["chain"])
            for name in ("artist", "holder", "other")
        )
        with (
            node(tmp_path / "helper", chain) as helper,
            node(tmp_path / "viewer", chain) as viewer,
        ):
            named = f'keys.holders=["{helper.words["peer"]}"]'
            with node(tmp_path / "origin", chain, *PASSTHROUGH, "keys.epoch_s=10", named) as origin:
                event = event_at(origin, artist)
                room = event["id"]
                helper.ctl("peers", "connect", origin.words["peer"])
                with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
                    until(lambda: plays(origin, room))
                    helper.ctl("rooms", "follow", room)
                    # nobody gave it a ticket: the room's head names it, from the first segment on
                    until(lambda: plays(helper, room), 60)
                    until(lambda: len(_archive(helper, room)) >= 2, 60)
                origin.wait_state(room, "ended")
                listed = _archive(origin, room)
                until(lambda: len(_archive(helper, room)) == len(listed))
                clear = origin.get(listed[-1], headers=OWN_PAGE).content
            viewer.ctl("peers", "connect", helper.words["peer"])
            viewer.ctl("rooms", "follow", room)
            viewer.ctl("tickets", "buy", room, "--yes", "--keypair", holder.file)
            viewer.ctl("tickets", "use", room, "--keypair", holder.file)
            # who was refused asks again after 3 s, then less and less often, at last every 30 s
            until(lambda: len(_archive(viewer, room)) == len(listed), 90)
            until(lambda: viewer.get(listed[-1], headers=OWN_PAGE).status_code == 200)
            assert viewer.get(listed[-1], headers=OWN_PAGE).content == clear

            # the chain is gone too: nobody new is let in, and that is to be seen
            viewer.ctl("tickets", "buy", room, "--yes", "--keypair", other.file)
            genesis = ask(rpc.words["chain"], "getGenesisHash")
            rpc.kill()
            refused = trio.run(_newcomer, tmp_path, helper.words["peer"], room, other, genesis)
            assert refused is Refusal.CHAIN_UNKNOWN
            assert helper.figure("hausd_keys_outcomes_total", 'outcome="chain-unknown"') >= 1
            checks = {one["name"]: one["state"] for one in helper.ctl("doctor", code=1)}
            assert checks["chain"] == "fail"
        assert helper.process.returncode == 0


async def _newcomer(
    folder: Path, peer: str, room: str, who: Wallet, genesis: str
) -> Refusal | None:
    """What a key holder says to a node that it has not seen yet, with a delegation of a ticket's
    owner."""
    seed = bytes(json.loads(Path(who.file).read_text()))[:32]
    chain, now_s = bytes(Pubkey.from_string(genesis)), int(time.time())
    times = {"not_before_s": now_s, "not_after_s": now_s + 3600}
    async with key_node("late", folder) as late:
        shown = Shown(*delegation_of(seed, late.seed, chain=chain, room=RoomId(room), **times))
        holder = await late.host.connect(parse_multiaddr(peer))
        question = KeyQuestion(RoomId(room), (bytes(16),), bytes(16), shown)
        async with late.peers.stream(PeerAddress(holder), PROTOCOL) as stream:
            asker = KeyAsker()
            await stream.send_all(asker.ask(question))
            while data := await stream.receive_some():
                for answer in asker.feed(data):
                    return answer.outcome[0]
        raise AssertionError("no answer")


def _archive(at: Node, room: str) -> list[str]:
    base = f"/archive/{room}/source/"
    answer = at.get(f"{base}index.m3u8", headers=OWN_PAGE)
    segments = m3u8.loads(answer.text).segments if answer.status_code == 200 else []
    return [base + str(one.uri) for one in segments]

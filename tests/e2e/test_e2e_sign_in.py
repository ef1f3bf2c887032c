"""Who has a ticket watches at somebody else's node: a wallet signs in, a player gets a URL."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import m3u8
import pytest
from solders.keypair import Keypair
from support.node import Node, node, until
from support.publish import publishing
from support.wallets import wallet

_ARTIFACTS = Path(__file__).parents[2] / "programs" / "artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not _ARTIFACTS.is_dir(), reason="the programs are not built"),
]
SETS = (
    "media.ladder=[]",
    "media.images=false",
    "ingest.reconnect_s=1",
    'http.trusted_proxies=["127.0.0.1"]',
)
HERE, ELSEWHERE = {"x-forwarded-for": "203.0.113.7"}, {"x-forwarded-for": "198.51.100.9"}


def sign_in(at: Node, room: str, key: Keypair, **headers: str) -> httpx.Response:
    """What a web page does with a wallet."""
    sent = {**HERE, **headers}
    asked = {"room": room, "wallet": str(key.pubkey())}
    text = at.get("/api/v1/sign-in", params=asked, headers=sent).json()["text"]
    assert f"in the room {room} in my name" in text
    body = {"text": text, "signature": str(key.sign_message(text.encode()))}
    return httpx.post(f"{at.http}/api/v1/sign-in", json=body, headers=sent, trust_env=False)


def code(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def playlist(at: Node, url: str, **headers: str) -> httpx.Response:
    """A rendition's playlist as a player comes to it from a room's URL."""
    first = httpx.get(url, headers={**HERE, **headers}, trust_env=False)
    if first.status_code != 200:
        return first
    uri = m3u8.loads(first.text, uri=url).playlists[0].absolute_uri
    return httpx.get(uri, headers={**HERE, **headers}, trust_env=False)


def test_a_ticket_lets_its_holder_watch_from_elsewhere_and_nobody_else(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "origin", *SETS) as origin:
        artist = wallet(tmp_path / "artist.json", origin.words["chain"]).file
        held = wallet(tmp_path / "holder.json", origin.words["chain"])
        holder, file = held.key, held.file
        options = ("--ticket-price", "0.25", "--ends", "+2h", "--keypair", artist)
        event = origin.ctl("events", "create", "Sundown", *options)
        room = event["id"]
        with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
            open_ = f"{origin.http}/live/{room}/index.m3u8"
            own = {"sec-fetch-site": "same-origin"}
            until(lambda: origin.get(f"/live/{room}/index.m3u8", headers=own).status_code == 200)
            assert code(playlist(origin, open_)) == "sign-in-needed"
            # what a browser says of its own page is no ticket
            assert code(playlist(origin, open_, **own)) == "sign-in-needed"
            assert code(sign_in(origin, room, holder)) == "no-ticket"

            origin.ctl("tickets", "buy", room, "--yes", "--keypair", file)
            until(lambda: sign_in(origin, room, holder).status_code == 200)
            signed = sign_in(origin, room, holder)
            assert signed.headers["cache-control"] == "private, no-store"
            cookie = signed.headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            url = signed.json()["live_url"]
            live = playlist(origin, url)
            assert live.status_code == 200
            assert live.headers["cache-control"] == "private, no-store"
            last = m3u8.loads(live.text, uri=str(live.url)).segments[0].absolute_uri
            media = httpx.get(last, headers=HERE, trust_env=False)
            assert (media.status_code, media.content[4:8]) == (200, b"moof")
            kept = {"cookie": cookie.partition(";")[0]}
            assert playlist(origin, open_, **kept).status_code == 200

            # from another address, for another room, changed: nothing
            assert code(playlist(origin, url, **ELSEWHERE)) == "token-from-elsewhere"
            assert code(playlist(origin, open_, **kept, **ELSEWHERE)) == "token-from-elsewhere"
            token = signed.json()["token"]
            assert code(playlist(origin, url.replace(token, token[:-2] + "AA"))) == "bad-token"
            foreign = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
            assert code(playlist(origin, url, **foreign)) == "not-for-other-sites"

            gone = sign_in(origin, room, holder).json()["token"]
            out = {"room": room, "token": gone}
            left = f"{origin.http}/api/v1/sign-in/out"
            assert httpx.post(left, json=out, headers=HERE, trust_env=False).status_code == 204

            # one ticket, two players
            for agent in ("one", "two"):
                playlist(origin, url, **{"user-agent": agent})
            assert code(playlist(origin, url, **{"user-agent": "three"})) == "too-many-playbacks"

            # the ticket is gone in mid-show
            origin.ctl("keys", "ban", room, str(holder.pubkey()))
            assert code(playlist(origin, url)) == "no-ticket"
            assert code(sign_in(origin, room, holder)) == "banned"
        written = json.dumps(origin.ctl("logs"))
        assert "playback-leaked" in written
        assert token not in written
        assert token not in origin.get("/metrics").text
        origin.kill()
    with node(tmp_path / "origin", *SETS) as again:
        urls = (f"{again.http}/archive/{room}/t/{each}/index.m3u8" for each in (gone, token))
        assert [code(playlist(again, each)) for each in urls] == ["bad-token", "no-ticket"]


def test_signing_in_at_a_node_without_keys_brings_it_those_of_the_ticket(
    tmp_path: Path, looped_h264: Path
) -> None:
    with node(tmp_path / "origin", *SETS) as origin:
        artist = wallet(tmp_path / "artist.json", origin.words["chain"]).file
        held = wallet(tmp_path / "holder.json", origin.words["chain"])
        holder, file = held.key, held.file
        options = ("--ticket-price", "0.25", "--ends", "+2h", "--keypair", artist)
        event = origin.ctl("events", "create", "Sundown", *options)
        room, chain = event["id"], f"chain.rpc_url={origin.words['chain']}"
        with node(tmp_path / "public", chain, *SETS) as public:
            public.ctl("peers", "connect", origin.words["peer"])
            with publishing(looped_h264, f"{origin.rtmp}/{event['stream_key']}"):
                origin.ctl("tickets", "buy", room, "--yes", "--keypair", file)
                public.ctl("rooms", "follow", room)
                until(lambda: sign_in(public, room, holder).status_code == 200)
                url = sign_in(public, room, holder).json()["live_url"]
                until(lambda: playlist(public, url).status_code == 200)

                # the node's owner here: a player gets one URL, and follows where it leads
                watch = public.ctl("rooms", "watch", room)["live_url"]
                played = subprocess.run(
                    ["ffprobe", "-v", "error", "-show_entries", "stream=codec_type", "-of", "json",
                     watch],
                    capture_output=True, text=True, timeout=60, check=True,
                )  # fmt: skip
                assert "video" in played.stdout
                # that URL is of use on this machine only
                assert code(httpx.get(watch, headers=HERE, trust_env=False)) == "sign-in-needed"
